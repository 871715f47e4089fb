# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, MissingImage
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import (
    ABSENT,
    DATA,
    ZERO,
    Extent,
    overlay_all,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import GIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.reader import VhdImage, open_vhd
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.writer import VhdWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.writers import Recorder

PORT = OsPort()
ONE = "{11111111-1111-4111-8111-111111111111}"
TWO = "{22222222-2222-4222-8222-222222222222}"
BASE = ParentImage("base.vhd", ONE)


def nobody(name: str) -> File:
    raise MissingImage(name)


def read(image: VhdImage, offset: int = 0, length: Optional[int] = None) -> bytes:
    buffer = bytearray(b"\xaa" * (image.size - offset if length is None else length))
    image.pread_into(offset, buffer)
    return bytes(buffer)


class Step(NamedTuple):
    """A write, or zeros when ``content`` is None."""

    offset: int
    length: int
    content: Optional[bytes]


def make(path: Path, steps: List[Step], *, identity: str = ONE, **options: Any) -> str:
    writer = VhdWriter(PORT.create(str(path)), **options)
    for step in steps:
        if step.content is None:
            writer.write_zeros(step.offset, step.length)
        else:
            writer.write(step.offset, step.content)
    writer.finish(identity)
    writer.file.close()
    return str(path)


@st.composite
def plans(draw: st.DrawFn) -> Tuple[int, int, List[Step]]:
    """Size, block size and ascending steps over whole sectors."""
    block = draw(st.sampled_from([4096, 8192, 65536]))
    size = draw(st.integers(1, 10 * block // 512)) * 512
    position, steps = 0, []
    for index in range(draw(st.integers(0, 8))):
        start = position + 512 * draw(st.one_of(st.just(0), st.integers(0, 2 * block // 512)))
        length = 512 * draw(st.integers(0, 3 * block // 512))
        if start + length > size:
            break
        steps.append(Step(start, length, images.fill(index, length) if draw(st.booleans()) else None))
        position = start + length
    return size, block, steps


@settings(deadline=None)
@given(plans(), st.sampled_from(["fixed", "dynamic", "differencing"]))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, plan: Tuple[int, int, List[Step]], subformat: str
) -> None:
    size, block, steps = plan
    parent = BASE if subformat == "differencing" else None
    path = make(
        tmp_path_factory.mktemp("image") / "disk.vhd",
        steps,
        subformat=subformat,
        size_bytes=size,
        block_bytes=block,
        parent=parent,
    )
    model, said = bytearray(size), bytearray(size // 512)
    for offset, length, content in steps:
        model[offset : offset + length] = content or bytes(length)
        said[offset // 512 : (offset + length) // 512] = b"\1" * (length // 512)
    image = open_vhd(PORT, path, nobody)
    assert (image.size, image.warnings) == (size, ())
    assert read(image) == model
    position = 0
    for extent in image.extents(0, size):
        assert extent.start == position
        position = extent.end
        if subformat == "differencing":
            assert set(said[extent.start // 512 : extent.end // 512]) == {int(extent.kind != ABSENT)}
        else:
            assert extent.kind != ABSENT
        if extent.kind == ZERO:
            assert not any(model[extent.start : extent.end])
    assert position == size
    image.close()


@settings(deadline=None)
@given(plans(), st.data())
def test_how_the_stream_is_cut_makes_no_difference(
    tmp_path_factory: pytest.TempPathFactory, plan: Tuple[int, int, List[Step]], data: st.DataObject
) -> None:
    size, block, steps = plan
    folder = tmp_path_factory.mktemp("image")
    pieces = []
    for offset, length, content in steps:
        at = data.draw(st.integers(0, length))
        for start, stop in ((0, at), (at, length)):
            pieces.append(Step(offset + start, stop - start, None if content is None else content[start:stop]))
    for subformat, parent in (("fixed", None), ("dynamic", None), ("differencing", BASE)):
        one = make(
            folder / f"{subformat}-1.vhd", steps, subformat=subformat, size_bytes=size, block_bytes=block, parent=parent
        )
        other = make(
            folder / f"{subformat}-2.vhd",
            pieces,
            subformat=subformat,
            size_bytes=size,
            block_bytes=block,
            parent=parent,
        )
        assert Path(one).read_bytes() == Path(other).read_bytes()


def footer_fields(raw: bytes) -> Tuple[Any, ...]:
    return struct.unpack(">8sIIQI4sI4sQQHBBII16sB427s", raw)


def test_a_fixed_image_of_whole_mebibytes_is_what_azure_and_hyper_v_want(tmp_path: Path) -> None:
    size = 20 * MIB
    path = make(tmp_path / "disk.vhd", [Step(MIB, 4096, b"x" * 4096)], subformat="fixed", size_bytes=size)
    raw = Path(path).read_bytes()
    assert len(raw) == size + 512 and size % MIB == 0
    assert raw[:MIB] == bytes(MIB) and raw[MIB : MIB + 4096] == b"x" * 4096 and not any(raw[MIB + 4096 : size])
    footer = raw[size:]
    cookie, features, version, data_offset, time, application, _creator_version, system, *numbers = footer_fields(
        footer
    )
    original, current, cylinders, heads, sectors, disk_type, total, unique, saved, reserved = numbers
    assert (cookie, features, version, data_offset, time) == (b"conectix", 2, 0x10000, 0xFFFFFFFFFFFFFFFF, 0)
    assert (application, system) == (b"win ", b"Wi2k")
    assert (original, current) == (size, size)
    # By hand: 40960 sectors, 17 a track: 2409 tracks, so 4 heads suffice for less than 1024 cylinders.
    assert (cylinders, heads, sectors) == (602, 4, 17)
    assert (disk_type, saved, reserved) == (2, 0, bytes(427))
    assert total == 0xFFFFFFFF - sum(footer[:64] + footer[68:])
    assert unique != bytes(16)


def test_a_dynamic_image_is_laid_out_as_readers_expect(tmp_path: Path) -> None:
    steps = [Step(MIB, 4096, b"x" * 4096), Step(9 * MIB, 512, b"y" * 512)]
    path = make(tmp_path / "disk.vhd", steps, subformat="dynamic", size_bytes=9 * MIB + 512, timestamp=946684800 + 77)
    raw = Path(path).read_bytes()
    footer = footer_fields(raw[:512])
    assert raw[:512] == raw[-512:]
    assert (footer[3], footer[4], footer[8], footer[9], footer[13]) == (512, 77, 9 * MIB + 512, 9 * MIB + 512, 3)
    assert raw[512:548] == struct.pack(">8sQQIII", b"cxsparse", 0xFFFFFFFFFFFFFFFF, 1536, 0x10000, 5, 2 * MIB)
    assert not any(raw[552:1536])
    first, second = (4096 - 512) // 512, (4096 + 2 * MIB + 4096 - 512) // 512
    assert raw[1536:2048] == struct.pack(">5I", first, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, second).ljust(512, b"\xff")
    for sector, begin, content in ((first, MIB, b"x" * 4096), (second, MIB, b"y" * 512)):
        start = sector * 512 + 512
        assert start % 4096 == 0
        assert raw[start - 512 : start] == b"\xff" * 512
        assert raw[start : start + 2 * MIB] == bytes(begin) + content + bytes(MIB - len(content))
    assert len(raw) == second * 512 + 512 + 2 * MIB + 512


def test_an_overlay_names_its_parent_as_readers_expect(tmp_path: Path) -> None:
    base = make(tmp_path / "bäse.vhd", [], subformat="dynamic", size_bytes=4 * MIB, identity=ONE)
    parent = ParentImage("bäse.vhd", ONE)
    options: Dict[str, Any] = {
        "subformat": "differencing",
        "size_bytes": 4 * MIB,
        "parent": parent,
        "timestamp": 946684800 + 77,
    }
    path = make(tmp_path / "top.vhd", [Step(4096, 512, b"x" * 512)], identity=TWO, **options)
    raw = Path(path).read_bytes()
    assert struct.unpack_from(">II", raw, 568) == (77, 0) and footer_fields(raw[:512])[4] == 77
    assert raw[552:568] == Path(base).read_bytes()[68:84]
    assert raw[576:592] == "bäse.vhd".encode("utf-16-be") and not any(raw[592:1088])
    code, space, length, zero, offset = struct.unpack_from(">4sIIIQ", raw, 512 + 576)
    assert (code, space, zero) == (b"W2ru", 512, 0) and not any(raw[512 + 600 : 1536])
    assert raw[offset : offset + length] == ".\\bäse.vhd".encode("utf-16-le") and offset % 512 == 0
    (table,) = struct.unpack_from(">Q", raw, 528)
    (sector, absent) = struct.unpack_from(">II", raw, table)
    assert absent == 0xFFFFFFFF and (sector * 512 + 512) % 4096 == 0
    assert raw[sector * 512 : sector * 512 + 512] == b"\0\x80" + bytes(510)
    assert footer_fields(raw[:512])[13] == 4
    one, two = open_vhd(PORT, base, nobody), open_vhd(PORT, path, nobody)
    assert two.parent is not None
    assert (two.parent.names, two.parent.format, two.parent.identity) == (("bäse.vhd",), "vhd", one.identity)
    assert two.identity != one.identity
    one.close()
    two.close()


def test_a_parent_in_another_folder_is_named_with_its_path(tmp_path: Path) -> None:
    parent = ParentImage("lower/base.vhd", ONE)
    path = make(tmp_path / "top.vhd", [], subformat="differencing", size_bytes=MIB, parent=parent)
    image = open_vhd(PORT, path, nobody)
    assert image.parent is not None and image.parent.names == ("lower/base.vhd", "base.vhd")
    image.close()


@pytest.mark.parametrize(
    "name", ["", "/", "/base.vhd", "a\0b", "a\\b.vhd", "b\udce4se.vhd", "x" * 257, "d/", "\U0001f600" * 129]
)
def test_a_name_that_the_format_cannot_hold_is_a_bad_request(tmp_path: Path, name: str) -> None:
    file = Recorder()
    with pytest.raises(BadRequest):
        VhdWriter(file, subformat="differencing", size_bytes=MIB, parent=ParentImage(name, ONE))  # type: ignore[arg-type]
    assert file.calls == []


@pytest.mark.parametrize("name", ["x" * 256, "\U0001f600" * 128, "a b.vhd", "..base"])
def test_a_name_that_the_format_just_holds_is_read_back(tmp_path: Path, name: str) -> None:
    path = make(
        tmp_path / "top.vhd",
        [Step(0, 512, b"x" * 512)],
        subformat="differencing",
        size_bytes=MIB,
        parent=ParentImage(name, ONE),
    )
    image = open_vhd(PORT, path, nobody)
    assert image.parent is not None and image.parent.names == (name,)
    assert read(image, 0, 512) == b"x" * 512
    image.close()


def test_a_chain_shows_what_was_written_last(tmp_path: Path) -> None:
    size = 3 * MIB + 512
    base = make(
        tmp_path / "base.vhd", [Step(0, size, images.fill(1, size))], subformat="fixed", size_bytes=size, identity=ONE
    )
    zeros = Step(2 * MIB - 8192, 16384, None)
    middle_steps = [Step(4096, 4096, images.fill(2, 4096)), zeros, Step(3 * MIB, 512, b"m" * 512)]
    middle = make(
        tmp_path / "middle.vhd", middle_steps, subformat="differencing", size_bytes=size, parent=BASE, identity=TWO
    )
    top_steps = [Step(4608, 512, b"t" * 512), Step(2 * MIB, 512, b"u" * 512)]
    top = make(
        tmp_path / "top.vhd",
        top_steps,
        subformat="differencing",
        size_bytes=size,
        parent=ParentImage("middle.vhd", TWO),
    )
    layers = [open_vhd(PORT, path, nobody) for path in (top, middle, base)]
    model = bytearray(images.fill(1, size))
    for offset, length, content in middle_steps + top_steps:
        model[offset : offset + length] = content or bytes(length)
    for number, image in enumerate(layers[:2]):
        assert image.parent is not None and image.parent.identity == layers[number + 1].identity
    seen = bytearray(size)
    for extent in overlay_all(
        [[part._replace(layer=number) for part in image.extents(0, size)] for number, image in enumerate(layers)]
    ):
        assert extent.kind != ABSENT
        if extent.kind == DATA:
            seen[extent.start : extent.end] = read(layers[extent.layer], extent.start, extent.length)
    assert seen == model
    for image in layers:
        image.close()


def test_an_overlay_in_whole_grains_marks_whole_bytes_of_its_bitmap(tmp_path: Path) -> None:
    grain, size = VhdWriter.grain, MIB + 512
    steps = [Step(grain, grain, b"x" * grain), Step(5 * grain, 2 * grain, None), Step(size - 512, 512, b"y" * 512)]
    path = make(tmp_path / "top.vhd", steps, subformat="differencing", size_bytes=size, block_bytes=MIB, parent=BASE)
    raw = Path(path).read_bytes()
    first = struct.unpack_from(">I", raw, struct.unpack_from(">Q", raw, 512 + 16)[0])[0] * 512
    bitmap = raw[first : first + 256]
    assert set(bitmap) == {0, 0xFF} and [index for index, byte in enumerate(bitmap) if byte] == [1, 5, 6]


def test_zeros_of_an_overlay_are_stored_as_a_hole(tmp_path: Path) -> None:
    size = 64 * MIB
    path = make(
        tmp_path / "top.vhd", [Step(512, size - 1024, None)], subformat="differencing", size_bytes=size, parent=BASE
    )
    image = open_vhd(PORT, path, nobody)
    kinds = [(part.start, part.length, part.kind) for part in image.extents(0, size)]
    assert kinds[0] == (0, 512, ABSENT) and kinds[-1] == (size - 512, 512, ABSENT)
    assert sum(length for _start, length, kind in kinds if kind != ABSENT) == size - 1024
    assert read(image) == bytes(size)
    assert os.path.getsize(path) > size
    image.close()


def test_a_preallocated_image_has_its_blocks(tmp_path: Path) -> None:
    path = make(
        tmp_path / "disk.vhd", [Step(4096, 4096, b"x" * 4096)], subformat="fixed", size_bytes=4 * MIB, preallocate=True
    )
    plain = make(tmp_path / "plain.vhd", [Step(4096, 4096, b"x" * 4096)], subformat="fixed", size_bytes=4 * MIB)
    assert Path(path).read_bytes() == Path(plain).read_bytes()
    assert os.stat(path).st_blocks * 512 >= 4 * MIB


def new_writer(**options: Any) -> Tuple[VhdWriter, Recorder]:
    file = Recorder()
    return VhdWriter(file, **options), file  # type: ignore[arg-type]  # pylint: disable=missing-kwoa


def test_data_ascends_and_the_footer_comes_last() -> None:
    writer, file = new_writer(subformat="dynamic", size_bytes=100 * MIB)
    writer.write(MIB, bytes(4096))
    writer.write(2 * MIB - 4096, memoryview(bytes(8192)))
    writer.write(99 * MIB, bytes(256 << 10))
    places = [offset for _kind, offset, _length in file.calls]
    assert places == sorted(places) and places[0] >= 2048
    before = len(file.calls)
    writer.finish(ONE)
    end = 4096 + 3 * (2 * MIB + 4096) - 4096
    assert file.calls[before:] == [
        ("write", 1536, 512),
        ("truncate", end + 512, 0),
        ("write", 512, 1024),
        ("write", 0, 512),
        ("write", end, 512),
    ]


@pytest.mark.parametrize("subformat, parent", [("dynamic", None), ("differencing", BASE)])
def test_the_largest_disk_is_written_and_read_back_sparse(
    tmp_path: Path, subformat: str, parent: Optional[ParentImage]
) -> None:
    size = 2040 * GIB
    places = [0, 32 * GIB - 4096, 32 * GIB, 1000 * GIB, size - 4096]
    steps = [Step(offset, 4096, images.fill(number, 4096)) for number, offset in enumerate(places)]
    path = make(tmp_path / "disk.vhd", steps, subformat=subformat, size_bytes=size, parent=parent)
    image = open_vhd(PORT, path, nobody)
    for step in steps:
        assert read(image, step.offset, 4096) == step.content
    found = list(image.extents(0, size))
    assert sum(part.length for part in found) == size
    if subformat == "differencing":
        expected = [
            Extent(0, 4096, DATA),
            Extent(places[1], 8192, DATA),
            *(Extent(at, 4096, DATA) for at in places[3:]),
        ]
        assert [part for part in found if part.kind != ABSENT] == expected
    assert os.path.getsize(path) < 16 * MIB
    image.close()


def test_the_table_of_a_sparse_disk_is_written_in_pieces() -> None:
    writer, file = new_writer(subformat="dynamic", size_bytes=2040 * GIB)
    writer.write(1000 * GIB, b"x")
    end = 1536 + 4 * 1044480
    written = [(offset, length) for _kind, offset, length in file.calls if offset < end]
    assert written == [(1536 + number * 65536, 65536) for number in range(1000 * GIB // (32 * GIB))]
    writer.finish(ONE)
    table = sorted((offset, length) for _kind, offset, length in file.calls if 1536 <= offset < end)
    assert all(offset + length == following for (offset, length), (following, _next) in zip(table, table[1:]))
    assert table[-1][0] + table[-1][1] == end


@pytest.mark.parametrize(
    "options",
    [
        {"subformat": "sparse", "size_bytes": MIB},
        {"subformat": "fixed", "size_bytes": 0},
        {"subformat": "fixed", "size_bytes": -512},
        {"subformat": "fixed", "size_bytes": 1000},
        {"subformat": "dynamic", "size_bytes": 2040 * GIB + 512},
        {"subformat": "fixed", "size_bytes": 2040 * GIB + 512},
        {"subformat": "fixed", "size_bytes": MIB, "parent": BASE},
        {"subformat": "dynamic", "size_bytes": MIB, "parent": BASE},
        {"subformat": "differencing", "size_bytes": MIB},
        {"subformat": "dynamic", "size_bytes": MIB, "preallocate": True},
        {"subformat": "dynamic", "size_bytes": MIB, "block_bytes": 3 * MIB},
        {"subformat": "dynamic", "size_bytes": MIB, "block_bytes": 2048},
        {"subformat": "dynamic", "size_bytes": MIB, "block_bytes": 128 * MIB},
        {"subformat": "dynamic", "size_bytes": 100 * GIB, "block_bytes": 4096},
        {"subformat": "dynamic", "size_bytes": 2040 * GIB, "block_bytes": 512 << 10},
    ],
    ids=lambda options: "-".join(str(value) for value in options.values())[:40],
)
def test_what_the_format_cannot_hold_is_a_bad_request(options: Dict[str, Any]) -> None:
    file = Recorder()
    with pytest.raises(BadRequest):
        VhdWriter(file, **options)  # type: ignore[arg-type]
    assert file.calls == []


def test_the_bytes_depend_on_what_was_asked_alone(tmp_path: Path) -> None:
    steps = [Step(MIB, MIB, images.fill(1, MIB))]
    options: Dict[str, Any] = {"subformat": "differencing", "size_bytes": 4 * MIB, "parent": BASE}
    one = Path(make(tmp_path / "one.vhd", steps, **options)).read_bytes()
    assert one == Path(make(tmp_path / "two.vhd", steps, **options)).read_bytes()
    other = Path(make(tmp_path / "three.vhd", steps, identity=TWO, **options)).read_bytes()
    differing = {index for index in range(len(one)) if one[index] != other[index]}
    assert differing <= {*range(64, 84), *range(len(one) - 448, len(one) - 428)}

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect
import posixpath
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    Escape,
    MissingImage,
    NotAWholeDisk,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._formats import image as reader
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentLink
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.reader import VmdkImage, open_vmdk
from ansible_collections.vdisk.parallels.tests.support import images, vmdk_files
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.places import checked_places

GRAIN = 4096
FOLDER = "/vm"
PATH = "/vm/d.vmdk"


def planted(files: Dict[str, bytes]) -> MemoryPort:
    port = MemoryPort()
    port.make_directory(FOLDER)
    for name, content in files.items():
        port.plant_file(posixpath.join(FOLDER, name), bytes(content))
    return port


def beside(port: MemoryPort, asked: Optional[List[str]] = None) -> Callable[[str], object]:
    def open_beside(name: str) -> object:
        if asked is not None:
            asked.append(name)
        if "/" in name:
            raise Escape("no", path=name)
        path = posixpath.join(FOLDER, name)
        if port.stat(path) is None:
            raise MissingImage("no", path=path)
        return port.open_read(path)

    return open_beside


def opened(files: Dict[str, bytes]) -> VmdkImage:
    port = planted(files)
    return open_vmdk(port, PATH, beside(port))  # type: ignore[arg-type]


def content_of(image: VmdkImage) -> bytes:
    content = bytearray(b"\xaa" * image.size)
    image.pread_into(0, content)
    return bytes(content)


def kinds(image: VmdkImage) -> List[Tuple[int, int, str]]:
    return [(e.start, e.length, e.kind) for e in image.extents(0, image.size)]


def mono(capacity: int = 80, *, grains: Sequence[int] = (3,), **options: object) -> bytes:
    descriptor = vmdk_files.text("monolithicSparse", [f'RW {capacity} SPARSE "d.vmdk"'], **options)  # type: ignore[arg-type]
    return vmdk_files.sparse(
        capacity=capacity, grains={n: images.fill(n, GRAIN) for n in grains}, descriptor=descriptor
    ).raw


def test_the_methods_are_those_of_the_protocol() -> None:
    def methods(kind: type) -> Dict[str, List[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: list(inspect.signature(function).parameters) for name, function in found if not name.startswith("_")
        }

    assert methods(VmdkImage) == methods(reader.ForeignImage)


def test_a_monolithic_sparse_disk() -> None:
    image = opened({"d.vmdk": mono(77)})
    assert (image.size, image.path, image.files, image.identity, image.parent) == (
        77 * 512,
        PATH,
        (PATH,),
        "1a2b3c4d",
        None,
    )
    assert image.properties == {
        "subformat": "monolithicSparse",
        "cluster_size": GRAIN,
        "compression": "none",
        "adapter_type": "ide",
    }
    assert image.warnings == ()
    assert content_of(image) == bytes(3 * GRAIN) + images.fill(3, GRAIN) + bytes(77 * 512 - 4 * GRAIN)
    assert kinds(image) == [(0, 3 * GRAIN, ZERO), (3 * GRAIN, GRAIN, DATA), (4 * GRAIN, 77 * 512 - 4 * GRAIN, ZERO)]


def test_a_stream() -> None:
    descriptor = vmdk_files.text("streamOptimized", ['RDONLY 77 SPARSE "renamed.vmdk"'])
    raw = vmdk_files.stream(capacity=80, grains={3: images.fill(3, GRAIN)}, descriptor=descriptor).raw
    image = opened({"d.vmdk": raw})
    assert image.properties == {
        "subformat": "streamOptimized",
        "cluster_size": GRAIN,
        "compression": "zlib",
        "adapter_type": "ide",
    }
    # The header is rounded up to whole grains, the disk is not.
    assert image.size == 77 * 512
    assert kinds(image)[1] == (3 * GRAIN, GRAIN, DATA)
    assert content_of(image)[3 * GRAIN : 4 * GRAIN] == images.fill(3, GRAIN)
    assert checked_places(image, 0, image.size, has_packed=True) == []


def test_an_overlay_has_absent_parts_and_names_its_parent() -> None:
    image = opened({"d.vmdk": mono(parent="ABC", hint="..\\base dir\\base.vmdk")})
    assert image.parent == ParentLink(("../base dir/base.vmdk",), "vmdk", "00000abc")
    assert kinds(image) == [(0, 3 * GRAIN, ABSENT), (3 * GRAIN, GRAIN, DATA), (4 * GRAIN, 6 * GRAIN, ABSENT)]
    assert content_of(image)[: 3 * GRAIN] == bytes(3 * GRAIN)


def test_zeroed_grains_hide_the_parent() -> None:
    descriptor = vmdk_files.text("monolithicSparse", ['RW 80 SPARSE "d.vmdk"'], parent="abc", hint="base.vmdk")
    raw = vmdk_files.sparse(capacity=80, grains={}, zeroed=[2, 3], version=2, flags=5, descriptor=descriptor).raw
    assert kinds(opened({"d.vmdk": raw})) == [
        (0, 2 * GRAIN, ABSENT),
        (2 * GRAIN, 2 * GRAIN, ZERO),
        (4 * GRAIN, 6 * GRAIN, ABSENT),
    ]


def test_an_esx_delta() -> None:
    text = vmdk_files.text("vmfsSparse", ['RW 5000 VMFSSPARSE "d-delta.vmdk"'], parent="12345678", hint="base.vmdk")
    image = opened({"d.vmdk": text, "d-delta.vmdk": vmdk_files.cowd(capacity=5000, grains={4500: b"x" * 512}).raw})
    assert kinds(image) == [(0, 4500 * 512, ABSENT), (4500 * 512, 512, DATA), (4501 * 512, 499 * 512, ABSENT)]
    assert image.files == (PATH, "/vm/d-delta.vmdk")
    assert (image.properties["subformat"], image.properties["cluster_size"]) == ("vmfsSparse", 512)


@pytest.mark.parametrize("kind", ["vmfs", "vmfsThin", "monolithicFlat"])
def test_a_flat_disk_of_esx(kind: str) -> None:
    image = opened({"d.vmdk": vmdk_files.text(kind, ['RW 3 VMFS "d-flat.vmdk"']), "d-flat.vmdk": b"abc" * 512})
    assert (image.size, content_of(image)) == (1536, b"abc" * 512)
    assert image.properties == {"subformat": kind, "compression": "none", "adapter_type": "ide"}


def test_a_disk_of_all_kinds_of_pieces() -> None:
    lines = [
        'RW 3 FLAT "one" 2',
        "RW 5 ZERO",
        'RW 9 SPARSE "two"',
        'RDONLY 1 FLAT "one" 0',
        'RW 10 SPARSE "three"',
        "NOACCESS 1 ZERO",
    ]
    one = b"".join(bytes([65 + index]) * 512 for index in range(6))
    two = vmdk_files.sparse(capacity=9, grains={1: b"x" * GRAIN})
    three = vmdk_files.sparse(capacity=16, grains={0: b"y" * GRAIN})
    vmdk_files.put(three.raw, "unclean", 1)
    image = opened(
        {"d.vmdk": vmdk_files.text("twoGbMaxExtentSparse", lines), "one": one, "two": two.raw, "three": three.raw}
    )
    expected = (
        one[1024:2560]
        + bytes(5 * 512)
        + bytes(8 * 512)
        + b"x" * 512
        + one[:512]
        + b"y" * GRAIN
        + bytes(1024)
        + bytes(512)
    )
    assert content_of(image) == expected
    assert image.size == 29 * 512
    assert image.files == (PATH, "/vm/one", "/vm/two", "/vm/three")
    assert len(image.warnings) == 1
    for start in range(0, image.size, 700):
        buffer = bytearray(min(1111, image.size - start))
        image.pread_into(start, buffer)
        assert buffer == expected[start : start + len(buffer)]
        found = list(image.extents(start, len(buffer)))
        assert [e.start for e in found] == [start, *(e.end for e in found[:-1])] and found[-1].end == start + len(
            buffer
        )
        for extent in found:
            assert extent.kind == DATA or not any(expected[extent.start : extent.end])


@pytest.mark.parametrize("start, length", [(-1, 1), (0, 77 * 512 + 1), (77 * 512, 1), (0, -1), (1 << 62, 1)])
def test_a_range_behind_the_disk_is_a_bad_request(start: int, length: int) -> None:
    image = opened({"d.vmdk": mono(77)})
    with pytest.raises(BadRequest):
        image.extents(start, length)
    if length > 0:
        with pytest.raises(BadRequest):
            image.pread_into(start, bytearray(length))
    assert list(image.extents(image.size, 0)) == []
    image.pread_into(image.size, bytearray())


def put_field(raw: bytes, field: str, value: int) -> bytes:
    changed = bytearray(raw)
    vmdk_files.put(changed, field, value)
    return bytes(changed)


def haiku(*, kind: str = "FLAT", offset: Optional[int] = 64) -> bytes:
    """What Haiku's vmdkimage makes: a header without grains, a description of the file itself, and the disk."""
    line = f'RW 16 {kind} "haiku.vmdk"' + ("" if offset is None else f" {offset}")
    descriptor = vmdk_files.text("monolithicFlat", [line], cid="fffffffe")
    raw = vmdk_files.sparse(capacity=16, grains={}, grain=16, descriptor=descriptor).raw[: 21 * 512]
    for field in ("capacity", "gd", "rgd"):
        vmdk_files.put(raw, field, 0)
    return bytes(raw).ljust(64 * 512, b"\0") + images.fill(7, 16 * 512)


def test_a_disk_of_haiku_follows_its_description() -> None:
    image = opened({"d.vmdk": haiku() + b"more"})
    assert content_of(image) == images.fill(7, 16 * 512)
    assert image.files == (PATH,)
    checked_places(image, 0, image.size)


@pytest.mark.parametrize("stream", [False, True])
def test_a_disk_of_freebsd_has_no_name(stream: bool) -> None:
    descriptor = vmdk_files.text("streamOptimized" if stream else "monolithicSparse", ['RW 80 SPARSE ""'])
    make = vmdk_files.stream if stream else vmdk_files.sparse
    image = opened({"d.vmdk": make(capacity=80, grains={3: images.fill(3, GRAIN)}, descriptor=descriptor).raw})
    assert content_of(image)[3 * GRAIN : 4 * GRAIN] == images.fill(3, GRAIN)


PARENT = "920eaa6b-da5f-4608-a547-e8938db453e6"


@pytest.mark.parametrize("spelling", [PARENT, PARENT.upper(), "{" + PARENT + "}"])
def test_an_overlay_of_virtualbox_has_the_uuid_of_its_parent(spelling: str) -> None:
    image = opened({"d.vmdk": mono(more=[f'ddb.uuid.parent="{spelling}"'])})
    assert image.parent is not None and image.parent.ids == image.ids and image.parent.names == ()
    assert image.ids.parent == "{" + PARENT + "}"
    assert kinds(image)[0] == (0, 3 * GRAIN, ABSENT)


def test_a_uuid_of_zeros_is_none() -> None:
    image = opened({"d.vmdk": mono(more=['ddb.uuid.parent="00000000-0000-0000-0000-000000000000"'])})
    assert image.parent is None and image.ids.parent is None


def test_a_disk_says_how_large_its_sectors_are() -> None:
    assert opened({"d.vmdk": mono()}).logical_sector == 512
    assert opened({"d.vmdk": mono(more=['ddb.logicalSectorSize = "4096"'])}).logical_sector == 4096


FLAT = vmdk_files.text("monolithicFlat", ['RW 3 FLAT "f" 0'])
TWICE = vmdk_files.text("twoGbMaxExtentSparse", ['RW 80 SPARSE "s"', 'RW 80 SPARSE "s"'])
PIECE = vmdk_files.sparse(capacity=80, grains={}).raw
REFUSED: Dict[str, Tuple[Dict[str, bytes], type]] = {
    "nothing": ({"d.vmdk": b""}, Damaged),
    "noise": ({"d.vmdk": bytes(range(256)) * 10}, Damaged),
    "large-text": ({"d.vmdk": FLAT + b"#" * (1 << 20)}, Damaged),
    "piece": ({"d.vmdk": PIECE}, NotAWholeDisk),
    "cowd": ({"d.vmdk": vmdk_files.cowd(capacity=8, grains={}).raw}, NotAWholeDisk),
    "se-sparse": ({"d.vmdk": b"\xbe\xba\xfe\xca\0\0\0\0".ljust(4096, b"\0")}, NotAWholeDisk),
    "no-file": ({"d.vmdk": FLAT.replace(b'"f"', b'""')}, Damaged),
    "flat-inside": ({"d.vmdk": haiku(offset=20)}, Damaged),
    "flat-beyond": ({"d.vmdk": haiku()[:-1]}, Damaged),
    "flat-with-grains": ({"d.vmdk": put_field(haiku(), "capacity", 16)}, Unsupported),
    "flat-with-directory": ({"d.vmdk": put_field(haiku(), "gd", 16)}, Damaged),
    "sparse-without-grains": ({"d.vmdk": haiku(kind="SPARSE", offset=None)}, Damaged),
    "uuid": ({"d.vmdk": mono(more=['ddb.uuid.parent="1"'])}, Damaged),
    "missing": ({"d.vmdk": FLAT}, MissingImage),
    "short-flat": ({"d.vmdk": FLAT, "f": bytes(3 * 512 - 1)}, Damaged),
    "escape": ({"d.vmdk": FLAT.replace(b'"f"', b'"../f"')}, Escape),
    "escape-sparse": ({"d.vmdk": TWICE.replace(b'"s"', b'"/etc/hostname"')}, Escape),
    "no-sparse": ({"d.vmdk": TWICE, "s": bytes(1024)}, Damaged),
    "same-file": ({"d.vmdk": TWICE, "s": PIECE}, Damaged),
    "overlap": (
        {
            "d.vmdk": vmdk_files.text("custom", []).replace(b"custom", b"vmfs") + b'RW 2 FLAT "f" 0\nRW 2 FLAT "f" 1\n',
            "f": bytes(4096),
        },
        Damaged,
    ),
    "smaller-header": ({"d.vmdk": TWICE.replace(b"80", b"81"), "s": PIECE}, Damaged),
    "larger-header": ({"d.vmdk": TWICE.replace(b"80", b"72"), "s": PIECE}, Damaged),
    "embedded-two": ({"d.vmdk": mono().replace(b"\n\n#DDB", b'\nRW 1 FLAT "x" 0\n#')}, Unsupported),
    "embedded-flat": ({"d.vmdk": mono().replace(b"SPARSE", b"FLAT  ")}, Unsupported),
    "embedded-type": ({"d.vmdk": mono().replace(b"monolithicSparse", b"monolithicRotten")}, Unsupported),
    "embedded-size": ({"d.vmdk": mono().replace(b"RW 80", b"RW 90")}, Damaged),
}


@pytest.mark.parametrize("files, error", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_refused_and_all_files_are_closed(files: Dict[str, bytes], error: type) -> None:
    port = planted(files)
    with pytest.raises(DiskError) as caught:
        open_vmdk(port, PATH, beside(port))  # type: ignore[arg-type]
    assert caught.value.code == error.code
    assert not any(port.opened.values())


def test_closing_closes_all_files_and_may_be_repeated() -> None:
    port = planted({"d.vmdk": TWICE.replace(b'"s"', b'"t"', 1), "s": PIECE, "t": PIECE})
    image = open_vmdk(port, PATH, beside(port))  # type: ignore[arg-type]
    assert sum(port.opened.values()) == 3
    image.close()
    image.close()
    assert not any(port.opened.values())


def test_names_are_left_to_the_caller_as_they_are_written() -> None:
    asked: List[str] = []
    port = planted({"d.vmdk": FLAT.replace(b'"f"', b'"..\\x y/f"')})
    with pytest.raises(Escape):
        open_vmdk(port, PATH, beside(port, asked))  # type: ignore[arg-type]
    assert asked == ["..\\x y/f"]


@pytest.mark.parametrize("cut", [0, 100, 511, 512, 1000, 20 * 512, 21 * 512, 22 * 512 + 17, 25 * 512])
def test_a_file_cut_anywhere_is_damaged(cut: int) -> None:
    raw = mono()
    assert len(raw) > 25 * 512
    with pytest.raises(Damaged):
        content_of(opened({"d.vmdk": raw[:cut]}))


def test_a_flat_file_that_shrinks_later_is_damaged() -> None:
    port = planted({"d.vmdk": FLAT, "f": b"x" * 1536})
    image = open_vmdk(port, PATH, beside(port))  # type: ignore[arg-type]
    port.open_write("/vm/f").truncate(1000)
    with pytest.raises(Damaged) as caught:
        content_of(image)
    assert (caught.value.path, caught.value.offset) == ("/vm/f", 1000)


@given(
    st.lists(st.tuples(st.sampled_from(["flat", "zero", "sparse"]), st.integers(1, 40)), min_size=1, max_size=6),
    st.data(),
)
def test_any_row_of_pieces_reads_like_its_model(pieces: List[Tuple[str, int]], data: st.DataObject) -> None:
    files: Dict[str, bytes] = {}
    lines, model = [], b""
    for index, (kind, sectors) in enumerate(pieces):
        content = images.fill(index, sectors * 512)
        lines.append(f'RW {sectors} FLAT "f{index}" 0')
        if kind == "zero":
            content, lines[-1] = bytes(sectors * 512), f"RW {sectors} ZERO"
        elif kind == "sparse":
            lines[-1] = f'RW {sectors} SPARSE "f{index}"'
            grains = {number: content[number * GRAIN : (number + 1) * GRAIN] for number in range(-(-sectors // 8))}
            files[f"f{index}"] = bytes(vmdk_files.sparse(capacity=sectors, grains=grains).raw)
        else:
            files[f"f{index}"] = content
        model += content
    image = opened({"d.vmdk": vmdk_files.text("twoGbMaxExtentSparse", lines), **files})
    assert content_of(image) == model
    start = data.draw(st.integers(0, len(model)))
    buffer = bytearray(data.draw(st.integers(0, len(model) - start)))
    image.pread_into(start, buffer)
    assert buffer == model[start : start + len(buffer)]
    assert sum(extent.length for extent in image.extents(start, len(buffer))) == len(buffer)
    checked_places(image, start, len(buffer))

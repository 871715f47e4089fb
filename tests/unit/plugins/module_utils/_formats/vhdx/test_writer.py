# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import List, Optional, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.reader import open_vhdx
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.writer import (
    VhdxWriter,
    default_block_bytes,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.vhdx_images import (
    content_of,
    crc32c,
)
from ansible_collections.vdisk.parallels.tests.support.writers import Recorder

PORT = OsPort()
KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
ROOT_ID, MIDDLE_ID, TOP_ID = ("{" + f"{number:08x}-1111-2222-3333-444444444444" + "}" for number in (1, 2, 3))
BASE = ParentImage("base.vhdx", ROOT_ID)
WRITE, ZEROS = "write", "zeros"
Action = Tuple[str, int, int]


def new_writer(
    path: object,
    *,
    subformat: str = "dynamic",
    size: int = 4 * MIB,
    parent: Optional[ParentImage] = None,
    **options: object,
) -> VhdxWriter:
    return VhdxWriter(PORT.create(str(path)), subformat=subformat, size_bytes=size, parent=parent, **options)  # type: ignore[arg-type]


def finished(writer: VhdxWriter, identity: str = ROOT_ID) -> str:
    writer.finish(identity)
    writer.file.close()
    return writer.file.path


def carry_out(writer: VhdxWriter, actions: List[Action], model: bytearray) -> None:
    for number, (kind, offset, length) in enumerate(actions):
        content = images.fill(number, length) if kind == WRITE else bytes(length)
        if kind == WRITE:
            writer.write(offset, content)
        else:
            writer.write_zeros(offset, length)
        model[offset : offset + length] = content


@st.composite
def plans(draw: st.DrawFn, grain: int) -> Tuple[int, List[Action]]:
    """Size and ascending actions on multiples of ``grain``."""
    size = draw(st.integers(1, 5 * MIB // grain)) * grain
    near = st.integers(0, 5 * MIB // grain).map(lambda number: number * grain)
    edges = st.sampled_from([number * MIB + shift * grain for number in range(6) for shift in (-1, 0, 1)])
    marks = sorted(
        min(size, max(0, mark))
        for mark in draw(st.lists(st.one_of(near, edges, st.just(size)), min_size=2, max_size=12))
    )
    actions = []
    for start, end in zip(marks, marks[1:]):
        kind = draw(st.sampled_from([WRITE, ZEROS, ""]))
        if kind:
            actions.append((kind, start, end - start))
    return size, actions


@settings(max_examples=40)
@given(plans(512), st.sampled_from(["dynamic", "fixed"]), st.sampled_from([1, 2]))
def test_what_is_written_is_read_and_the_rest_is_zero(
    tmp_path_factory: pytest.TempPathFactory, plan: Tuple[int, List[Action]], subformat: str, block: int
) -> None:
    size, actions = plan
    model = bytearray(size)
    writer = new_writer(
        tmp_path_factory.mktemp("image") / "disk.vhdx", subformat=subformat, size=size, block_bytes=block * MIB
    )
    carry_out(writer, actions, model)
    path = finished(writer)
    image = open_vhdx(PORT, path)
    assert content_of(image) == model
    assert image.properties == writer.properties == {"subformat": subformat, "cluster_size": block * MIB}
    assert image.parent is None
    written = {
        number
        for kind, start, length in actions
        if kind == WRITE and length
        for number in range(start // block // MIB, (start + length - 1) // block // MIB + 1)
    }
    blocks = -(-size // block // MIB) if subformat == "fixed" else len(written)
    assert os.path.getsize(path) == 4 * MIB + blocks * block * MIB
    image.close()


@settings(max_examples=60)
@given(st.sampled_from([512, 4096]).flatmap(lambda sector: st.tuples(st.just(sector), plans(sector))), st.booleans())
def test_an_overlay_has_exactly_its_own_data(
    tmp_path_factory: pytest.TempPathFactory, plan: Tuple[int, Tuple[int, List[Action]]], halves: bool
) -> None:
    sector, (size, actions) = plan
    if halves:
        # The same ranges in two calls each, the first of which may end within a sector.
        actions = [
            part
            for kind, start, length in actions
            for part in ((kind, start, length // 2), (kind, start + length // 2, length - length // 2))
        ]
    model, own = bytearray(size), bytearray(size // sector)
    writer = new_writer(
        tmp_path_factory.mktemp("image") / "disk.vhdx",
        subformat="differencing",
        size=size,
        logical_sector=sector,
        parent=BASE,
    )
    carry_out(writer, actions, model)
    for _kind, start, length in actions:
        first, end = start // sector, -(-(start + length) // sector)
        own[first:end] = b"\1" * (end - first) if length else b""
    image = open_vhdx(PORT, finished(writer, TOP_ID))
    assert content_of(image) == model
    found = bytearray(size // sector)
    for extent in image.extents(0, size):
        assert extent.start % sector == extent.length % sector == 0 or extent.kind != ABSENT
        if extent.kind != ABSENT:
            found[extent.start // sector : -(-extent.end // sector)] = b"\1" * (
                -(-extent.end // sector) - extent.start // sector
            )
    assert found == own
    image.close()


def _states(path: str, size: int) -> List[int]:
    with open(path, "rb") as stream:
        stream.seek(3 * MIB)
        return [entry & 7 for entry in struct.unpack(f"<{size // MIB}Q", stream.read(8 * (size // MIB)))]


def test_blocks_of_an_overlay_have_the_state_that_says_most(tmp_path: Path) -> None:
    writer = new_writer(tmp_path / "disk.vhdx", subformat="differencing", size=8 * MIB, parent=BASE)
    writer.write(0, images.fill(1, 512 * KIB))
    writer.write_zeros(512 * KIB, 512 * KIB)
    writer.write_zeros(MIB, 2 * MIB)
    writer.write(4 * MIB, images.fill(2, 512))
    writer.write_zeros(5 * MIB, 512 * KIB)
    for start in range(6 * MIB, 7 * MIB, 256 * KIB):
        writer.write_zeros(start, 256 * KIB)
    path = finished(writer, TOP_ID)
    assert _states(path, 8 * MIB) == [6, 2, 2, 0, 7, 7, 2, 0]
    # Blocks 0, 4 and 5, and one block of sector bits.
    assert os.path.getsize(path) == 4 * MIB + 4 * MIB
    with open(path, "rb") as stream:
        stream.seek(3 * MIB + 8 * 4096)
        bits_at = struct.unpack("<Q", stream.read(8))[0]
        assert bits_at == 6 * MIB | 6
        stream.seek(6 * MIB)
        bits = stream.read(MIB)
    assert bits[:256] == b"\xff" * 256
    assert bits[256 : 4 * 256] == bytes(3 * 256)
    assert bits[4 * 256 : 5 * 256 + 128] == b"\1" + bytes(255) + b"\xff" * 128
    assert not any(bits[5 * 256 + 128 :])


def test_whole_blocks_need_no_sector_bits(tmp_path: Path) -> None:
    writer = new_writer(tmp_path / "disk.vhdx", subformat="differencing", size=3 * MIB + 512, parent=BASE)
    writer.write(MIB, images.fill(1, MIB))
    writer.write(3 * MIB, images.fill(2, 512))
    path = finished(writer)
    assert _states(path, 4 * MIB) == [0, 6, 0, 6]
    assert os.path.getsize(path) == 6 * MIB


def test_chunks_have_their_own_sector_bits(tmp_path: Path) -> None:
    """Blocks of 256 MiB make chunks of 16 blocks, which is 4 GiB."""
    size, gib = 20 << 30, 1 << 30
    writer = new_writer(tmp_path / "disk.vhdx", subformat="differencing", size=size, block_bytes=256 * MIB, parent=BASE)
    pieces = [(1024, 512), (4 * gib - 512, 1024), (9 * gib, 4096)]
    for number, (offset, length) in enumerate(pieces):
        writer.write(offset, images.fill(number, length))
    writer.write_zeros(10 * gib, 6 * gib)
    image = open_vhdx(PORT, finished(writer))
    found = [(extent.start, extent.length) for extent in image.extents(0, size) if extent.kind != ABSENT]
    assert found == [*pieces, (10 * gib, 6 * gib)]
    for number, (offset, length) in enumerate(pieces):
        assert content_of(image, offset, length) == images.fill(number, length)
    image.close()


def test_ids_lead_from_image_to_image(tmp_path: Path) -> None:
    base = open_vhdx(PORT, finished(new_writer(tmp_path / "base.vhdx"), ROOT_ID))
    middle_writer = new_writer(tmp_path / "middle.vhdx", subformat="differencing", parent=BASE, disk_identity=ROOT_ID)
    middle = open_vhdx(PORT, finished(middle_writer, MIDDLE_ID))
    top_writer = new_writer(
        tmp_path / "top.vhdx",
        subformat="differencing",
        parent=ParentImage("middle.vhdx", MIDDLE_ID),
        disk_identity=ROOT_ID,
    )
    top = open_vhdx(PORT, finished(top_writer, TOP_ID))
    assert middle.parent is not None
    assert top.parent is not None
    assert (middle.parent.names, middle.parent.identity) == (("base.vhdx",), base.identity)
    assert (top.parent.names, top.parent.identity) == (("middle.vhdx",), middle.identity)
    assert base.disk.disk_id == middle.disk.disk_id == top.disk.disk_id
    assert (
        len(
            {image.header.data_id for image in (base, middle, top)}
            | {image.header.file_id for image in (base, middle, top)}
            | {base.disk.disk_id}
        )
        == 7
    )
    alone = new_writer(tmp_path / "alone.vhdx", subformat="differencing", parent=BASE)
    image = open_vhdx(PORT, finished(alone, TOP_ID))
    assert image.disk.disk_id == base.disk.disk_id
    for opened in (base, middle, top, image):
        opened.close()


def test_the_header_area_is_what_the_format_wants(tmp_path: Path) -> None:
    raw = Path(finished(new_writer(tmp_path / "disk.vhdx"))).read_bytes()
    assert raw[:8] == b"vhdxfile"
    assert raw[8:520].decode("utf-16-le").rstrip("\0") == "vdisk.parallels"
    for offset, length, signature in (
        (64 * KIB, 4096, b"head"),
        (128 * KIB, 4096, b"head"),
        (192 * KIB, 65536, b"regi"),
        (256 * KIB, 65536, b"regi"),
    ):
        part = raw[offset : offset + length]
        assert part[:4] == signature
        assert struct.unpack("<I", part[4:8])[0] == crc32c(part[:4] + bytes(4) + part[8:])
    assert [struct.unpack_from("<Q", raw, offset + 8)[0] for offset in (64 * KIB, 128 * KIB)] == [1, 2]
    assert raw[64 * KIB + 16 : 64 * KIB + 4096] == raw[128 * KIB + 16 : 128 * KIB + 4096]
    assert raw[192 * KIB : 256 * KIB] == raw[256 * KIB : 320 * KIB]
    assert not any(raw[320 * KIB : 2 * MIB])
    assert len(raw) == 4 * MIB


def recorded(**options: object) -> Tuple[Recorder, VhdxWriter]:
    file = Recorder()
    return file, VhdxWriter(file, **options)  # type: ignore[arg-type]  # pylint: disable=missing-kwoa


def test_neighbours_go_out_in_one_call_and_the_mark_comes_last() -> None:
    file, writer = recorded(subformat="dynamic", size_bytes=100 * MIB)
    writer.write(40 * MIB - 512, bytes(2 * MIB))
    writer.write(50 * MIB, b"xy")
    writer.finish(ROOT_ID)
    assert file.calls[:3] == [("write", 5 * MIB - 512, 2 * MIB), ("write", 7 * MIB, 2), ("write", 3 * MIB, 64 * KIB)]
    assert file.calls[3] == ("truncate", 8 * MIB, 0)
    assert [offset for _kind, offset, _length in file.calls[4:]] == [
        2 * MIB,
        2 * MIB + 64 * KIB,
        192 * KIB,
        256 * KIB,
        64 * KIB,
        128 * KIB,
        0,
    ]


def test_a_preallocated_image_has_its_blocks_from_the_start() -> None:
    file, writer = recorded(subformat="fixed", size_bytes=10 * MIB + 512, preallocate=True)
    assert file.calls == [("allocate", 0, 4 * MIB + 11 * MIB)]
    writer.finish(ROOT_ID)
    assert ("truncate", 15 * MIB, 0) in file.calls


@pytest.mark.parametrize("subformat", ["dynamic", "fixed", "differencing"])
def test_a_huge_disk_costs_what_is_allocated(subformat: str) -> None:
    size = 64 * TIB if subformat != "fixed" else TIB
    file, writer = recorded(subformat=subformat, size_bytes=size, parent=BASE if subformat == "differencing" else None)
    for offset in (3, size // 2, size - 1):
        writer.write(offset, b"x")
    writer.write_zeros(size, 0)
    writer.finish(ROOT_ID)
    assert sum(length for kind, _offset, length in file.calls if kind == "write") < (
        10 * MIB if subformat == "fixed" else MIB
    )


def test_zeros_over_all_of_a_large_parent(tmp_path: Path) -> None:
    size = 9 << 30
    writer = new_writer(tmp_path / "disk.vhdx", subformat="differencing", size=size, parent=BASE)
    writer.write_zeros(512, size - 512)
    path = finished(writer)
    image = open_vhdx(PORT, path)
    assert [(extent.start, extent.kind) for extent in image.extents(0, size)] == [(0, "absent"), (512, "zero")]
    # The first block, and its bits.
    assert os.path.getsize(path) == 4 * MIB + 2 * MIB
    image.close()


def test_block_sizes_follow_the_size_of_the_disk() -> None:
    sizes = {512: 1, TIB: 1, TIB + 512: 2, 2 * TIB: 2, 16 * TIB: 16, 64 * TIB: 64}
    assert {size: default_block_bytes(size) // MIB for size in sizes} == sizes
    for size, block in sizes.items():
        _file, writer = recorded(subformat="dynamic", size_bytes=size)
        assert writer.properties["cluster_size"] == block * MIB


@pytest.mark.parametrize(
    "options",
    [
        {"size_bytes": 0},
        {"size_bytes": 1000},
        {"size_bytes": 64 * TIB + 512},
        {"size_bytes": MIB + 512, "logical_sector": 4096},
        {"logical_sector": 1024},
        {"physical_sector": 0},
        {"logical_sector": 4096, "physical_sector": 512},
        {"block_bytes": 0},
        {"block_bytes": 512 * KIB},
        {"block_bytes": 3 * MIB},
        {"block_bytes": 512 * MIB},
        {"subformat": "thin"},
        {"subformat": "differencing"},
        {"parent": BASE},
        {"subformat": "fixed", "parent": BASE},
        {"preallocate": True},
        {"subformat": "differencing", "parent": BASE, "preallocate": True},
        {"subformat": "differencing", "parent": ParentImage("a\\b", ROOT_ID)},
        {"subformat": "differencing", "parent": ParentImage("", ROOT_ID)},
        {"subformat": "differencing", "parent": ParentImage("a\0b", ROOT_ID)},
        {"subformat": "differencing", "parent": ParentImage("a\udce4b", ROOT_ID)},
        {"subformat": "differencing", "parent": ParentImage("x" * 40000, ROOT_ID)},
    ],
)
def test_what_the_format_cannot_hold_is_refused(options: dict) -> None:
    with pytest.raises(BadRequest):
        recorded(**{"subformat": "dynamic", "size_bytes": 4 * MIB, **options})

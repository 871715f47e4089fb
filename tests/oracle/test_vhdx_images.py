# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VHDX images: ours read by qemu-img, libvhdi and dissect, theirs read by us, and logs replayed by qemu-img on a
copy.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.reader import open_vhdx
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.writer import VhdxWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images, oracles, vhdx_images, vhdx_logs

PORT = OsPort()
KIB, MIB = 1 << 10, 1 << 20
ROOT_ID, MIDDLE_ID, TOP_ID = ("{" + f"{number:08x}-5555-6666-7777-888888888888" + "}" for number in (1, 2, 3))
SIZES = {"10M": 10 * MIB, "odd": 7 * MIB + 4608, "tiny": 66048}
Piece = Tuple[int, int]


def pieces_for(size: int) -> List[Piece]:
    """Data at both ends, across blocks, of whole blocks and of single sectors."""
    wanted = [(0, 1024), (MIB - 512, 2048), (2 * MIB, MIB), (3 * MIB + 4096, 70 * KIB), (5 * MIB - 4096, MIB + 8192)]
    return [piece for piece in wanted if sum(piece) <= size - 4096] + [(size - 4096, 4096)]


def written(
    path: Path,
    size: int,
    pieces: List[Piece],
    *,
    identity: str = ROOT_ID,
    seed: int = 0,
    zeros: Tuple[Piece, ...] = (),
    **options: Any,
) -> str:
    writer = VhdxWriter(PORT.create(str(path)), size_bytes=size, **options)
    for offset, length in sorted([*pieces, *zeros]):
        if (offset, length) in zeros:
            writer.write_zeros(offset, length)
        else:
            writer.write(offset, images.fill(seed + offset // 512, length))
    writer.finish(identity)
    writer.file.close()
    return str(path)


def put(disk: bytearray, pieces: List[Piece], *, seed: int = 0) -> None:
    for offset, length in pieces:
        disk[offset : offset + length] = images.fill(seed + offset // 512, length)


def ours(path: str) -> bytes:
    image = open_vhdx(PORT, path)
    content = vhdx_images.content_of(image)
    assert not any(extent.kind == ABSENT for extent in image.extents(0, image.size))
    for extent in image.extents(0, image.size):
        assert extent.kind == "data" or not any(content[extent.start : extent.end])
    image.close()
    return content


def ours_of(*chain: str) -> bytes:
    """The first image of ``chain`` over the others."""
    disk = bytearray()
    for path in reversed(chain):
        image = open_vhdx(PORT, path)
        disk = disk or bytearray(image.size)
        for extent in image.extents(0, image.size):
            if extent.kind != ABSENT:
                disk[extent.start : extent.end] = vhdx_images.content_of(image, extent.start, extent.length)
        image.close()
    return bytes(disk)


def by_qemu(path: str, scratch: Path) -> bytes:
    raw = scratch / "by-qemu.raw"
    oracles.qemu_img("convert", "-f", "vhdx", "-O", "raw", path, str(raw))
    return raw.read_bytes()


def by_libvhdi(*chain: str, size: Optional[int] = None) -> bytes:
    """The first image of ``chain`` over the others."""
    library = pytest.importorskip(
        "pyvhdi", reason="libvhdi is not installed (package libvhdi-python of the Python package index)"
    )
    files = []
    for path in reversed(chain):
        file = library.file()
        file.open(path)
        if files:
            file.set_parent(files[-1])
        files.append(file)
    size = size or files[-1].get_media_size()
    return b"".join(files[-1].read_buffer_at_offset(min(MIB, size - start), start) for start in range(0, size, MIB))


def by_dissect(path: str, block: int = MIB) -> bytes:
    """Block by block: a read from within a block into the next one goes wrong in dissect.hypervisor 3.21."""
    library = oracles.require_library("dissect.hypervisor.disk.vhdx")
    stream = library.VHDX(Path(path))
    parts = []
    for start in range(0, stream.size, block):
        stream.seek(start)
        parts.append(stream.read(min(block, stream.size - start)))
    return b"".join(parts)


@pytest.mark.parametrize("size", list(SIZES.values()), ids=list(SIZES))
@pytest.mark.parametrize("block", [1, 2, 32])
@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
def test_others_read_what_we_wrote(tmp_path: Path, subformat: str, block: int, size: int) -> None:
    model = bytearray(size)
    put(model, pieces_for(size))
    path = written(tmp_path / "disk.vhdx", size, pieces_for(size), subformat=subformat, block_bytes=block * MIB)
    assert by_qemu(path, tmp_path) == model
    oracles.qemu_img("check", "-f", "vhdx", path)
    oracles.compared("qemu-img check")
    raw = tmp_path / "model.raw"
    raw.write_bytes(model)
    oracles.qemu_img("compare", "-f", "raw", "-F", "vhdx", str(raw), path)
    oracles.compared("qemu-img compare")
    assert f"virtual size: {size}" in oracles.qemu_img(
        "info", "-f", "vhdx", path
    ) or f"({size} bytes)" in oracles.qemu_img("info", "-f", "vhdx", path)
    assert by_libvhdi(path) == model
    oracles.compared("libvhdi")
    assert by_dissect(path, block * MIB) == model
    oracles.compared("dissect")


def test_others_read_4096_byte_sectors(tmp_path: Path) -> None:
    size = 6 * MIB + 8192
    model = bytearray(size)
    put(model, pieces_for(size))
    path = written(tmp_path / "disk.vhdx", size, pieces_for(size), subformat="dynamic", logical_sector=4096)
    assert by_libvhdi(path) == by_dissect(path) == model == ours(path)
    oracles.compared("libvhdi")
    oracles.compared("dissect")


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize("size", [10 * MIB, 7 * MIB + 8192], ids=["10M", "odd"])
def test_others_read_our_chains(tmp_path: Path, size: int, sector: int) -> None:
    """Whole blocks of zeros lie only over zeros here, see below."""
    middle_pieces = [(4096, 4096), (MIB, MIB), (4 * MIB + 8192, 16384), (6 * MIB - 4096, 8192)]
    middle_zeros = ((MIB // 2, 65536), (5 * MIB - 4096, 4096), (size - 4096, 4096))
    top_pieces = [(0, 4096), (MIB + 65536, 4096), (2 * MIB - 4096, 8192), (6 * MIB, MIB)]
    sectors = {"logical_sector": sector, "physical_sector": 4096}
    base = written(tmp_path / "base.vhdx", size, pieces_for(size), subformat="dynamic", **sectors)
    overlays = {"subformat": "differencing", "disk_identity": ROOT_ID, **sectors}
    parent = ParentImage("base.vhdx", ROOT_ID)
    middle = written(
        tmp_path / "middle.vhdx",
        size,
        middle_pieces,
        zeros=middle_zeros,
        identity=MIDDLE_ID,
        seed=7,
        parent=parent,
        **overlays,
    )
    parent = ParentImage("middle.vhdx", MIDDLE_ID)
    top = written(tmp_path / "top.vhdx", size, top_pieces, identity=TOP_ID, seed=13, parent=parent, **overlays)
    model = bytearray(size)
    put(model, pieces_for(size))
    assert by_dissect(base) == by_libvhdi(base) == model
    put(model, middle_pieces, seed=7)
    for offset, length in middle_zeros:
        model[offset : offset + length] = bytes(length)
    assert by_dissect(middle) == model
    assert by_libvhdi(middle, base) == model
    put(model, top_pieces, seed=13)
    assert ours_of(top, middle, base) == model
    assert by_libvhdi(top, middle, base) == model
    if sector == 512:
        # dissect.hypervisor 3.21 loses sectors when a run of the child begins within a byte of the parent's bits.
        assert by_dissect(top) == model
    oracles.compared("dissect", 2 + (sector == 512))
    oracles.compared("libvhdi", 3)


def test_whole_blocks_of_zeros_hide_the_parent(tmp_path: Path) -> None:
    """dissect says so too. libvhdi 20260901 shows the parent through them, against the format."""
    size = 4 * MIB
    written(tmp_path / "base.vhdx", size, [(0, size)], subformat="dynamic")
    top = written(
        tmp_path / "top.vhdx",
        size,
        [],
        zeros=((MIB, 2 * MIB),),
        identity=TOP_ID,
        subformat="differencing",
        parent=ParentImage("base.vhdx", ROOT_ID),
    )
    model = bytearray(images.fill(0, size))
    model[MIB : 3 * MIB] = bytes(2 * MIB)
    assert by_dissect(top) == model
    oracles.compared("dissect")


@pytest.fixture(params=["dynamic", "fixed"])
def subformat(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("size", list(SIZES.values()), ids=list(SIZES))
@pytest.mark.parametrize(
    "options", ["", ",block_size=1M", ",block_size=2M,block_state_zero=off", ",block_size=32M,log_size=3M"]
)
def test_we_read_what_qemu_converted(tmp_path: Path, subformat: str, options: str, size: int) -> None:
    model = bytearray(size)
    put(model, pieces_for(size))
    raw, path = tmp_path / "model.raw", str(tmp_path / "disk.vhdx")
    raw.write_bytes(model)
    oracles.qemu_img("convert", "-f", "raw", "-O", "vhdx", "-o", f"subformat={subformat}{options}", str(raw), path)
    assert ours(path) == model
    image = open_vhdx(PORT, path)
    assert (image.properties["subformat"], image.warnings) == (subformat, ())
    image.close()
    oracles.compared("qemu-img convert")


def test_we_read_what_qemu_wrote_into_ours(tmp_path: Path) -> None:
    path = written(tmp_path / "disk.vhdx", 10 * MIB, pieces_for(10 * MIB), subformat="dynamic")
    model = bytearray(10 * MIB)
    put(model, pieces_for(10 * MIB))
    oracles.qemu_io(path, "write -P 0x41 7M 100k", "write -P 0x42 512k 1M", format="vhdx")
    model[7 * MIB : 7 * MIB + 100 * KIB] = b"\x41" * (100 * KIB)
    model[512 * KIB : 512 * KIB + MIB] = b"\x42" * MIB
    assert ours(path) == model
    oracles.compared("qemu-io")


def test_a_huge_disk_of_qemu_opens(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.vhdx")
    oracles.qemu_img("create", "-q", "-f", "vhdx", path, "16T")
    oracles.qemu_io(path, "write -P 0x41 9T 4k", format="vhdx")
    image = open_vhdx(PORT, path)
    assert image.size == 16 << 40
    assert vhdx_images.content_of(image, 9 << 40, 8192) == b"\x41" * 4096 + bytes(4096)
    found = [extent for extent in image.extents(0, image.size) if extent.kind == "data"]
    assert found[0].start == 9 << 40
    image.close()
    oracles.compared("qemu-io")


# Here QEMU 7.2 gives another answer than the format asks for: it takes no notice of the tail, takes the second entry of
# a run whatever its number, may prefer the end of a run to all of it, and refuses entries whose descriptors fill more
# than one sector.
QEMU_CANNOT = {
    "an entry around the end",
    "around the end",
    "tail behind the first",
    "stale behind",
    "stale in front",
    "tail not in the run",
    "gap in the numbers",
    "many descriptors",
}


@pytest.mark.parametrize("name", [name for name in vhdx_logs.SCENARIOS if name not in QEMU_CANNOT])
def test_a_log_is_replayed_as_qemu_does_it(tmp_path: Path, name: str) -> None:
    entries, changes = vhdx_logs.SCENARIOS[name]
    path = vhdx_logs.dirty(entries).write(tmp_path / "disk.vhdx")
    repaired = str(tmp_path / "repaired.vhdx")
    shutil.copyfile(path, repaired)
    oracles.require("qemu-img")
    oracles.succeeded(oracles.run("qemu-img", "check", "-f", "vhdx", "-r", "all", repaired))
    image = open_vhdx(PORT, path)
    assert image.warnings
    content = vhdx_images.content_of(image)
    image.close()
    assert content == ours(repaired) == by_qemu(repaired, tmp_path)
    assert bool(changes) == (content != vhdx_logs.DIRTY_DISK)
    oracles.compared("qemu-img check -r all")

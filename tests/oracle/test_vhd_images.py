# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VHD images: what we write is read by qemu-img, libvhdi and dissect.hypervisor, and what qemu-img writes is read by
us.

qemu-img and dissect read an overlay without its parent, so only libvhdi judges chains. It misreads bytes of a bitmap
that have both set and clear bits: its overlays consist of whole 4 KiB here, and those of single sectors are judged by a
reader made for the test.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import MissingImage
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import GIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.reader import VhdImage, open_vhd
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.writer import VhdWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.oracles import compared, qemu_img, qemu_io, require

PORT = OsPort()
IDS = [
    "{11111111-1111-4111-8111-111111111111}",
    "{22222222-2222-4222-8222-222222222222}",
    "{33333333-3333-4333-8333-333333333333}",
]
Ranges = Sequence[Tuple[int, int]]
SIZES = {
    "1 MiB": MIB,
    "20 MiB": 20 * MIB,
    "odd sectors": 5 * MIB + 3 * 512,
    "a tail of 4 KiB": 6 * MIB + 4096,
    "one sector": 512,
}


def nobody(name: str) -> File:
    raise MissingImage(name)


def write(
    path: Path,
    ranges: Ranges,
    *,
    size: int,
    seed: int,
    zeros: Ranges = (),
    parent: Optional[ParentImage] = None,
    **options: Any,
) -> str:
    """An image with a fill in ``ranges`` and explicit zeros in ``zeros``."""
    writer = VhdWriter(PORT.create(str(path)), size_bytes=size, parent=parent, **options)
    for start, length, is_zero in sorted([(*part, False) for part in ranges] + [(*part, True) for part in zeros]):
        if is_zero:
            writer.write_zeros(start, length)
        else:
            writer.write(start, images.fill(seed, length))
    writer.finish(IDS[seed])
    writer.file.close()
    return str(path)


def model_of(size: int, layers: Sequence[Tuple[int, Ranges, Ranges]]) -> bytes:
    """What the guest sees of layers (seed, written, zeros), the lowest first."""
    disk = bytearray(size)
    for seed, ranges, zeros in layers:
        for start, length in ranges:
            disk[start : start + length] = images.fill(seed, length)
        for start, length in zeros:
            disk[start : start + length] = bytes(length)
    return bytes(disk)


def spread(size: int) -> List[Tuple[int, int]]:
    """Ranges of whole 4 KiB across a disk, and its end."""
    last = (size - 1) // 4096 * 4096
    parts = [(0, 4096), (2 * MIB - 8192, 16384), (3 * MIB, 256 << 10), (last, size - last)]
    return [
        (start, length)
        for start, length in parts
        if start + length <= size and (start == last or start + length <= last)
    ]


def read(image: VhdImage) -> bytes:
    buffer = bytearray(image.size)
    image.pread_into(0, buffer)
    return bytes(buffer)


def library(name: str, package: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed (package {package} of the Python package index)")


def read_with_libvhdi(paths: Sequence[str]) -> bytes:
    """The guest disk of a chain, its top first."""
    pyvhdi = library("pyvhdi", "libvhdi-python")
    files = []
    for path in paths:
        file = pyvhdi.file()
        file.open(path)
        files.append(file)
    for upper, lower in zip(files, files[1:]):
        assert upper.get_parent_identifier() == lower.get_identifier()
        upper.set_parent(lower)
    size = files[0].get_media_size()
    content = b"".join(files[0].read_buffer_at_offset(min(MIB, size - start), start) for start in range(0, size, MIB))
    for file in files:
        file.close()
    return content


def read_with_dissect(path: str) -> bytes:
    vhd = library("dissect.hypervisor.disk.vhd", "dissect.hypervisor")
    with open(path, "rb") as stream:
        disk = vhd.VHD(stream)
        content = b"".join(disk.read(min(MIB, disk.size - start)) for start in range(0, disk.size, MIB))
    return bytes(content)


def assert_qemu_reads(path: str, model: bytes, scratch: Path) -> None:
    # A comparison leaves out zeros behind the end of one of the two, so the size is asked for.
    assert json.loads(qemu_img("info", "--output=json", "-f", "vpc", path))["virtual-size"] == len(model)
    scratch.write_bytes(model)
    qemu_img("compare", "-f", "vpc", "-F", "raw", path, str(scratch))
    compared("qemu-img")


@pytest.mark.parametrize("size", SIZES.values(), ids=list(SIZES))
@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_others_read_what_we_write(tmp_path: Path, subformat: str, size: int) -> None:
    require("qemu-img")
    ranges = spread(size)
    path = write(tmp_path / "disk.vhd", ranges, size=size, seed=1, subformat=subformat)
    model = model_of(size, [(1, ranges, ())])
    assert_qemu_reads(path, model, tmp_path / "model.raw")
    assert read_with_libvhdi([path]) == model
    compared("libvhdi")
    assert read_with_dissect(path) == model
    compared("dissect")


@pytest.mark.parametrize("block_bytes", [4096, 512 << 10, 4 * MIB, 64 * MIB])
def test_others_read_every_block_size(tmp_path: Path, block_bytes: int) -> None:
    require("qemu-img")
    size = 70 * MIB
    path = write(tmp_path / "disk.vhd", spread(size), size=size, seed=1, subformat="dynamic", block_bytes=block_bytes)
    model = model_of(size, [(1, spread(size), ())])
    assert_qemu_reads(path, model, tmp_path / "model.raw")
    assert read_with_dissect(path) == model
    compared("dissect")
    # libvhdi takes a minute for the largest blocks.
    if block_bytes <= 4 * MIB:
        assert read_with_libvhdi([path]) == model
        compared("libvhdi")


@pytest.mark.parametrize("root", ["fixed", "dynamic"])
@pytest.mark.parametrize("size", [6 * MIB, 6 * MIB + 4096])
def test_libvhdi_reads_our_chains(tmp_path: Path, root: str, size: int) -> None:
    layers: List[Tuple[int, Ranges, Ranges]] = [
        (0, [(0, size)], []),
        (1, [(8192, 4096), (2 * MIB - 65536, 131072), (size - 4096, 4096)], [(MIB, 65536), (4 * MIB - 4096, 8192)]),
        (2, [(8192, 8192), (5 * MIB, 4096)], [(2 * MIB, 4096), (size - 4096, 4096)]),
    ]
    paths: List[str] = []
    for seed, ranges, zeros in layers:
        parent = ParentImage(f"layer{seed - 1}.vhd", IDS[seed - 1]) if seed else None
        subformat = "differencing" if seed else root
        paths.insert(
            0,
            write(
                tmp_path / f"layer{seed}.vhd",
                ranges,
                zeros=zeros,
                size=size,
                seed=seed,
                parent=parent,
                subformat=subformat,
            ),
        )
        assert read_with_libvhdi(paths) == model_of(size, layers[: seed + 1])
        compared("libvhdi")


def test_libvhdi_knows_our_ids_and_names(tmp_path: Path) -> None:
    pyvhdi = library("pyvhdi", "libvhdi-python")
    path = write(
        tmp_path / "top.vhd",
        [(0, 4096)],
        size=MIB,
        seed=1,
        subformat="differencing",
        parent=ParentImage("bäse.vhd", IDS[0]),
    )
    ours = open_vhd(PORT, path, nobody)
    theirs = pyvhdi.file()
    theirs.open(path)
    assert ours.parent is not None
    assert theirs.get_parent_filename() == "bäse.vhd"
    assert (ours.identity, ours.parent.identity) == (
        "{" + theirs.get_identifier() + "}",
        "{" + theirs.get_parent_identifier() + "}",
    )
    compared("libvhdi")
    theirs.close()
    ours.close()


def sectors_of(path: str) -> List[Optional[bytes]]:
    """The sectors of an overlay by a reader that goes sector by sector: None for those of the parent."""
    raw = Path(path).read_bytes()
    (size,) = struct.unpack_from(">Q", raw, len(raw) - 512 + 48)
    table, _version, _entries, block = struct.unpack_from(">QIII", raw, 512 + 16)
    found: List[Optional[bytes]] = []
    for sector in range(size // 512):
        index, inner = divmod(sector, block // 512)
        (entry,) = struct.unpack_from(">I", raw, table + 4 * index)
        bitmap = entry * 512
        if entry == 0xFFFFFFFF or not raw[bitmap + inner // 8] >> (7 - inner % 8) & 1:
            found.append(None)
        else:
            start = bitmap + max(512, block // 4096) + inner * 512
            found.append(raw[start : start + 512])
    return found


def test_single_sectors_of_an_overlay_are_where_the_specification_wants_them(tmp_path: Path) -> None:
    size = 5 * MIB + 512
    ranges = [(512 * start, 512 * count) for start, count in ((1, 1), (3, 4), (15, 2), (4094, 4), (10239, 2))]
    zeros = [(512 * 5000, 512 * 3)]
    path = write(
        tmp_path / "top.vhd",
        ranges,
        zeros=zeros,
        size=size,
        seed=1,
        subformat="differencing",
        parent=ParentImage("base.vhd", IDS[0]),
    )
    expected: List[Optional[bytes]] = [None] * (size // 512)
    for start, length in ranges:
        for inner in range(0, length, 512):
            expected[(start + inner) // 512] = images.fill(1, length)[inner : inner + 512]
    expected[5000:5003] = [bytes(512)] * 3
    assert sectors_of(path) == expected
    image = open_vhd(PORT, path, nobody)
    stored = {
        sector
        for part in image.extents(0, size)
        if part.kind != ABSENT
        for sector in range(part.start // 512, part.end // 512)
    }
    assert stored == {number for number, sector in enumerate(expected) if sector is not None}
    image.close()


@pytest.mark.parametrize(
    "options",
    ["subformat=fixed", "subformat=dynamic", "subformat=fixed,force_size=on", "subformat=dynamic,force_size=on"],
)
@pytest.mark.parametrize("size", [5 * MIB + 3 * 512, 20 * MIB, 10_000_384])
def test_we_read_what_qemu_writes(tmp_path: Path, options: str, size: int) -> None:
    require("qemu-img")
    model = model_of(size, [(1, spread(size), ())])
    (tmp_path / "model.raw").write_bytes(model)
    path = str(tmp_path / "disk.vhd")
    qemu_img("convert", "-f", "raw", "-O", "vpc", "-o", options, str(tmp_path / "model.raw"), path)
    image = open_vhd(PORT, path, nobody)
    # Without force_size the disk grows to whole cylinders.
    assert image.size == size if "force_size" in options else image.size >= size
    assert image.warnings == ()
    assert read(image) == model.ljust(image.size, b"\0")
    assert image.properties["subformat"] == options.partition(",")[0].partition("=")[2]
    stored = {
        start // 4096
        for part in image.extents(0, size)
        if part.kind == DATA
        for start in range(part.start, part.end, 4096)
    }
    assert stored >= {at // 4096 for start, length in spread(size) for at in range(start, start + length, 4096)}
    compared("qemu-img")
    image.close()


def test_we_read_blocks_in_the_order_in_which_qemu_wrote_them(tmp_path: Path) -> None:
    require("qemu-img", "qemu-io")
    path = str(tmp_path / "disk.vhd")
    qemu_img("create", "-f", "vpc", "-o", "force_size=on", path, "64M")
    qemu_io(
        path,
        "write -P 0x11 60M 4k",
        "write -P 0x22 1M 2M",
        "write -P 0x33 30M 64k",
        "write -P 0x44 0 512",
        format="vpc",
    )
    model = bytearray(64 * MIB)
    for value, start, length in ((0x11, 60 * MIB, 4096), (0x22, MIB, 2 * MIB), (0x33, 30 * MIB, 65536), (0x44, 0, 512)):
        model[start : start + length] = bytes([value]) * length
    image = open_vhd(PORT, path, nobody)
    assert read(image) == model
    compared("qemu-img")
    image.close()


@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_qemu_goes_on_writing_in_our_images(tmp_path: Path, subformat: str) -> None:
    require("qemu-img", "qemu-io")
    size = 20 * MIB
    path = write(tmp_path / "disk.vhd", spread(size), size=size, seed=1, subformat=subformat)
    qemu_io(path, "write -P 0x5a 1M 64k", "write -P 0x5b 10M 64k", format="vpc")
    model = bytearray(model_of(size, [(1, spread(size), ())]))
    model[MIB : MIB + 65536] = b"\x5a" * 65536
    model[10 * MIB : 10 * MIB + 65536] = b"\x5b" * 65536
    image = open_vhd(PORT, path, nobody)
    assert read(image) == model and image.warnings == ()
    compared("qemu-img")
    image.close()


def test_all_agree_on_the_largest_disk(tmp_path: Path) -> None:
    require("qemu-img")
    size = 2040 * GIB
    path = write(
        tmp_path / "disk.vhd",
        [(0, 4096), (1500 * GIB, 8192), (size - 4096, 4096)],
        size=size,
        seed=1,
        subformat="dynamic",
    )
    assert json.loads(qemu_img("info", "--output=json", "-f", "vpc", path))["virtual-size"] == size
    compared("qemu-img")
    pyvhdi = library("pyvhdi", "libvhdi-python")
    file = pyvhdi.file()
    file.open(path)
    assert file.get_media_size() == size
    for start in (0, 1500 * GIB, size - 4096):
        assert file.read_buffer_at_offset(4096, start) == images.fill(1, 4096)
    assert file.read_buffer_at_offset(4096, 800 * GIB) == bytes(4096)
    compared("libvhdi")
    file.close()

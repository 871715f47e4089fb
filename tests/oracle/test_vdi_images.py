# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VDI images against qemu-img and dissect.hypervisor: what we write they read, and what QEMU writes we read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.reader import open_vdi
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.writer import VdiWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import foreign, images, vdi_images
from ansible_collections.vdisk.parallels.tests.support.oracles import compared, qemu_img, qemu_io, require, run

PORT = OsPort()
IDENTITY = "{0d9b6c1e-55b3-4ab4-8d2e-2a2a5d1a7c11}"
SUBFORMATS = ("dynamic", "fixed")


def write_ours(path: Path, guest: str, *, subformat: str, block: int = MIB) -> str:
    size, pieces = foreign.GUESTS[guest]
    writer = VdiWriter(PORT.create(str(path)), subformat=subformat, size_bytes=size, block_bytes=block)
    for offset, content in pieces(size, 1):
        writer.write(offset, content)
    writer.finish(IDENTITY)
    writer.file.close()
    return str(path)


def assert_we_read(path: str, raw: str) -> None:
    image = open_vdi(PORT, path)
    assert image.size == os.path.getsize(raw)
    with open(raw, "rb") as stream:
        for offset, length in foreign.windows(raw):
            part = bytearray(length)
            image.pread_into(offset, part)
            stream.seek(offset)
            assert part == stream.read(length), offset
    image.close()


@pytest.mark.parametrize("guest", list(foreign.GUESTS))
@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_everybody_reads_what_we_wrote(tmp_path: Path, guest: str, subformat: str) -> None:
    if subformat == "fixed" and guest in foreign.HUGE:
        pytest.skip("a fixed image would fill the host")
    raw = foreign.make_raw(tmp_path / "disk.raw", guest)
    path = write_ours(tmp_path / "disk.vdi", guest, subformat=subformat)
    foreign.compare_with_all([path], "vdi", raw)
    assert_we_read(path, raw)


@pytest.mark.parametrize("block", [4 * KIB, 64 * KIB, 2 * MIB, 64 * MIB])
@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_dissect_reads_our_other_block_sizes(tmp_path: Path, subformat: str, block: int) -> None:
    """QEMU opens only images with blocks of 1 MiB."""
    raw = foreign.make_raw(tmp_path / "disk.raw", "fragmented")
    path = write_ours(tmp_path / "disk.vdi", "fragmented", subformat=subformat, block=block)
    foreign.compare_with_dissect(path, "vdi", raw)
    assert_we_read(path, raw)


@pytest.mark.parametrize("guest", list(foreign.GUESTS))
@pytest.mark.parametrize("kind", ["vdi dynamic", "vdi fixed"])
def test_we_read_what_qemu_wrote(tmp_path: Path, guest: str, kind: str) -> None:
    if not foreign.KINDS[kind].can_hold(guest):
        pytest.skip("a fixed image would fill the host")
    raw = foreign.make_raw(tmp_path / "disk.raw", guest)
    path = foreign.make_foreign(tmp_path / "disk.vdi", kind, raw)
    assert_we_read(path, raw)
    image = open_vdi(PORT, path)
    assert (image.properties["subformat"], image.properties["cluster_size"], image.warnings) == (
        kind.split()[1],
        MIB,
        (),
    )
    image.close()
    compared("qemu-img convert")


def test_we_read_blocks_in_the_order_of_the_guests_writes(tmp_path: Path) -> None:
    path, raw = str(tmp_path / "disk.vdi"), str(tmp_path / "disk.raw")
    qemu_img("create", "-q", "-f", "vdi", path, "16M")
    qemu_io(
        path,
        "write -P 1 9M 1M",
        "write -P 2 3M 64k",
        "write -P 3 15M 512",
        "write -P 4 2500k 1M",
        "write -z 9M 64k",
        format="vdi",
    )
    qemu_img("convert", "-f", "vdi", "-O", "raw", path, raw)
    assert_we_read(path, raw)
    image = open_vdi(PORT, path)
    places = [place.offset for place in image.places(0, image.size)]
    assert places != sorted(places)
    image.close()
    compared("qemu-io read")


def test_we_call_data_what_qemu_calls_data(tmp_path: Path) -> None:
    raw = foreign.make_raw(tmp_path / "disk.raw", "sparse")
    path = foreign.make_foreign(tmp_path / "disk.vdi", "vdi dynamic", raw)
    image = open_vdi(PORT, path)
    ours = {
        block
        for part in image.extents(0, image.size)
        if part.kind == DATA
        for block in range(part.start // MIB, (part.end - 1) // MIB + 1)
    }
    image.close()
    listed = [line.split()[:2] for line in qemu_img("map", "-f", "vdi", path).splitlines()[1:]]
    theirs = {
        block
        for start, length in listed
        for block in range(int(start, 16) // MIB, (int(start, 16) + int(length, 16) - 1) // MIB + 1)
    }
    assert ours == theirs and ours
    compared("qemu-img map")


def test_a_size_that_is_no_multiple_of_a_sector_is_kept_to_the_byte(tmp_path: Path) -> None:
    """QEMU shows whole sectors; what it shows behind our last byte is zeros."""
    path, size = str(tmp_path / "disk.vdi"), 3 * MIB + 1000
    writer = VdiWriter(PORT.create(path), subformat="dynamic", size_bytes=size)
    content = images.fill(3, 1500)
    writer.write(size - 1500, content)
    writer.finish(IDENTITY)
    writer.file.close()
    raw = tmp_path / "disk.raw"
    raw.write_bytes(bytes(size - 1500) + content + bytes(24))
    foreign.check_with_qemu(path, "vdi")
    foreign.compare_with_qemu(path, "vdi", str(raw))
    image = open_vdi(PORT, path)
    assert image.size == size
    image.close()


@pytest.mark.parametrize("linkage", ["linkage", "parent_modified"])
def test_qemu_refuses_overlays_too(tmp_path: Path, linkage: str) -> None:
    require("qemu-img")
    path = str(tmp_path / "disk.vdi")
    vdi_images.build_vdi(path, size=4 * MIB, contents={1: b"x" * MIB}, **{linkage: b"\1" * 16})
    assert run("qemu-img", "info", "-f", "vdi", path).code != 0
    compared("qemu-img info")


def test_images_of_the_builder_are_what_qemu_takes_for_images(tmp_path: Path) -> None:
    path, raw = str(tmp_path / "disk.vdi"), tmp_path / "disk.raw"
    contents = {index: images.fill(index, MIB) for index in (0, 2, 5)}
    vdi_images.build_vdi(path, size=6 * MIB, contents=contents, order=(5, 0, 2), entries={3: vdi_images.ZERO})
    raw.write_bytes(images.guest_bytes(size_sectors=6 * 2048, cluster_sectors=2048, clusters=contents))
    foreign.compare_with_all([path], "vdi", str(raw))
    assert_we_read(path, str(raw))

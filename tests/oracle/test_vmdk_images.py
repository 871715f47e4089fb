# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMDK files of ours are read by qemu-img, dissect and libvmdk; what qemu-img writes is read by us."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ForeignWriter, ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.descriptor import cid_of
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.reader import VmdkImage, open_vmdk
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.writer import (
    SPLIT_BYTES,
    new_vmdk_writer,
    vmdk_files,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images, oracles
from ansible_collections.vdisk.parallels.tests.support import vmdk_files as vmdk_support

PORT = OsPort()
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
GRAIN = 64 * KIB
IDENTITY = "{11111111-2222-4333-8444-555555555555}"
OTHER = "{99999999-2222-4333-8444-555555555555}"
SUBFORMATS = ("monolithicSparse", "streamOptimized", "monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat")
SIZES = {"odd": 34 * MIB + 3 * 512, "page": 33 * MIB + 4096, "tiny": 512}


def opened(path: str) -> VmdkImage:
    return open_vmdk(PORT, path, lambda name: PORT.open_read(os.path.join(os.path.dirname(path), name)))


def read_by_us(path: str) -> bytes:
    image = opened(path)
    try:
        content = bytearray(b"\xaa" * image.size)
        for start in range(0, image.size, 256 * KIB):
            image.pread_into(start, memoryview(content)[start : start + 256 * KIB])
        for extent in image.extents(0, image.size):
            assert extent.kind == DATA or content.count(0, extent.start, extent.end) == extent.length
        return bytes(content)
    finally:
        image.close()


def read_by_qemu(path: str, scratch: Path) -> bytes:
    raw = str(scratch / "by-qemu.raw")
    oracles.qemu_img("convert", "-f", "vmdk", "-O", "raw", path, raw)
    oracles.compared("qemu-img convert")
    return Path(raw).read_bytes()


def read_by_dissect(path: str, size: int) -> bytes:
    """All of the disk but for what follows the last 8 KiB boundary: dissect.hypervisor 3.21 fails at the end of a
    disk of odd size.
    """
    library = pytest.importorskip(
        "dissect.hypervisor.disk.vmdk", reason="dissect.hypervisor is not installed (Python package index)"
    )
    stream = library.VMDK(Path(path))
    assert stream.size == size
    content = stream.read(size // 8192 * 8192)
    oracles.compared("dissect")
    return content


def read_by_libvmdk(path: str, parent: Optional[str] = None) -> bytes:
    library = pytest.importorskip(
        "pyvmdk", reason="pyvmdk is not installed (package libvmdk-python of the Python package index)"
    )
    handles = []
    for name in filter(None, (path, parent)):
        handle = library.handle()
        handle.open(name)
        handle.open_extent_data_files()
        handles.append(handle)
    if parent:
        handles[0].set_parent(handles[1])
    size = handles[0].get_media_size()
    content = b"".join(handles[0].read_buffer_at_offset(min(MIB, size - start), start) for start in range(0, size, MIB))
    for handle in handles:
        handle.close()
    oracles.compared("pyvmdk")
    return content


def info_of(path: str) -> dict:
    return json.loads(oracles.qemu_img("info", "--output=json", "-f", "vmdk", path))


def check_by_qemu(path: str) -> None:
    oracles.qemu_img("check", "-f", "vmdk", path)
    oracles.compared("qemu-img check")


def course(size: int, seed: int) -> Dict[int, bytes]:
    """Writes at the ends of the disk, of its grains and of its tables, and holes between them."""
    wanted = [
        (0, 512),
        (GRAIN, GRAIN),
        (3 * GRAIN - 512, 1024),
        (10 * GRAIN, 3 * GRAIN + 4096),
        (32 * MIB - GRAIN, 2 * GRAIN),
        (33 * MIB, 1024),
    ]
    pieces = {
        start: images.fill(start // 512 + seed, length) for start, length in wanted if start + length < size - 512
    }
    return {**pieces, size - 512: images.fill(size // 512, 512)}


def written(
    folder: Path,
    subformat: str,
    size: int,
    pieces: Dict[int, bytes],
    *,
    base: str = "d.vmdk",
    identity: str = IDENTITY,
    **options: object,
) -> str:
    folder.mkdir(exist_ok=True)
    names = vmdk_files(base, subformat, size)
    files = [PORT.create(str(folder / name)) for name in names]
    writer: ForeignWriter = new_vmdk_writer(files, names, subformat=subformat, size_bytes=size, **options)  # type: ignore[arg-type]
    for offset, piece in pieces.items():
        writer.write(offset, piece)
    writer.finish(identity)
    for file in files:
        file.close()
    return str(folder / base)


def model_of(size: int, pieces: Dict[int, bytes]) -> bytes:
    model = bytearray(size)
    for offset, piece in pieces.items():
        model[offset : offset + len(piece)] = piece
    return bytes(model)


@pytest.fixture(params=SUBFORMATS)
def subformat(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=list(SIZES))
def size(request: pytest.FixtureRequest) -> int:
    return SIZES[request.param]


def test_all_read_what_we_write(tmp_path: Path, subformat: str, size: int) -> None:
    adapter = "ide" if size == 512 else "lsilogic"
    pieces = course(size, 1)
    model = model_of(size, pieces)
    path = written(tmp_path, subformat, size, pieces, adapter_type=adapter)
    assert read_by_us(path) == model
    check_by_qemu(path)
    assert read_by_qemu(path, tmp_path) == model
    info = info_of(path)
    details = info["format-specific"]["data"]
    assert (info["virtual-size"], details["create-type"], details["cid"]) == (
        size,
        subformat,
        int(cid_of(IDENTITY), 16),
    )
    assert read_by_dissect(path, size) == model[: size // 8192 * 8192]
    assert read_by_libvmdk(path) == model


@pytest.mark.parametrize("grain", [8192, 2 * MIB])
@pytest.mark.parametrize("subformat", ["monolithicSparse", "streamOptimized"], indirect=True)
def test_all_read_other_grains(tmp_path: Path, subformat: str, grain: int) -> None:
    pieces = course(40 * MIB, 2)
    model = model_of(40 * MIB, pieces)
    path = written(tmp_path, subformat, 40 * MIB, pieces, grain_bytes=grain)
    check_by_qemu(path)
    assert (
        read_by_qemu(path, tmp_path)
        == read_by_dissect(path, 40 * MIB)
        == read_by_libvmdk(path)
        == read_by_us(path)
        == model
    )
    assert info_of(path)["cluster-size"] == grain


@pytest.mark.parametrize("level", [0, 1, 9])
def test_all_read_every_compression_level(tmp_path: Path, level: int) -> None:
    pieces = course(40 * MIB, 3)
    model = model_of(40 * MIB, pieces)
    path = written(tmp_path, "streamOptimized", 40 * MIB, pieces, level=level)
    assert read_by_qemu(path, tmp_path) == read_by_dissect(path, 40 * MIB) == read_by_libvmdk(path) == model


def test_all_read_an_empty_disk(tmp_path: Path, subformat: str) -> None:
    path = written(tmp_path, subformat, 3 * MIB, {})
    check_by_qemu(path)
    assert (
        read_by_qemu(path, tmp_path)
        == read_by_dissect(path, 3 * MIB)
        == read_by_libvmdk(path)
        == read_by_us(path)
        == bytes(3 * MIB)
    )


@pytest.mark.parametrize("parent_subformat", ["monolithicSparse", "monolithicFlat", "streamOptimized"])
def test_all_read_our_overlays(tmp_path: Path, parent_subformat: str) -> None:
    size = SIZES["odd"]
    below = course(size, 4)
    base = written(tmp_path, parent_subformat, size, below, base="base.vmdk", identity=OTHER)
    model = bytearray(model_of(size, below))
    path = str(tmp_path / "d.vmdk")
    file = PORT.create(path)
    parent = ParentImage("base.vmdk", OTHER)
    writer = new_vmdk_writer([file], ["d.vmdk"], subformat="monolithicSparse", size_bytes=size, parent=parent)
    end = size // GRAIN * GRAIN
    writer.write(0, images.fill(77, GRAIN))
    writer.write_zeros(GRAIN, GRAIN)
    writer.write_zeros(11 * GRAIN, 2 * GRAIN)
    writer.write(end, images.fill(78, size - end))
    writer.finish(IDENTITY)
    file.close()
    for start, content in (
        (0, images.fill(77, GRAIN)),
        (GRAIN, bytes(GRAIN)),
        (11 * GRAIN, bytes(2 * GRAIN)),
        (end, images.fill(78, size - end)),
    ):
        model[start : start + len(content)] = content
    check_by_qemu(path)
    info = info_of(path)
    assert info["full-backing-filename"] == base and info["format-specific"]["data"]["parent-cid"] == int(
        cid_of(OTHER), 16
    )
    assert read_by_qemu(path, tmp_path) == model
    assert read_by_libvmdk(path, base) == model
    if parent_subformat != "monolithicFlat" or size % 8192 == 0:
        assert read_by_dissect(path, size) == model[: size // 8192 * 8192]
    image, lower = opened(path), opened(base)
    assert image.parent is not None and image.parent.identity == lower.identity
    assert [extent.kind for extent in image.extents(0, 2 * GRAIN)] == [DATA, ZERO]
    image.close()
    lower.close()


def test_all_read_a_disk_in_several_pieces(tmp_path: Path) -> None:
    size = SPLIT_BYTES + 3 * MIB
    pieces = {0: images.fill(1, GRAIN), SPLIT_BYTES - 4096: images.fill(2, 8192), size - 512: images.fill(3, 512)}
    for subformat in ("twoGbMaxExtentSparse", "twoGbMaxExtentFlat"):
        path = written(tmp_path / subformat, subformat, size, pieces)
        check_by_qemu(path)
        raw = str(tmp_path / f"{subformat}.raw")
        oracles.qemu_img("convert", "-f", "vmdk", "-O", "raw", path, raw)
        with open(raw, "rb") as stream:
            for offset, piece in pieces.items():
                stream.seek(offset)
                assert stream.read(len(piece)) == piece
        assert os.path.getsize(raw) == size
        image = opened(path)
        for offset, piece in pieces.items():
            buffer = bytearray(len(piece))
            image.pread_into(offset, buffer)
            assert buffer == piece
        image.close()
        oracles.compared("qemu-img convert")


def test_qemu_reads_a_stream_of_three_tebibytes(tmp_path: Path) -> None:
    size = 3 * TIB
    pieces = {0: images.fill(1, GRAIN), 2 * TIB + 5 * GRAIN: images.fill(2, GRAIN), size - 512: images.fill(3, 512)}
    path = written(tmp_path, "streamOptimized", size, pieces)
    check_by_qemu(path)
    for offset, piece in pieces.items():
        raw = str(tmp_path / "part.raw")
        oracles.qemu_img(
            "dd",
            "-f",
            "vmdk",
            "-O",
            "raw",
            "bs=512",
            f"skip={offset // 512}",
            f"count={(offset + len(piece)) // 512}",
            f"if={path}",
            f"of={raw}",
        )
        assert Path(raw).read_bytes() == piece
        oracles.compared("qemu-img dd")
    image = opened(path)
    expected = [(0, GRAIN), (2 * TIB + 5 * GRAIN, GRAIN), (size - GRAIN, GRAIN)]
    assert [(e.start, e.length) for e in image.extents(0, size) if e.kind == DATA] == expected
    image.close()


def made_by_qemu(folder: Path, size: int, *options: str, name: str = "q.vmdk", base: Tuple[str, ...] = ()) -> str:
    path = os.path.join(os.path.realpath(str(folder)), name)
    oracles.qemu_img(
        "create", "-q", "-f", "vmdk", *[part for option in options for part in ("-o", option)], *base, path, str(size)
    )
    return path


def qemu_writes(size: int) -> List[str]:
    wanted = [(0, 1024, 1), (MIB, 3 * MIB, 2), (2 * MIB, 64 * KIB, 0), (32 * MIB - 4096, 8192, 3), (size - 512, 512, 4)]
    return [
        f"write -P {byte} {start} {length}" for start, length, byte in wanted if start >= 0 and start + length <= size
    ]


def source_raw(folder: Path, size: int) -> str:
    path = folder / "source.raw"
    path.write_bytes(model_of(size, course(size, 9)))
    return str(path)


@pytest.mark.parametrize("adapter", ["ide", "lsilogic", "buslogic", "legacyESX"])
def test_we_read_the_adapters_of_qemu(tmp_path: Path, adapter: str) -> None:
    path = made_by_qemu(tmp_path, MIB, f"adapter_type={adapter}")
    image = opened(path)
    assert image.properties["adapter_type"] == adapter
    image.close()
    oracles.compared("qemu-img create")


def test_we_read_what_qemu_writes(tmp_path: Path, subformat: str) -> None:
    size = SIZES["odd"]
    raw = source_raw(tmp_path, size)
    path = str(tmp_path / "q.vmdk")
    oracles.qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", raw, path)
    assert read_by_us(path) == Path(raw).read_bytes() == read_by_qemu(path, tmp_path)
    image = opened(path)
    assert (image.size, image.properties["subformat"], image.properties["adapter_type"], image.warnings) == (
        size,
        subformat,
        "ide",
        (),
    )
    assert image.properties["compression"] == ("zlib" if subformat == "streamOptimized" else "none")
    assert image.identity == f"{info_of(path)['format-specific']['data']['cid']:08x}"
    image.close()
    oracles.compared("qemu-img info")


@pytest.mark.parametrize("options", ["zeroed_grain=on", "compat6=on", "hwversion=10"])
def test_we_read_what_qemu_writes_with_options(tmp_path: Path, options: str, size: int) -> None:
    path = made_by_qemu(tmp_path, size, options)
    oracles.qemu_io(path, *qemu_writes(size), format="vmdk")
    if options == "zeroed_grain=on" and size > 2 * MIB:
        oracles.qemu_io(path, "write -z 1M 128k", format="vmdk")
    assert read_by_us(path) == read_by_qemu(path, tmp_path)


@pytest.mark.parametrize("subformat", ["monolithicSparse", "twoGbMaxExtentSparse"], indirect=True)
@pytest.mark.parametrize("zeroed", ["on", "off"])
def test_we_read_the_overlays_of_qemu(tmp_path: Path, subformat: str, zeroed: str) -> None:
    size = 40 * MIB
    base = made_by_qemu(tmp_path, size, f"subformat={subformat}", name="base.vmdk")
    oracles.qemu_io(base, *qemu_writes(size), format="vmdk")
    options = (f"subformat={subformat}", f"zeroed_grain={zeroed}")
    path = made_by_qemu(tmp_path, size, *options, base=("-b", "base.vmdk", "-F", "vmdk"))
    oracles.qemu_io(path, "write -P 9 3M 100k", "write -z 1M 64k", "write -P 8 20M 1M", format="vmdk")
    lower, upper = opened(base), opened(path)
    assert upper.parent is not None
    assert (upper.parent.names, upper.parent.format, upper.parent.identity) == (("base.vmdk",), "vmdk", lower.identity)
    seen = bytearray(size)
    lower.pread_into(0, seen)
    for extent in upper.extents(0, size):
        part = memoryview(seen)[extent.start : extent.end]
        if extent.kind != ABSENT:
            upper.pread_into(extent.start, part)
    kinds = {extent.kind for extent in upper.extents(MIB, 64 * KIB)}
    assert ABSENT not in kinds and (zeroed == "off" or kinds == {ZERO})
    for image in (lower, upper):
        image.close()
    assert seen == read_by_qemu(path, tmp_path)


def test_the_map_of_qemu_is_ours(tmp_path: Path) -> None:
    path = made_by_qemu(tmp_path, 40 * MIB)
    oracles.qemu_io(path, *qemu_writes(40 * MIB), format="vmdk")
    entries = json.loads(oracles.qemu_img("map", "--output=json", "-f", "vmdk", path))
    theirs = joined((entry["start"], entry["length"]) for entry in entries if entry.get("offset") is not None)
    image = opened(path)
    grains = sorted(
        {
            start // GRAIN
            for e in image.extents(0, image.size)
            if e.kind == DATA
            for start in range(e.start, e.end, 4096)
        }
    )
    image.close()
    # What we take for holes of the host file, QEMU takes for data.
    inside = [any(start <= grain * GRAIN < start + length for start, length in theirs) for grain in grains]
    assert all(inside) and sum(length for _start, length in theirs) // GRAIN >= len(grains)
    oracles.compared("qemu-img map")


def joined(parts: Iterator[Tuple[int, int]]) -> List[Tuple[int, int]]:
    found: List[Tuple[int, int]] = []
    for start, length in parts:
        if found and sum(found[-1]) == start:
            found[-1] = (found[-1][0], found[-1][1] + length)
        else:
            found.append((start, length))
    return found


def test_we_read_a_large_sparse_disk_of_qemu(tmp_path: Path) -> None:
    size = 3 * TIB
    path = made_by_qemu(tmp_path, size)
    oracles.qemu_io(
        path, "write -P 1 0 64k", f"write -P 2 {2 * TIB + GRAIN} 64k", f"write -P 3 {size - GRAIN} 64k", format="vmdk"
    )
    image = opened(path)
    assert image.size == size
    data = [(extent.start, extent.length) for extent in image.extents(0, size) if extent.kind == DATA]
    assert data == [(0, GRAIN), (2 * TIB + GRAIN, GRAIN), (size - GRAIN, GRAIN)]
    for byte, (start, length) in enumerate(data, 1):
        buffer = bytearray(length)
        image.pread_into(start, buffer)
        assert buffer == bytes([byte]) * length
    image.close()
    oracles.compared("qemu-io")


@pytest.mark.parametrize("cut", [512, 65536])
def test_what_qemu_made_and_somebody_cut_is_refused(tmp_path: Path, cut: int, subformat: str) -> None:
    raw = source_raw(tmp_path, 40 * MIB)
    path = str(tmp_path / "q.vmdk")
    oracles.qemu_img("convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", raw, path)
    image = opened(path)
    image.close()
    os.truncate(image.files[-1], os.path.getsize(image.files[-1]) - cut)
    if subformat == "streamOptimized" and cut == 512:
        # QEMU leaves zeros behind the last grain, and nobody needs them.
        assert read_by_us(path) == Path(raw).read_bytes()
        return
    with pytest.raises(DiskError):
        read_by_us(path)


def test_all_read_the_snapshots_of_vsphere_as_we_do(tmp_path: Path) -> None:
    size = 20 * MIB
    chance = images.fill(5, 64)
    grains = {number * 37 % 5000: images.fill(number, 4096) for number in range(1, 40)}
    zeroed = {number: 1 + chance[number] % 2 for number in range(0, 30, 7) if number not in grains}
    extent = vmdk_support.sesparse(capacity=size // 512, grains=grains, zeroed=zeroed)
    (tmp_path / "d-sesparse.vmdk").write_bytes(extent.raw)
    (tmp_path / "base-flat.vmdk").write_bytes(b"b" * size)
    lines = [f'RW {size // 512} FLAT "base-flat.vmdk" 0']
    (tmp_path / "base.vmdk").write_bytes(vmdk_support.text("monolithicFlat", lines, cid="0000abcd"))
    text = vmdk_support.text(
        "seSparse", [f'RW {size // 512} SESPARSE "d-sesparse.vmdk"'], parent="0000abcd", hint="base.vmdk"
    )
    path = tmp_path / "d.vmdk"
    path.write_bytes(text)
    model = bytearray(b"b" * size)
    for number in zeroed:
        model[number * 4096 : (number + 1) * 4096] = bytes(4096)
    for number, content in grains.items():
        model[number * 4096 : (number + 1) * 4096] = content
    view = open_source(PORT, find_source(PORT, str(path), backing=True))
    ours = bytearray(size)
    view.pread_into(0, ours)
    view.close()
    assert ours == model
    assert read_by_qemu(str(path), tmp_path) == model

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""qcow2 images of ours read by qemu-img, dissect.hypervisor and libqcow, and images of QEMU read by us."""

from __future__ import annotations

import importlib
import json
import os
import random
from pathlib import Path
from typing import Any, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage, ParentLink
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.reader import Qcow2Image, open_qcow2
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.writer import Qcow2Writer
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.choose_source import choose_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest, SourceRequest
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.oracles import compared, qemu_img, qemu_io, require, run

PORT = OsPort()
IDENTITY = "{11111111-2222-3333-4444-555555555555}"
MIB = 1 << 20
SIZE = 6 * MIB + 512
TEXT = b"".join(b"line %d of a text\n" % number for number in range(100_000))


def library(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed (package {package} of the Python package index)")


def needs_zstd() -> None:
    library("zstandard", "zstandard")


def pieces(size: int = SIZE, *, seed: int = 1) -> List[Tuple[int, bytes]]:
    """Ascending parts of a disk in steps of 4 KiB, some of which pack well and some not at all; gaps between them,
    the last bytes included.
    """
    draw = random.Random(seed)
    found, position = [], 0
    while position < size:
        length = min(size - position, 4096 * draw.choice([1, 2, 5, 16, 64, 70]))
        kind = draw.randrange(3)
        if kind or position + length == size:
            if kind == 1:
                content = TEXT[draw.randrange(9999) :]
            else:
                noise = length - length // 2
                content = images.fill(position, length // 2 + 1, seed) + draw.getrandbits(8 * noise).to_bytes(
                    noise, "big"
                )
            found.append((position, content[:length]))
        position += length
    return found


def write_image(path: str, parts: List[Tuple[int, bytes]], *, size: int = SIZE, **options: Any) -> None:
    file = PORT.create(path)
    writer = Qcow2Writer(file, size_bytes=size, **options)
    for offset, content in parts:
        writer.write(offset, content)
    writer.finish(IDENTITY)
    file.close()


def disk_of(parts: List[Tuple[int, bytes]], size: int = SIZE, below: bytes = b"") -> bytes:
    disk = bytearray(below[:size].ljust(size, b"\0"))
    for offset, content in parts:
        disk[offset : offset + len(content)] = content
    return bytes(disk)


def assert_clean(path: str) -> None:
    require("qemu-img")
    ended = run("qemu-img", "check", "-f", "qcow2", path)
    assert ended.code == 0, f"{path}: rc {ended.code}\n{ended.output}"
    compared("qemu-img check")


def assert_qemu_reads(path: str, expected: bytes) -> None:
    raw = Path(path + ".expected")
    raw.write_bytes(expected)
    assert "identical" in qemu_img("compare", "-f", "qcow2", "-F", "raw", path, str(raw))
    assert os.path.getsize(raw) == json.loads(qemu_img("info", "--output=json", "-f", "qcow2", path))["virtual-size"]
    compared("qemu-img compare")


def read_ours(path: str) -> bytes:
    image = open_qcow2(PORT, path)
    content = read_image(image)
    image.close()
    return content


def read_image(image: Qcow2Image) -> bytes:
    """The whole disk in reads of 256 KiB, and only where the extents say that there is data."""
    content = bytearray(image.size)
    step = 256 << 10
    for extent in image.extents(0, image.size):
        if extent.kind == DATA:
            for start in range(extent.start, extent.end, step):
                image.pread_into(start, memoryview(content)[start : min(start + step, extent.end)])
    whole = bytearray(image.size)
    image.pread_into(0, whole)
    assert whole == content
    return bytes(content)


def read_with_dissect(path: str) -> bytes:
    module = library("dissect.hypervisor.disk.qcow2", "dissect.hypervisor")
    with open(path, "rb") as file:
        disk = module.QCow2(file)
        stream = disk.open() if hasattr(disk, "open") else disk
        content = stream.read(stream.size if hasattr(stream, "size") else -1)
    compared("dissect qcow2")
    return content


def read_with_pyqcow(path: str, parent: Optional[str] = None) -> bytes:
    module = library("pyqcow", "libqcow-python")
    file, below = module.file(), None
    file.open(path)
    if parent is not None:
        below = module.file()
        below.open(parent)
        file.set_parent(below)
    size = file.get_media_size()
    content = b"".join(file.read_buffer_at_offset(min(65536, size - start), start) for start in range(0, size, 65536))
    file.close()
    if below is not None:
        below.close()
    compared("pyqcow")
    return content


@pytest.mark.parametrize("cluster_bytes", [512, 4096, 65536, 2 * MIB])
@pytest.mark.parametrize("version, compression", [(2, "none"), (2, "zlib"), (3, "none"), (3, "zlib"), (3, "zstd")])
def test_qemu_finds_ours_clean_and_reads_the_same(
    tmp_path: Path, version: int, compression: str, cluster_bytes: int
) -> None:
    if compression == "zstd":
        needs_zstd()
    path, parts = str(tmp_path / "disk.qcow2"), pieces()
    write_image(path, parts, version=version, compression=compression, cluster_bytes=cluster_bytes)
    assert_clean(path)
    assert_qemu_reads(path, disk_of(parts))
    assert read_ours(path) == disk_of(parts)
    if compression == "none":
        qemu_img("convert", "-f", "qcow2", "-O", "raw", path, path + ".raw")
        assert Path(path + ".raw").read_bytes() == disk_of(parts)


@pytest.mark.parametrize("version, compression", [(2, "none"), (2, "zlib"), (3, "none"), (3, "zlib"), (3, "zstd")])
def test_dissect_reads_ours(tmp_path: Path, version: int, compression: str) -> None:
    if compression == "zstd":
        needs_zstd()
        if not library("dissect.hypervisor.disk.qcow2", "dissect.hypervisor").HAS_ZSTD:
            pytest.skip("dissect.hypervisor finds no zstd (package backports.zstd of the Python package index)")
    path, parts = str(tmp_path / "disk.qcow2"), pieces(seed=2)
    write_image(path, parts, version=version, compression=compression)
    assert read_with_dissect(path) == disk_of(parts)


@pytest.mark.parametrize("cluster_bytes", [4096, 65536])
@pytest.mark.parametrize("version, compression", [(2, "none"), (2, "zlib"), (3, "none"), (3, "zlib")])
def test_libqcow_reads_ours(tmp_path: Path, version: int, compression: str, cluster_bytes: int) -> None:
    path, parts = str(tmp_path / "disk.qcow2"), pieces(seed=3)
    write_image(path, parts, version=version, compression=compression, cluster_bytes=cluster_bytes)
    assert read_with_pyqcow(path) == disk_of(parts)


def clusters_of(parts: List[Tuple[int, bytes]], cluster: int, size: int) -> List[Tuple[int, bytes]]:
    """The parts made whole clusters, as an overlay needs them."""
    disk = disk_of(parts, size)
    touched = sorted(
        {
            index
            for offset, content in parts
            for index in range(offset // cluster, (offset + len(content) - 1) // cluster + 1)
        }
    )
    return [(index * cluster, disk[index * cluster : (index + 1) * cluster]) for index in touched]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("compression", ["none", "zlib"])
@pytest.mark.parametrize("cluster_bytes", [512, 65536])
def test_a_chain_of_ours_is_read_through_its_backing_files(
    tmp_path: Path, version: int, compression: str, cluster_bytes: int
) -> None:
    base, top = str(tmp_path / "base.qcow2"), str(tmp_path / "top.qcow2")
    lower = pieces(seed=4)
    write_image(base, lower, version=version, compression=compression)
    file = PORT.create(top)
    options = dict(
        version=version,
        compression=compression,
        cluster_bytes=cluster_bytes,
        parent=ParentImage("base.qcow2", IDENTITY),
    )
    writer = Qcow2Writer(file, size_bytes=SIZE, **options)  # type: ignore[arg-type]
    expected = bytearray(disk_of(lower))
    steps = [(65536, 131072, True), (196608, 4 * 65536, False), (3 * MIB, MIB, True), (5 * MIB, MIB + 512, False)]
    for start, length, is_zero in steps:
        content = bytes(length) if is_zero else images.fill(start, length, 9)
        if is_zero:
            writer.write_zeros(start, length)
        else:
            writer.write(start, content)
        expected[start : start + length] = content
    writer.finish(IDENTITY)
    file.close()
    assert_clean(top)
    assert_qemu_reads(top, bytes(expected))
    chain = json.loads(qemu_img("info", "--output=json", "--backing-chain", top))
    assert [os.path.basename(entry["filename"]) for entry in chain] == ["top.qcow2", "base.qcow2"]
    assert chain[0]["backing-filename-format"] == "qcow2"
    assert chain[0]["format-specific"]["data"]["compat"] == {2: "0.10", 3: "1.1"}[version]
    image = open_qcow2(PORT, top)
    shown = [(e.start, e.length) for e in image.extents(0, SIZE) if e.kind == ABSENT]
    assert shown == [(0, 65536), (196608 + 4 * 65536, 3 * MIB - 196608 - 4 * 65536), (4 * MIB, MIB)]
    image.close()
    # libqcow does not know the zero bit of version 3 in an overlay.
    if version == 2:
        assert read_with_pyqcow(top, base) == bytes(expected)


def test_qemu_opens_an_overlay_whose_parent_has_a_colon(tmp_path: Path) -> None:
    base, top = str(tmp_path / "a:b.qcow2"), str(tmp_path / "top.qcow2")
    write_image(base, pieces(seed=5))
    write_image(top, [], parent=ParentImage("a:b.qcow2", IDENTITY))
    assert_clean(top)
    assert_qemu_reads(top, disk_of(pieces(seed=5)))


def test_a_huge_sparse_disk_of_ours_is_clean(tmp_path: Path) -> None:
    path, size = str(tmp_path / "disk.qcow2"), 16 << 40
    places = [0, 5 << 40, size - 4096]
    write_image(path, [(place, TEXT[:4096]) for place in places], size=size, compression="zlib")
    assert_clean(path)
    for place in places:
        qemu_io(path, f"read -P {TEXT[0]} {place} 1", format="qcow2")


def test_qemu_can_write_to_ours(tmp_path: Path) -> None:
    path, parts = str(tmp_path / "disk.qcow2"), pieces(seed=6)
    write_image(path, parts, compression="zlib")
    qemu_io(path, "write -P 0x5a 1M 2M", "write -P 0x11 100K 3K", "write -z 4M 1M", format="qcow2")
    assert_clean(path)
    expected = bytearray(disk_of(parts))
    expected[MIB : 3 * MIB] = b"\x5a" * (2 * MIB)
    expected[100 << 10 : 103 << 10] = b"\x11" * (3 << 10)
    expected[4 * MIB : 5 * MIB] = bytes(MIB)
    assert read_ours(path) == bytes(expected)
    compared("qemu-io")


THEIRS = {
    "usual": [],
    "v2": ["-o", "compat=0.10"],
    "zlib": ["-c"],
    "zlib v2": ["-c", "-o", "compat=0.10"],
    "zstd": ["-c", "-o", "compression_type=zstd"],
    "512": ["-o", "cluster_size=512"],
    "512 zlib": ["-c", "-o", "cluster_size=512"],
    "2M": ["-o", "cluster_size=2M"],
    "2M zlib": ["-c", "-o", "cluster_size=2M"],
    "2M zstd": ["-c", "-o", "cluster_size=2M,compression_type=zstd"],
    "extended": ["-o", "extended_l2=on"],
    "extended 16K": ["-o", "extended_l2=on,cluster_size=16k"],
    "extended zlib": ["-c", "-o", "extended_l2=on"],
    "lazy": ["-o", "lazy_refcounts=on"],
    "refcount 1": ["-o", "refcount_bits=1"],
    "refcount 64": ["-o", "refcount_bits=64"],
    "metadata": ["-o", "preallocation=metadata"],
    "falloc": ["-o", "preallocation=falloc"],
    "full": ["-o", "preallocation=full"],
    "out of order": ["-W"],
}


@pytest.mark.parametrize("name", THEIRS)
def test_we_read_what_qemu_converted(tmp_path: Path, name: str) -> None:
    if "zstd" in name:
        needs_zstd()
    path, raw, expected = str(tmp_path / "disk.qcow2"), str(tmp_path / "disk.raw"), disk_of(pieces(seed=7))
    Path(raw).write_bytes(expected)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *THEIRS[name], raw, path)
    image = open_qcow2(PORT, path)
    assert read_image(image) == expected
    assert image.warnings == () and image.parent is None
    compression = "zstd" if "zstd" in name else "zlib" if "zlib" in name else "none"
    cluster = 512 if "512" in name else 2 * MIB if "2M" in name else 16384 if "16K" in name else 65536
    assert image.properties == {
        "format_version": "2" if "v2" in name else "3",
        "cluster_size": cluster,
        "compression": compression,
    }
    image.close()
    compared("qemu-img convert")


def create(path: str, size: int = SIZE, *options: str) -> None:
    qemu_img("create", "-q", "-f", "qcow2", *options, path, str(size))


@pytest.mark.parametrize(
    "options",
    [(), ("-o", "compat=0.10"), ("-o", "extended_l2=on"), ("-o", "cluster_size=4k")],
    ids=["v3", "v2", "extended", "4k"],
)
def test_we_read_a_chain_of_qemu_layer_by_layer(tmp_path: Path, options: Tuple[str, ...]) -> None:
    base, top = str(tmp_path / "base.qcow2"), str(tmp_path / "top.qcow2")
    create(base, 4 * MIB)
    qemu_io(base, "write -P 0x11 0 4M", format="qcow2")
    create(top, SIZE, "-b", "base.qcow2", "-F", "qcow2", *options)
    qemu_io(
        top,
        "write -P 0x22 100K 10K",
        "write -z 1M 1M",
        "write -P 0x33 3M 256K",
        "write -z 3M 64K",
        "write -P 0x44 5M 4K",
        format="qcow2",
    )
    image = open_qcow2(PORT, top)
    assert image.parent == ParentLink(("base.qcow2",), "qcow2")
    shown = bytearray(image.size)
    image.pread_into(0, shown)
    below = read_ours(base).ljust(SIZE, b"\0")
    absent = 0
    for extent in image.extents(0, image.size):
        if extent.kind == ABSENT:
            shown[extent.start : extent.end] = below[extent.start : extent.end]
            absent += extent.length
    zeros = sum(extent.length for extent in image.extents(MIB, MIB) if extent.kind == ZERO)
    image.close()
    qemu_img("convert", "-f", "qcow2", "-O", "raw", top, str(tmp_path / "top.raw"))
    assert bytes(shown) == (tmp_path / "top.raw").read_bytes()
    assert absent > 2 * MIB
    assert zeros == MIB or "compat=0.10" in options
    compared("qemu-img convert")


def test_internal_snapshots_are_left_out_and_named(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.qcow2")
    create(path)
    qemu_io(path, "write -P 0x11 0 1M", "write -P 0x22 2M 1M", format="qcow2")
    qemu_img("snapshot", "-c", "one", path)
    qemu_io(path, "write -P 0x33 512K 1M", format="qcow2")
    qemu_img("snapshot", "-c", "two", path)
    qemu_io(path, "write -P 0x44 2560K 64K", format="qcow2")
    image = open_qcow2(PORT, path)
    content = read_image(image)
    assert len(image.warnings) == 1 and "2" in image.warnings[0]
    image.close()
    qemu_img("convert", "-f", "qcow2", "-O", "raw", path, path + ".raw")
    assert content == Path(path + ".raw").read_bytes()
    assert content[2560 << 10] == 0x44 and content[600 << 10] == 0x33 and content[0] == 0x11
    for name in ("one", "two", "1"):
        image = open_qcow2(PORT, path, name)
        held = read_image(image)
        image.close()
        which = "snapshot.id" if name.isdigit() else "snapshot.name"
        qemu_img("convert", "-f", "qcow2", "-l", f"{which}={name}", "-O", "raw", path, f"{path}.{name}")
        assert held == Path(f"{path}.{name}").read_bytes()
    compared("qemu-img convert", 4)


@pytest.mark.parametrize("is_packed", [False, True])
def test_internal_snapshots_become_layers_that_qemu_reads_alike(tmp_path: Path, is_packed: bool) -> None:
    path, draw = str(tmp_path / "disk.qcow2"), random.Random(is_packed)
    create(path)
    for number, name in enumerate(["one", "two", "three"]):
        for _index in range(6):
            start = draw.randrange(SIZE // 65536 - 8) * 64
            kind = draw.choice([f"-P {draw.randrange(1, 255)}", "-z"])
            qemu_io(path, f"write {kind} {start}K {draw.choice([4, 64, 192])}K", format="qcow2")
        if is_packed:
            qemu_io(path, f"write -c -P 7 {(SIZE >> 10) - 64 * (number + 1)}K 64K", format="qcow2")
        if number == 1:
            qemu_img("snapshot", "-a", "one", path)
            qemu_io(path, "write -P 9 0 64K", format="qcow2")
        qemu_img("snapshot", "-c", name, path)
    qemu_io(path, "write -P 99 128K 64K", format="qcow2")
    source = choose_source(PORT, SourceRequest(path, keeps_layers=True))
    wanted = ConvertRequest("qcow2", str(tmp_path / "out.qcow2"), keeps_layers=True)
    plan = plan_convert(PORT, source, wanted, token="t")
    execute(PORT, plan)
    assert len(plan.facts.files) == 4 and not plan.warnings
    for name, layer in zip(["", "three", "two", "one"], plan.facts.files):
        which = ["-l", f"snapshot.name={name}"] if name else []
        qemu_img("convert", "-f", "qcow2", *which, "-O", "raw", path, path + ".raw")
        qemu_img("compare", "-f", "raw", "-F", "qcow2", path + ".raw", layer)
    compared("qemu-img compare", 4)


def test_an_image_that_was_not_closed_reads_and_says_so(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.qcow2")
    create(path, SIZE, "-o", "lazy_refcounts=on")
    require("qemu-io")
    # qemu-io ends as if it had been killed.
    run("qemu-io", "-f", "qcow2", "-c", "write -P 0x77 1M 1M", "-c", "flush", "-c", "abort", path)
    image = open_qcow2(PORT, path)
    assert len(image.warnings) == 1
    assert read_image(image) == bytes(MIB) + b"\x77" * MIB + bytes(SIZE - 2 * MIB)
    image.close()
    compared("qemu-io")


def test_bitmaps_are_left_out_and_named(tmp_path: Path) -> None:
    path = str(tmp_path / "disk.qcow2")
    create(path)
    qemu_img("bitmap", "--add", path, "changes")
    qemu_io(path, "write -P 0x11 0 1M", format="qcow2")
    image = open_qcow2(PORT, path)
    assert len(image.warnings) == 1 and "bitmap" in image.warnings[0]
    assert read_image(image)[:MIB] == b"\x11" * MIB
    image.close()
    compared("qemu-img bitmap")


@pytest.mark.parametrize("size", [0, 512, 65536 + 512, 1 << 50])
def test_we_open_empty_disks_of_any_size(tmp_path: Path, size: int) -> None:
    path = str(tmp_path / "disk.qcow2")
    create(path, size)
    image = open_qcow2(PORT, path)
    assert image.size == size
    assert [extent.kind for extent in image.extents(0, size)] == ([ZERO] if size else [])
    image.close()
    compared("qemu-img create")

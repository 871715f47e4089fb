# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Expanding images against qemu-img, qemu-io and a sample made by Parallels Desktop."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import open_hds
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.writer import HdsWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images

PORT = OsPort()
ROOT = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("VDISK_SAMPLES") or ROOT.parent / "shared" / "samples")
DESKTOP = SAMPLES / "desktop17-expanding.hdd" / "expanding.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds.gz"

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
needs_qemu_io = pytest.mark.skipif(
    shutil.which("qemu-io") is None or shutil.which("qemu-img") is None, reason="qemu-io is not installed"
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )


def raw_bytes_by_qemu(path: str) -> bytes:
    target = path + ".raw"
    result = run("qemu-img", "convert", "-f", "parallels", "-O", "raw", path, target)
    assert result.returncode == 0, result.stdout
    return Path(target).read_bytes()


def assert_clean(path: str) -> None:
    result = run("qemu-img", "check", "-f", "parallels", path)
    assert result.returncode == 0, result.stdout


def guest_bytes(path: str) -> bytes:
    image = open_hds(PORT, path)
    content = bytearray(image.size)
    image.pread_into(0, content)
    image.close()
    return bytes(content)


def some_clusters(cluster_bytes: int, count: int) -> Dict[int, bytes]:
    draw = random.Random(count)
    return {index: images.fill(index, cluster_bytes) for index in range(count) if draw.random() < 0.4}


@needs_qemu
@pytest.mark.parametrize("cluster_sectors", [63, 128, 504, 2048])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", [10_000_000, 12 * MIB])
def test_qemu_finds_our_images_clean_and_reads_the_same_bytes(
    tmp_path: Path, version: int, cluster_sectors: int, size: int
) -> None:
    path = str(tmp_path / "disk.hds")
    cluster_bytes = cluster_sectors * 512
    writer = HdsWriter(PORT.create(path), size_bytes=size, cluster_bytes=cluster_bytes, version=version)
    sectors = -(-size // 512)
    clusters = some_clusters(cluster_bytes, -(-sectors // cluster_sectors))
    assert clusters
    for index, content in clusters.items():
        writer.write(index * cluster_bytes, content[: sectors * 512 - index * cluster_bytes])
    writer.finish()
    writer.file.close()
    assert_clean(path)
    expected = images.guest_bytes(size_sectors=sectors, cluster_sectors=cluster_sectors, clusters=clusters)
    assert raw_bytes_by_qemu(path) == expected
    assert guest_bytes(path) == expected


@needs_qemu
@pytest.mark.parametrize("version", [1, 2])
def test_qemu_reads_shuffled_images_of_the_builder_as_we_do(tmp_path: Path, version: int) -> None:
    path = str(tmp_path / "disk.hds")
    clusters = some_clusters(63 * 512, 150)
    order = random.Random(7).sample(sorted(clusters), len(clusters))
    images.build_hds(
        path,
        size_sectors=150 * 63 - 10,
        cluster_sectors=63,
        clusters=clusters,
        order=order,
        gaps=(0, 3, 9),
        version=version,
    )
    ours = guest_bytes(path)
    assert ours == images.guest_bytes(size_sectors=150 * 63 - 10, cluster_sectors=63, clusters=clusters)
    assert raw_bytes_by_qemu(path) == ours


@needs_qemu_io
@pytest.mark.parametrize("cluster", ["32K", "64K", "1M"])
@pytest.mark.parametrize("size", [10_000_000, 64 * MIB])
def test_we_read_what_qemu_wrote(tmp_path: Path, size: int, cluster: str) -> None:
    path = str(tmp_path / "disk.hds")
    created = run("qemu-img", "create", "-f", "parallels", "-o", f"cluster_size={cluster}", path, str(size))
    assert created.returncode == 0, created.stdout
    assert set(guest_bytes(path)) == {0}
    writes = [
        "write -P 0x5a 9M 400K",
        "write -P 0x11 1M 64K",
        "write -P 0x22 1100K 3M",
        "write -P 0x33 0 512",
        "write -P 0x44 9760K 1K",
    ]
    commands = [part for write in writes for part in ("-c", write)]
    result = run("qemu-io", "-f", "parallels", *commands, path)
    assert result.returncode == 0, result.stdout
    image = open_hds(PORT, path)
    assert (image.header.version, image.size, image.header.is_dirty) == (2, -(-size // 512) * 512, False)
    assert image.table.clusters_used > 0
    one = bytearray(64 * KIB)
    image.pread_into(MIB, one)
    assert one == b"\x11" * (64 * KIB)
    image.close()
    assert guest_bytes(path) == raw_bytes_by_qemu(path)


@pytest.mark.skipif(
    not DESKTOP.exists(), reason=f"no sample of Parallels Desktop in {SAMPLES}; VDISK_SAMPLES may name its folder"
)
def test_we_read_what_parallels_desktop_wrote(tmp_path: Path) -> None:
    path = tmp_path / "disk.hds"
    with gzip.open(str(DESKTOP), "rb") as source, open(path, "wb") as target:
        shutil.copyfileobj(source, target)
    image = open_hds(PORT, str(path))
    assert (image.header.version, image.size, image.header.cluster_bytes, image.header.is_dirty) == (
        1,
        100 * MIB,
        MIB,
        False,
    )
    assert image.table.clusters_used == 99
    buffer = bytearray(MIB)
    for index in range(100):
        image.pread_into(index * MIB, buffer)
        assert buffer == bytes([index]) * MIB
    image.close()

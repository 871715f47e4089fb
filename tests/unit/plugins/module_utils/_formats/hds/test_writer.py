# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import new_header
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import open_hds
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.writer import HdsWriter, measure_hds
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.writers import Recorder, ascending_writes

PORT = OsPort()


def new_writer(path: str, *, size_bytes: int, cluster_bytes: int = MIB, version: int = 1) -> HdsWriter:
    return HdsWriter(PORT.create(path), size_bytes=size_bytes, cluster_bytes=cluster_bytes, version=version)


@given(ascending_writes([512, 63 * 512, 4096]), st.sampled_from([1, 2]))
def test_what_is_written_is_read_and_the_rest_is_zero(
    tmp_path_factory: pytest.TempPathFactory, plan: Tuple[int, int, List[Tuple[int, bytes]]], version: int
) -> None:
    size, cluster_bytes, pieces = plan
    path = str(tmp_path_factory.mktemp("image") / "disk.hds")
    writer = new_writer(path, size_bytes=size, cluster_bytes=cluster_bytes, version=version)
    model = bytearray(-(-size // 512) * 512)
    touched = set()
    for offset, piece in pieces:
        writer.write(offset, piece)
        model[offset : offset + len(piece)] = piece
        if piece:
            touched.update(range(offset // cluster_bytes, (offset + len(piece) - 1) // cluster_bytes + 1))
    writer.finish()
    writer.file.close()
    image = open_hds(PORT, path)
    content = bytearray(image.size)
    image.pread_into(0, content)
    allocated = {cluster for run in image.table.runs() for cluster in range(run.cluster, run.cluster + run.count)}
    offsets = [run.offset for run in image.table.runs()]
    image.close()
    assert content == model
    assert allocated == touched
    assert offsets == sorted(offsets)
    assert os.path.getsize(path) == measure_hds(
        size_bytes=size, cluster_bytes=cluster_bytes, version=version, allocated_clusters=len(touched)
    )


@pytest.mark.parametrize("version", [1, 2])
def test_an_empty_image_is_its_header_area(tmp_path: Path, version: int) -> None:
    path = tmp_path / "disk.hds"
    writer = new_writer(str(path), size_bytes=64 * MIB, version=version)
    writer.finish()
    writer.file.close()
    independent = images.pack_hds_header(size_sectors=131072, bat_entries=64, version=version, data_off=2048)
    assert path.read_bytes() == independent.ljust(MIB, b"\0")


def test_an_image_is_byte_for_byte_what_the_independent_builder_makes(tmp_path: Path) -> None:
    contents = {1: images.fill(1, MIB), 2: images.fill(2, MIB), 7: images.fill(7, MIB)}
    writer = new_writer(str(tmp_path / "ours.hds"), size_bytes=10_000_000, version=2)
    for cluster, content in contents.items():
        writer.write(cluster * MIB, content)
    writer.finish()
    writer.file.close()
    images.build_hds(tmp_path / "theirs.hds", size_sectors=19532, clusters=contents, version=2)
    assert (tmp_path / "ours.hds").read_bytes() == (tmp_path / "theirs.hds").read_bytes()


def test_data_ascends_and_the_header_comes_last() -> None:
    file = Recorder()
    writer = HdsWriter(file, size_bytes=100 * MIB, cluster_bytes=MIB, version=1)  # type: ignore[arg-type]
    for offset in (5, MIB - 1, 7 * MIB, 7 * MIB + 4096, 40 * MIB):
        writer.write(offset, b"12")
    writer.write(41 * MIB - 1, memoryview(bytes(3 * MIB)))
    writer.finish()
    expected = [(MIB + 5, 2), (2 * MIB - 1, 2), (3 * MIB, 2), (3 * MIB + 4096, 2), (4 * MIB, 2), (5 * MIB - 1, 3 * MIB)]
    assert file.calls[:6] == [("write", offset, length) for offset, length in expected]
    assert file.calls[6:] == [("truncate", 8 * MIB, 0), ("write", 64, 400), ("write", 0, 64)]


def test_the_table_of_a_huge_sparse_disk_costs_what_is_allocated() -> None:
    file = Recorder()
    writer = HdsWriter(file, size_bytes=1 << 44, cluster_bytes=MIB, version=2)  # type: ignore[arg-type]
    for cluster in (3, 1 << 20, (1 << 24) - 1):
        writer.write(cluster * MIB, b"x")
    writer.finish()
    assert sum(length for kind, _offset, length in file.calls if kind == "write") < 1 << 20


@pytest.mark.parametrize("cluster_bytes", [63 * 512, 504 * 512, MIB])
@pytest.mark.parametrize("version", [1, 2])
def test_measured_length_counts_header_area_and_clusters(cluster_bytes: int, version: int) -> None:
    header = new_header(size_bytes=1 << 32, cluster_bytes=cluster_bytes, version=version)
    measured = measure_hds(size_bytes=1 << 32, cluster_bytes=cluster_bytes, version=version, allocated_clusters=5)
    assert measured == header.data_start + 5 * cluster_bytes
    with pytest.raises(BadRequest):
        measure_hds(size_bytes=0, cluster_bytes=cluster_bytes, version=version, allocated_clusters=0)

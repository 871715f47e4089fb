# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._change.new_image import (
    empty_image_steps,
    reserved_table_steps,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan, WriteBytes
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import new_header
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import open_hds
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

CLUSTER = disks.SMALL_CLUSTER
PATH = "/vm/a.hds"


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    return port


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("preallocate", [False, True])
def test_an_expanding_image_opens_and_reads_as_zeros(port: MemoryPort, version: int, preallocate: bool) -> None:
    shape = Shape(3 * CLUSTER, cluster_bytes=CLUSTER, version=version, preallocate=preallocate)
    execute(port, Plan("x", tuple(empty_image_steps(PATH, shape, 3 * CLUSTER))))
    image = open_hds(port, PATH)
    buffer = bytearray(b"x" * image.size)
    image.pread_into(0, buffer)
    assert (image.size, bytes(buffer), image.header.version) == (3 * CLUSTER, bytes(3 * CLUSTER), version)
    assert image.table.clusters_used == (3 if preallocate else 0)
    image.close()
    assert port.stat(PATH).size == image.header.data_start + (3 * CLUSTER if preallocate else 0)


def test_a_plain_image_is_as_long_as_its_part(port: MemoryPort) -> None:
    execute(port, Plan("x", tuple(empty_image_steps(PATH, Shape(9 * CLUSTER, "plain"), 4 * CLUSTER))))
    assert port.content(PATH) == bytes(4 * CLUSTER)


def test_an_image_takes_mode_and_owner_of_its_model(port: MemoryPort) -> None:
    port.plant_file("/vm/model", b"x", mode=0o640)
    execute(port, Plan("x", tuple(empty_image_steps(PATH, Shape(CLUSTER, "plain"), CLUSTER, like="/vm/model"))))
    assert port.stat(PATH).mode & 0o777 == 0o640


def test_a_large_reserved_table_is_written_in_pieces() -> None:
    header = new_header(size_bytes=600_000 * CLUSTER, cluster_bytes=CLUSTER, version=2)
    steps = list(reserved_table_steps(PATH, header))
    assert len(steps) == 3 and all(isinstance(step, WriteBytes) for step in steps)
    assert sum(len(step.content) for step in steps) == 4 * 600_000
    assert steps[0].offset == 64 and steps[1].offset == 64 + len(steps[0].content)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warnings of outputs that are written all the same."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH, RAW, DEST = "/vm/a.hdd", "/vm/a.raw", "/vm/b.hdd"
CLUSTER = disks.SMALL_CLUSTER
ONE = guid_of(1)
SIZE = 8 * CLUSTER


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers(PATH, ONE)


def test_a_raw_image_of_odd_length_is_filled_up_to_a_sector_with_a_warning(port: MemoryPort) -> None:
    port.plant_file(RAW, b"x" * 1000)
    plan = disks.convert(port, RAW, DEST)
    assert disks.read_naively(port, DEST) == b"x" * 1000 + bytes(24)
    assert [RAW in text for text in plan.warnings] == [True]


def test_a_disk_that_keeps_its_size_needs_no_warning(port: MemoryPort) -> None:
    assert disks.convert(port, PATH, DEST).warnings == ()


def test_a_disk_that_grows_is_told_what_that_means_for_its_partition_table(port: MemoryPort) -> None:
    (warning,) = disks.convert(port, PATH, DEST, align=1 << 20).warnings
    assert f"from {SIZE} to {1 << 20} bytes" in warning and "no GUID partition table" in warning

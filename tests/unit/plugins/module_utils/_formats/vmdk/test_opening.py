# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, Unsupported
from ansible_collections.vdisk.parallels.tests.support import images, vmdk_files
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.vmdk.test_sparse import (
    GRAIN,
    content_of,
    opened,
    two_grains,
)


@pytest.mark.parametrize(
    "value", ["header", "descriptor", "directory", "other-table", "half-a-table", "end", "across-end", "far"]
)
@pytest.mark.parametrize("redundant", [False, True], ids=["one", "two"])
def test_a_bad_directory_is_damaged_or_replaced(tmp_path: Path, value: str, redundant: bool) -> None:
    built = two_grains()
    sectors = len(built.raw) // 512
    other = built.tables[1] // 512
    places = {
        "header": 1,
        "descriptor": 20,
        "directory": built.directory // 512,
        "other-table": other,
        "half-a-table": other + 3,
    }
    places.update({"end": sectors, "across-end": sectors - 3, "far": 0xFFFFFFFF})
    struct.pack_into("<I", built.raw, built.directory, places[value])
    if redundant:
        extent = opened(tmp_path / "d.vmdk", built.raw)
        assert content_of(extent)[: 2 * GRAIN] == images.fill(0, GRAIN) + images.fill(1, GRAIN)
        assert len(extent.warnings) == 1 and "redundant" in extent.warnings[0]
        extent.file.close()
        return
    vmdk_files.put(built.raw, "flags", 1)
    with pytest.raises(Damaged) as caught:
        opened(tmp_path / "d.vmdk", built.raw)
    assert caught.value.offset in (built.directory, built.directory + 4)


@pytest.mark.parametrize("sector", [0, 1, 20, 1 << 20, 1 << 40, (1 << 63) - 1, (1 << 64) - 2])
def test_a_directory_that_lies_elsewhere_is_damaged(tmp_path: Path, sector: int) -> None:
    built = two_grains()
    vmdk_files.put(built.raw, "gd", sector)
    vmdk_files.put(built.raw, "flags", 1)
    with pytest.raises(Damaged):
        opened(tmp_path / "d.vmdk", built.raw)


def test_both_directories_bad_is_damaged(tmp_path: Path) -> None:
    built = two_grains()
    vmdk_files.put(built.raw, "gd", 1 << 40)
    vmdk_files.put(built.raw, "rgd", 1 << 41)
    with pytest.raises(Damaged):
        opened(tmp_path / "d.vmdk", built.raw)


def test_an_unclean_extent_opens_with_a_warning(tmp_path: Path) -> None:
    built = two_grains()
    vmdk_files.put(built.raw, "unclean", 1)
    extent = opened(tmp_path / "d.vmdk", built.raw)
    assert len(extent.warnings) == 1 and "d.vmdk" in extent.warnings[0]
    extent.file.close()


@pytest.mark.parametrize("capacity", [1 << 44, (1 << 25) + 1 << 11])
def test_more_tables_than_a_disk_may_have_are_unsupported(tmp_path: Path, capacity: int) -> None:
    built = vmdk_files.sparse(capacity=100, grains={}, grain=8)
    vmdk_files.put(built.raw, "capacity", capacity)
    with pytest.raises(Unsupported):
        opened(tmp_path / "d.vmdk", built.raw)

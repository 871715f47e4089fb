# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changing the name of a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Dirty,
    DiskError,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.rename import plan_rename
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.images import build_hds
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    disks.new_disk(port, PATH)
    return port


@pytest.mark.parametrize("name", ["other", "with space", "<&>\"'", "München", "日本", " x "])
def test_a_name_is_changed_in_the_descriptor_alone(port: MemoryPort, name: str) -> None:
    before = port.listing()
    plan = plan_rename(disks.state_of(port, PATH), name)
    predicted = disks.facts_of(port, plan.facts.after)
    disks.apply(port, plan)
    assert disks.facts_of(port, disks.state_of(port, PATH)) == predicted
    assert predicted["name"] == name
    after = port.listing()
    assert [path for path in after if after[path] != before.get(path)] == [f"{PATH}/DiskDescriptor.xml"]
    assert plan_rename(disks.state_of(port, PATH), name).is_empty


@pytest.mark.parametrize("name", [None, "a"])
def test_the_same_name_or_none_is_nothing_to_do(port: MemoryPort, name: str) -> None:
    assert plan_rename(disks.state_of(port, PATH), name).is_empty


@pytest.mark.parametrize("name", ["\0", "a\x01b", "\ud800"])
def test_a_name_that_no_document_can_hold_is_an_error_of_ours(port: MemoryPort, name: str) -> None:
    before = port.listing()
    with pytest.raises((BadRequest, DiskError)):
        plan_rename(disks.state_of(port, PATH), name)
    assert port.listing() == before


def test_a_dirty_disk_and_a_single_file_are_refused(port: MemoryPort, tmp_path: Path) -> None:
    disks.marked_in_use(port, PATH)
    with pytest.raises(Dirty):
        plan_rename(disks.state_of(port, PATH), "other")
    assert not plan_rename(disks.state_of(port, PATH), "other", force=True).is_empty
    build_hds(str(tmp_path / "old.hdd"), size_sectors=64, clusters={}, cluster_sectors=64)
    with pytest.raises(Unsupported):
        plan_rename(disks.state_of(OsPort(), str(tmp_path / "old.hdd")), "other")

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.pvm import VmFacts, VmReport
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, HasSnapshots, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.next_change import (
    AllChanges,
    Position,
    Reshaping,
    machine_warnings,
    plan_all_changes,
    plan_next_change,
)
from ansible_collections.vdisk.parallels.tests.crash.scenes import CLUSTER, line, plant, tree
from ansible_collections.vdisk.parallels.tests.support import disks, gpt
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
NO_MACHINE = VmReport()
MIB = 1 << 20


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    return port


def task(port: MemoryPort, report: VmReport = NO_MACHINE, *, predict: bool = True, **fields: Any) -> Reshaping:
    return Reshaping(port, report, disks.reshape_request(**fields), predict)


def changes(port: MemoryPort, **fields: Any) -> AllChanges:
    return plan_all_changes(task(port, **fields), disks.state_of(port, PATH))


def operations(port: MemoryPort, **fields: Any) -> List[str]:
    """The operations that are planned, after they were carried out one by one and came to the same end."""
    planned = changes(port, **fields)
    state = disks.state_of(port, PATH)
    position = Position(state, state)
    done = []
    while True:
        plan = plan_next_change(task(port, predict=False, **fields), position)
        if plan.is_empty:
            break
        disks.apply(port, plan)
        done.append(plan.operation)
        state = disks.state_of(port, PATH)
        position = Position(state, state, position.done | {plan.operation})
    assert [plan.operation for plan in planned.plans] == done
    if planned.plans:
        assert disks.facts_of(port, planned.plans[-1].facts.after) == disks.facts_of(port, state)
    assert changes(port, **fields).plans == ()
    return done


def test_a_disk_that_is_as_asked_for_needs_nothing(port: MemoryPort) -> None:
    plant(port, PATH, line("AB.C"))
    size = disks.state_of(port, PATH).descriptor.size_bytes
    assert operations(port) == operations(port, size=size, kind="expanding", version=1) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"name": "other"}, ["rename"]),
        ({"size": 9 * CLUSTER}, ["grow"]),
        ({"size": 2 * CLUSTER, "shrink": True, "force": True}, ["shrink"]),
        ({"kind": "plain"}, ["retype"]),
        ({"version": 2}, ["retype"]),
        ({"kind": "plain", "size": 9 * CLUSTER, "name": "other"}, ["rename", "retype"]),
        ({"kind": "plain", "size": 2 * CLUSTER, "shrink": True, "force": True}, ["retype", "shrink"]),
    ],
    ids=str,
)
def test_each_wish_becomes_its_changes_in_a_safe_order(port: MemoryPort, fields: Any, expected: List[str]) -> None:
    plant(port, PATH, line("AB.C"))
    assert operations(port, **fields) == expected


def test_snapshots_are_merged_before_a_disk_grows(port: MemoryPort) -> None:
    plant(port, PATH, line("AB.C", ".D..", "..E."))
    with pytest.raises(HasSnapshots):
        changes(port, size=9 * CLUSTER)
    assert operations(port, size=9 * CLUSTER, snapshots="merge") == ["merge", "grow"]


def test_with_top_only_the_current_state_alone_grows(port: MemoryPort) -> None:
    plant(port, PATH, line("AB.C", ".D.."))
    assert operations(port, size=9 * CLUSTER, snapshots="top_only") == ["grow"]
    with pytest.raises(BadRequest, match="top_only"):
        changes(port, kind="plain", snapshots="top_only")


def test_branches_are_never_lost_by_a_change_of_size(port: MemoryPort) -> None:
    plant(port, PATH, tree("base - AB.C", "side base .D..", "top base ..E."))
    with pytest.raises(HasSnapshots, match="branch off"):
        changes(port, size=9 * CLUSTER, snapshots="merge", force=True)


def test_a_smaller_size_is_asked_for_twice(port: MemoryPort) -> None:
    plant(port, PATH, line("AB.C"))
    with pytest.raises(BadRequest, match="shrink: true"):
        changes(port, size=2 * CLUSTER)
    with pytest.raises(BadRequest, match="cut off data"):
        changes(port, size=2 * CLUSTER, shrink=True)
    with pytest.raises(BadRequest):
        changes(port, size=0, shrink=True, force=True)


def test_the_cluster_size_is_fixed(port: MemoryPort) -> None:
    plant(port, PATH, line("AB.C"))
    with pytest.raises(Unsupported) as caught:
        changes(port, cluster=2 * CLUSTER)
    assert (caught.value.expected, caught.value.found) == (2 * CLUSTER, CLUSTER)


def test_a_partition_table_that_loses_its_backup_is_told_or_fixed(port: MemoryPort) -> None:
    plant(port, PATH, line("......"))
    size = disks.state_of(port, PATH).descriptor.size_bytes
    blank = disks.read(port, PATH)
    table = gpt.with_gpt(blank, [(10, 20)], entries=4)
    for offset in range(0, size, 512):
        if table[offset : offset + 512] != blank[offset : offset + 512]:
            disks.write(port, PATH, offset, table[offset : offset + 512])
    (note,) = changes(port, size=9 * CLUSTER).notes
    assert "partition_table: fix" in note
    assert changes(port, size=9 * CLUSTER, partition_table="fix").notes == ()
    assert operations(port, size=9 * CLUSTER, partition_table="fix") == ["grow", "partition table"]


@pytest.mark.parametrize(("mib", "told"), [(None, False), (4, False), (5, True)])
def test_a_machine_that_says_another_size_is_told(port: MemoryPort, mib: Any, told: bool) -> None:
    disks.new_disk(port, PATH, size=4 * MIB)
    report = VmReport(VmFacts("vm", None, "/vm/config.pvs", 0, mib, None, False, {}))
    warnings = machine_warnings(report, disks.state_of(port, PATH))
    assert bool(warnings) == told and all("5 MiB" in warning and "4 MiB" in warning for warning in warnings)
    assert machine_warnings(VmReport(), disks.state_of(port, PATH)) == ()

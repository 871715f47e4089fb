# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.pvm import VmFacts, VmReport, VmSnapshot
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    HasSnapshots,
    NoSuchSnapshot,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.names import wanted_guid
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.snapshot_request import (
    ABSENT,
    PRESENT,
    REVERTED,
    SnapshotRequest,
    plan_snapshot,
    refuse_odd_name,
)
from ansible_collections.vdisk.parallels.tests.crash.scenes import line, plant
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
NO_MACHINE = VmReport()
DRAWING = line("AB..", ".C..", "..D.")
BASE, S1 = DRAWING.guid("base"), DRAWING.guid("s1")


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    plant(port, PATH, DRAWING)
    return port


def machine(guid: str) -> VmReport:
    listed = {guid: VmSnapshot("of the machine", "poweroff", False, "")}
    return VmReport(VmFacts("vm", None, "/vm/config.pvs", 0, None, None, False, listed))


def plan_of(port: MemoryPort, state: str, wanted: str, report: VmReport = NO_MACHINE, **fields: Any) -> Plan[Any]:
    return plan_snapshot(port, disks.state_of(port, PATH), report, SnapshotRequest(state, wanted, **fields))


def test_a_name_becomes_the_guid_that_it_always_becomes(port: MemoryPort) -> None:
    plan = plan_of(port, PRESENT, "before")
    assert plan.operation == "snapshot"
    assert plan.facts.snapshot == wanted_guid(disks.state_of(port, PATH), "before", {})
    disks.apply(port, plan)
    assert plan_of(port, PRESENT, "before").is_empty


def test_a_guid_is_taken_as_it_is(port: MemoryPort) -> None:
    assert plan_of(port, PRESENT, guid_of(9), is_guid=True).facts.snapshot == guid_of(9)


def test_the_facts_of_every_state_name_the_snapshot_and_the_disk_after_it(port: MemoryPort) -> None:
    for state in (PRESENT, REVERTED, ABSENT):
        plan = plan_of(port, state, S1, is_guid=True)
        assert plan.facts.snapshot == S1 and plan.facts.after is not None
    gone = plan_of(port, ABSENT, S1, is_guid=True)
    assert S1 not in gone.facts.after.tree.shots and gone.commit is not None


def test_a_name_of_the_machine_that_the_disk_does_not_have_is_not_taken(port: MemoryPort) -> None:
    with pytest.raises(NoSuchSnapshot) as caught:
        plan_of(port, PRESENT, "of the machine", machine(guid_of(9)))
    assert caught.value.found == guid_of(9)
    assert plan_of(port, PRESENT, guid_of(9), machine(guid_of(9)), is_guid=True).facts.snapshot == guid_of(9)


def test_one_that_is_not_there_cannot_be_gone_back_to_but_may_be_absent(port: MemoryPort) -> None:
    with pytest.raises(NoSuchSnapshot):
        plan_of(port, REVERTED, "never taken")
    assert plan_of(port, ABSENT, "never taken").is_empty


def test_a_snapshot_of_the_machine_is_deleted_only_with_force(port: MemoryPort) -> None:
    with pytest.raises(HasSnapshots):
        plan_of(port, ABSENT, S1, machine(S1), is_guid=True)
    assert not plan_of(port, ABSENT, S1, machine(S1), is_guid=True, force=True).is_empty


@pytest.mark.parametrize(("wanted", "is_guid"), [("", False), ("  ", False), ("{12}", True), ("name", True)])
def test_what_cannot_be_a_name_or_a_guid_is_refused(wanted: str, is_guid: bool) -> None:
    with pytest.raises(BadRequest):
        refuse_odd_name(SnapshotRequest(PRESENT, wanted, is_guid))
    refuse_odd_name(SnapshotRequest(PRESENT, guid_of(1), True))

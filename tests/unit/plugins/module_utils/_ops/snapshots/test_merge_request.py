# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.pvm import VmFacts, VmReport, VmSnapshot
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, HasSnapshots
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge_request import (
    MergeRequest,
    plan_requested_merge,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.names import wanted_guid
from ansible_collections.vdisk.parallels.tests.crash.scenes import line, plant
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
DRAWING = line("AB..", ".C..", "..D.", "...E")
BASE, S1, S2 = (DRAWING.guid(name) for name in ("base", "s1", "s2"))


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    plant(port, PATH, DRAWING)
    return port


def machine(*needed: str, known: bool = True) -> VmReport:
    listed = {guid: VmSnapshot(f"named {number}", "poweroff", False, "") for number, guid in enumerate(needed)}
    return VmReport(VmFacts("vm", None, "/vm/config.pvs", 0, None, None, False, listed, known))


def merged(port: MemoryPort, report: VmReport, **fields: Any) -> List[str]:
    plan = plan_requested_merge(port, disks.state_of(port, PATH), report, MergeRequest(**fields))
    return sorted(plan.facts.merged)


def test_without_more_all_snapshots_go(port: MemoryPort) -> None:
    assert merged(port, VmReport()) == sorted([BASE, S1, S2])
    assert merged(port, VmReport(), max_layers=4) == []
    assert merged(port, VmReport(), max_layers=3) == [BASE]


def test_named_ones_alone_go_and_unknown_names_are_reported(port: MemoryPort) -> None:
    request = MergeRequest(snapshots=(S1, "never taken"))
    plan = plan_requested_merge(port, disks.state_of(port, PATH), VmReport(), request)
    assert plan.facts.merged == (S1,) and plan.facts.unknown == ("never taken",)


def test_names_of_the_machine_are_understood(port: MemoryPort) -> None:
    assert merged(port, machine(S2), snapshots=("named 0",), force=True) == [S2]


def test_snapshots_of_the_machine_stay_unless_forced(port: MemoryPort) -> None:
    with pytest.raises(HasSnapshots) as caught:
        merged(port, machine(S1))
    assert caught.value.found == S1
    assert merged(port, machine(S1), force=True) == sorted([BASE, S1, S2])


def test_orphans_are_what_the_machine_does_not_list(port: MemoryPort) -> None:
    assert merged(port, machine(S1), orphans=True) == sorted([BASE, S2])
    assert merged(port, machine(S1), orphans=True, snapshots=(S1, S2)) == [S2]


def test_where_the_list_cannot_be_read_force_helps_but_not_for_orphans(port: MemoryPort) -> None:
    doubtful = machine(known=False)
    with pytest.raises(HasSnapshots, match="Nobody can tell"):
        merged(port, doubtful)
    assert merged(port, doubtful, force=True)
    with pytest.raises(HasSnapshots, match="Nobody can tell"):
        merged(port, doubtful, orphans=True, force=True)


def test_a_disk_has_at_least_one_layer(port: MemoryPort) -> None:
    with pytest.raises(BadRequest) as caught:
        merged(port, VmReport(), max_layers=0)
    assert caught.value.found == 0


def test_names_lead_to_the_guid_that_they_were_taken_with(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    guid = wanted_guid(state, "mine", {})
    disks.take(port, PATH, guid)
    assert merged(port, VmReport(), snapshots=("mine",)) == [guid]

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A machine that follows its disk, cut off anywhere: its configuration is the old or the new one, and never ahead of
the disk; and the next run brings it there.
"""

from __future__ import annotations

import os
from typing import Any, Callable

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.machine_edit import DiskValues, machine_edit
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Port
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.follow_machine import plan_machine
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.retype import plan_retype
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.shrink import plan_shrink
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import DISK, Operation
from ansible_collections.vdisk.parallels.tests.crash.scenes import Drawing, line, plant
from ansible_collections.vdisk.parallels.tests.crash.sight import content_of, sight_of
from ansible_collections.vdisk.parallels.tests.crash.test_faults import FAULTS, judge
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))
MIB = 1 << 20
CONFIG = (
    "<ParallelsVirtualMachine><Hardware><Hdd><SystemName>disk.hdd</SystemName><Size>{size}</Size><DiskType>1</DiskType>"
    "<!-- others --></Hdd></Hardware></ParallelsVirtualMachine>\n"
)
Planner = Callable[[Port, BundleState, Any], Plan]


def follows(name: str, drawing: Drawing, values: DiskValues, planner: Planner, *, says: int) -> Operation:
    """The machine says a size of ``says`` MiB before; ``planner`` is given what is to become of that."""

    def prepare(port: MemoryPort, folder: str) -> None:
        plant(port, f"{folder}/{DISK}", drawing)
        port.plant_file(f"{folder}/config.pvs", CONFIG.format(size=says).encode())

    def plan(port: Port, state: BundleState) -> Plan:
        edit = machine_edit(port, state.location, values)
        return Plan("nothing") if edit is None else planner(port, state, edit)

    return Operation(f"machine-{name}", prepare, lambda run: run.change(DISK, plan))


WIDE = line("A.BC")
SIZE = WIDE.size_sectors * 512
OPERATIONS = (
    follows(
        "grow",
        WIDE,
        DiskValues(2 * MIB),
        lambda _port, state, edit: disks.plan_of_grow(state, 2 * MIB, machine=edit),
        says=1,
    ),
    follows(
        "shrink",
        line("A" + "." * (3 * MIB // (SIZE // 4) - 1)),
        DiskValues(MIB),
        lambda _port, state, edit: plan_shrink(state, MIB, machine=edit),
        says=3,
    ),
    follows(
        "retype",
        WIDE,
        DiskValues(2 * MIB, "plain", False),
        lambda port, state, edit: plan_retype(port, state, Shape(2 * MIB, "plain"), machine=edit),
        says=1,
    ),
    follows("alone", WIDE, DiskValues(SIZE), lambda _port, state, edit: plan_machine(state, edit), says=7),
)


class MachineTrial(Trial):
    """A trial that looks at the configuration, too."""

    def _check_views(self, port: Port, **options: Any) -> None:
        super()._check_views(port, **options)
        new = self.after.names["config.pvs"]
        assert new is not None and self.after.sight is not None
        if content_of(port, f"{self.folder}/config.pvs") == new[""][2]:
            shown, wanted = sight_of(port, self.path).views[TOP], self.after.sight.views[TOP]
            assert len(shown) == len(wanted), "the machine is ahead of its disk"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_machine_that_follows_is_never_ahead_and_never_left_behind(
    operation: Operation, count: Callable[[Explorer], None]
) -> None:
    trial = MachineTrial(operation)
    assert trial.before.names["config.pvs"] != trial.after.names["config.pvs"]
    explorer = Explorer(trial, limit=None if LONG else 60)
    explorer.finished_states()
    explorer.power_failures()
    explorer.power_failures_while_recovering(40 if LONG else 2)
    explorer.kills(60 if LONG else 2)
    count(explorer)
    calls = Explorer(trial).calls()
    for number in range(1, calls + 1, 1 if LONG else max(1, calls // 15)):
        judge(trial, number, FAULTS[list(FAULTS)[number % len(FAULTS)]])

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One disk in one task: look at it, finish what an earlier run left, apply a plan, and report before and after."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._bundle.bundle import BundleState, observe
from .._bundle.leftovers import needs_recovery
from .._bundle.neighbours import Vicinity, with_surroundings
from .._bundle.paths import locate, refuse_layer
from .._change.bundle_plan import Facts
from .._core.errors import DiskError, SharedLayer
from .._core.plan import Plan
from .._core.records import dataclass, replace
from .._io.fingerprint import refuse_changed
from .._io.port import Port
from .._ops.report.facts import disk_facts
from .apply import apply_plan, diff_of
from .run import Result, absolute, own_port

if TYPE_CHECKING:
    from .._bundle.neighbours import Standing
    from .._bundle.pvm import VmReport
    from .._change.executor import Outcome
    from .._formats.hds.known import KnownTables
    from .fleet.others import Others


_INTERRUPTED = "an interrupted run will be finished first; the prediction is for the disk as it is now."
_UNPREDICTABLE = (
    "The disk is in the middle of an interrupted run. A real run ends that first; what follows from there cannot be"
    " predicted in check mode."
)


@dataclass(frozen=True)
class Disk:
    """A disk as the task found it at the path that was ``given``; ``recovered`` are sentences about what was finished
    of earlier runs.
    """

    port: Port
    state: BundleState
    machine: VmReport
    warnings: Tuple[str, ...]
    recovered: Tuple[str, ...]
    given: str

    def facts(self, state: Optional[BundleState] = None) -> Dict[str, Any]:
        """The facts of the disk, or of it in another state; what surrounds it stays."""
        shown = self.state if state is None else replace(state, surroundings=self.state.surroundings)
        return disk_facts(self.port, shown, self.machine._replace(warnings=self.warnings))


def open_disk(
    module: AnsibleModule,
    *,
    path: Optional[str] = None,
    standing: Optional[Standing] = None,
    known: Optional[KnownTables] = None,
) -> Disk:
    """Observe the disk of the task. Outside check mode, what an interrupted run left is finished or cleared first.

    ``standing`` knows who stands on whom among other disks of the host, ``known`` the tables of this one.
    """
    port = own_port(module)
    allow_outside = bool(module.params.get("allow_outside"))
    given = absolute(port, path or module.params["path"])
    location = locate(port, given)
    refuse_layer(port, location)
    state = observe(port, location, allow_outside=allow_outside, known=known)
    recovered: Tuple[str, ...] = ()
    if needs_recovery(state) and not module.check_mode:
        # Hardly a disk is in the middle of a change.
        from .._ops.recovery.recover import recover

        force = bool(module.params.get("force"))
        vicinity = Vicinity(given, standing)
        recovered = recover(port, location, allow_outside=allow_outside, force=force, vicinity=vicinity)
        state = observe(port, location, allow_outside=allow_outside)
    state, around = with_surroundings(port, state, given, standing=standing)
    warnings = around.machine.warnings + around.unknown
    if needs_recovery(state):
        warnings += (f"{location.directory}: {_INTERRUPTED}",)
    return Disk(port, state, around.machine, warnings, recovered, given)


def run_plan(
    module: AnsibleModule, port: Port, plan: Plan[Any], recovered: Tuple[str, ...] = ()
) -> Tuple[Result, Optional[Outcome]]:
    """Apply ``plan`` unless in check mode; the result has what every changing module returns."""

    def take_back(path: str) -> Optional[str]:
        from .._ops.recovery import recover

        return recover.take_back(port, path)

    return apply_plan(module, port, plan, recovered=recovered, recover=take_back)


def change_disk(
    module: AnsibleModule,
    planner: Callable[[Disk], Plan[Facts]],
    *,
    path: Optional[str] = None,
    others: Optional[Others] = None,
) -> Tuple[Result, Plan[Facts], Disk]:
    """Open the disk, plan, apply and report. The result has ``changed``, ``diff``, ``disk`` and the amounts of data.

    ``others`` are all disks of the run, when there are several.
    """
    disk = open_disk(module, path=path, standing=None if others is None else others.standing)
    before = disk.facts()

    def make(one: Disk) -> Plan[Facts]:
        return _planned(module, one, planner)

    disk, plan = (
        (disk, make(disk)) if others is None else planned_among(others, disk, make, is_prediction=module.check_mode)
    )
    result, outcome = run_plan(module, disk.port, plan, disk.recovered)
    state = plan.facts.after
    if outcome is not None:
        state = observe(disk.port, disk.state.location, allow_outside=bool(module.params.get("allow_outside")))
    result["disk"] = after = disk.facts(state)
    if module.check_mode and not disk.recovered and needs_recovery(disk.state):
        result["changed"] = True
    result["diff"] = diff_of(before, after)
    # What a change removes must have been told once.
    result["warnings"] += [*before["warnings"], *after["warnings"]]
    return result, plan, disk


def planned_among(
    others: Others, disk: Disk, planner: Callable[[Disk], Plan[Facts]], *, is_prediction: bool = False
) -> Tuple[Disk, Plan[Facts]]:
    """A plan for one of several disks, made with what surrounds it at that moment, and the disk with that.

    A prediction goes by what was last seen.
    """
    try:
        plan = planner(disk)
    except SharedLayer:
        # The clone may have gone.
        disk = _anew(others, disk)
        plan = planner(disk)
    if plan.is_empty or is_prediction:
        return disk, plan
    # What is known of other disks may be hours old, and a clone may have come.
    fresh = _anew(others, disk)
    if fresh.state.surroundings != disk.state.surroundings:
        return fresh, planner(fresh)
    return disk, plan


def _anew(others: Others, disk: Disk) -> Disk:
    state, around = with_surroundings(disk.port, disk.state, disk.given, standing=others.look())
    return replace(disk, state=state, machine=around.machine)


def _planned(module: AnsibleModule, disk: Disk, planner: Callable[[Disk], Plan[Facts]]) -> Plan[Facts]:
    try:
        return planner(disk)
    except DiskError as error:
        # A disk that somebody else changes at the same time may seem damaged.
        refuse_changed(disk.port, disk.state.fingerprint)
        advise(module, disk, error)
        raise


def advise(module: AnsibleModule, disk: Disk, error: DiskError) -> None:
    """Say that a refusal is of the moment where check mode looks at a disk amid a change: a mark in it may be ours, and
    to force anything would be wrong.
    """
    if module.check_mode and needs_recovery(disk.state):
        error.hint = _UNPREDICTABLE

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd does with a disk that exists: one change after the other, each with its own commit."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._bundle.bundle import BundleState, observe
from .._bundle.leftovers import needs_recovery
from .._bundle.pvm import VmFacts
from .._core.errors import BadRequest, DiskError
from .._core.records import replace
from .._core.units import MIB
from .._io.fingerprint import refuse_changed
from .._ops.reshape.next_change import (
    AllChanges,
    Position,
    Reshaping,
    machine_warnings,
    plan_all_changes,
    plan_next_change,
)
from .._ops.reshape.request import GROW, ReshapeRequest
from .disk import Disk, advise, diff_of, open_disk, run_plan
from .run import Result
from .spec import disk_name, size_option, version_option


def reshape_request(params: Dict[str, Any], size: Optional[int]) -> ReshapeRequest:
    """The options of a task; ``size`` is the rounded one."""
    return ReshapeRequest(
        size=size,
        exact=size_option(params["size"], "size"),
        kind=params["type"],
        cluster=size_option(params["cluster_size"], "cluster_size"),
        version=version_option(params),
        split=size_option(params["split_size"], "split_size"),
        name=disk_name(params["name"]),
        reserve=params["preallocate"],
        shrink=params["shrink"],
        snapshots=params["snapshots"],
        partition_table=params["partition_table"],
        force=params["force"],
        grow_partition=_partition_name(params),
        machine=params["machine"],
    )


def _partition_name(params: Dict[str, Any]) -> Optional[str]:
    name: Optional[str] = params["grow_partition"]
    if name is not None and params["partition_table"] != GROW:
        raise BadRequest("grow_partition is of no use without partition_table: grow", hint="Add it, or leave it out.")
    return name


def change_existing(module: AnsibleModule, request: ReshapeRequest) -> Tuple[Result, Disk, BundleState]:
    """Make the disk what ``request`` says; the result, the disk as it was found and as it is now."""
    disk = open_disk(module)
    before = disk.facts()
    task = Reshaping(disk.port, disk.machine, request, predict=module.check_mode)
    try:
        changes = plan_all_changes(task, disk.state)
    except DiskError as error:
        # A disk that somebody else changes at the same time may seem damaged.
        refuse_changed(disk.port, disk.state.fingerprint)
        advise(module, disk, error)
        raise
    results, state = _run_all(module, disk, task, changes)
    result = _summed(results)
    if request.partition_table == GROW:
        result["grown_partition"] = _shown_growth(changes)
    result["changed"] = bool(changes.plans or disk.recovered) or needs_recovery(disk.state)
    disk, result["machine_config"] = _with_machine(disk, state, changes)
    result["disk"] = after = disk.facts(state)
    result["diff"] = diff_of(before, after)
    notes = [*changes.notes, *before["warnings"], *after["warnings"], *machine_warnings(disk.machine, state)]
    result["warnings"] = [*disk.recovered, *result["warnings"], *notes]
    return result, disk, state


def _with_machine(disk: Disk, state: BundleState, changes: AllChanges) -> Tuple[Disk, Optional[str]]:
    """The disk with machines that have followed it, and the configuration that was changed, None for none."""
    if not disk.machine.configs:
        return disk, None
    # Most disks are in no machine.
    from .._change.machine import changes_machine

    changed = [one for one in disk.machine.configs if any(changes_machine(plan, one) for plan in changes.plans)]
    if not changed:
        return disk, None

    def followed(facts: VmFacts) -> VmFacts:
        size = state.descriptor.size_bytes // MIB
        return replace(facts, config_size_mib=size) if facts.config in changed else facts

    first, others = disk.machine.facts, tuple(followed(one) for one in disk.machine.others)
    machine = disk.machine._replace(facts=None if first is None else followed(first), others=others)
    return replace(disk, machine=machine), changed[0]


def _shown_growth(changes: AllChanges) -> Optional[Dict[str, Any]]:
    """The partition that was to grow; of a disk that stays as it is the guest is asked for nothing."""
    if changes.grown is None or changes.plans:
        return changes.grown
    return {**changes.grown, "guest_commands": []}


def _summed(results: List[Result]) -> Result:
    return {
        "bytes_read": sum(one["bytes_read"] for one in results),
        "bytes_written": sum(one["bytes_written"] for one in results),
        "elapsed": round(sum(one["elapsed"] for one in results), 3),
        "commits": [commit for one in results for commit in one["commits"]],
        "warnings": [warning for one in results for warning in one["warnings"]],
    }


def _run_all(
    module: AnsibleModule, disk: Disk, task: Reshaping, changes: AllChanges
) -> Tuple[List[Result], BundleState]:
    """Apply one plan after the other, each made for the disk as the one before has left it; all in check mode."""
    plans = list(changes.plans)
    if module.check_mode:
        results = [run_plan(module, disk.port, plan)[0] for plan in plans]
        return results, plans[-1].facts.after if plans else disk.state
    results = []
    position = Position(disk.state, disk.state)
    plan = plans[0] if plans else None
    while plan is not None:
        results.append(run_plan(module, disk.port, plan)[0])
        state = observe(disk.port, disk.state.location, allow_outside=module.params["allow_outside"])
        state = replace(state, surroundings=disk.state.surroundings)
        position = position.after(task, plan, state, state)
        following = plan_next_change(task, position)
        plan = None if following.is_empty else following
    return results, position.state

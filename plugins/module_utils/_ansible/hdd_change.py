# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd does with a disk that exists: one change after the other, each with its own commit."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._bundle.bundle import BundleState, observe
from .._bundle.leftovers import needs_recovery
from .._core.errors import DiskError
from .._core.records import replace
from .._io.fingerprint import refuse_changed
from .._ops.reshape.next_change import (
    AllChanges,
    Position,
    Reshaping,
    machine_warnings,
    plan_all_changes,
    plan_next_change,
)
from .._ops.reshape.request import ReshapeRequest
from .disk import Disk, diff_of, open_disk, run_plan
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
    )


def change_existing(module: AnsibleModule, request: ReshapeRequest) -> Tuple[Result, Disk, BundleState]:
    """Make the disk what ``request`` says; the result, the disk as it was found and as it is now."""
    disk = open_disk(module)
    before = disk.facts()
    task = Reshaping(disk.port, disk.machine, request, predict=module.check_mode)
    try:
        changes = plan_all_changes(task, disk.state)
    except DiskError:
        # A disk that somebody else changes at the same time may seem damaged.
        refuse_changed(disk.port, disk.state.fingerprint)
        raise
    results, state = _run_all(module, disk, task, changes)
    result = _summed(results)
    result["changed"] = bool(changes.plans or disk.recovered) or needs_recovery(disk.state)
    result["disk"] = after = disk.facts(state)
    result["diff"] = diff_of(before, after)
    notes = [*changes.notes, *before["warnings"], *after["warnings"], *machine_warnings(disk.machine, state)]
    result["warnings"] = [*disk.recovered, *result["warnings"], *notes]
    return result, disk, state


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
        position = Position(state, state, position.done | {plan.operation})
        following = plan_next_change(task, position)
        plan = None if following.is_empty else following
    return results, position.state

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_merge does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from .._core.plan import Plan
from .._ops.snapshots.merge import MergeFacts
from .._ops.snapshots.merge_request import MergeRequest, plan_requested_merge, refuse_no_layers
from .disk import Disk, change_disk
from .run import Result

if TYPE_CHECKING:
    from .fleet.others import Others


def merge_layers(module: AnsibleModule) -> Result:
    """Make the current chain as short as asked for."""
    request = _request(module.params)
    refuse_no_layers(request)

    def planner(disk: Disk) -> Plan[MergeFacts]:
        return plan_requested_merge(disk.port, disk.state, disk.machine, request)

    def work(path: str, others: Optional[Others] = None) -> Result:
        result, plan, disk = change_disk(module, planner, path=path, others=others)
        return _merged(request, result, plan, disk)

    if module.params["path"] is not None and not module.params["recurse"]:
        return work(module.params["path"])
    # Most tasks are for one disk.
    from .fleet.each_disk import change_each
    from .fleet.others import Others

    others = Others()
    return change_each(module, lambda path: work(path, others), others)


def _merged(request: MergeRequest, result: Result, plan: Plan[MergeFacts], disk: Disk) -> Result:
    result["merged"] = list(plan.facts.merged)
    result["layers_before"] = len(disk.state.tree.current_chain)
    result["layers_after"] = result["disk"]["depth"]
    result["freed"] = plan.bytes_freed
    if request.snapshots is None:
        result["warnings"] += _lost_names(plan, disk)
    result["warnings"] += [
        f"snapshots: the disk has no snapshot {name[:80]!r}, so there was nothing to merge."
        for name in plan.facts.unknown
    ]
    return result


def _lost_names(plan: Plan[MergeFacts], disk: Disk) -> List[str]:
    """A warning for each snapshot that goes although somebody gave it a name, and the task did not."""
    found = [(guid, disk.state.notes.get(guid)) for guid in plan.facts.merged]
    named = [(guid, note.name[:80]) for guid, note in found if note is not None and note.name]
    return [f"Snapshot {name!r} ({guid}) is merged; nobody can go back to it then." for guid, name in named]


def _request(params: Mapping[str, Any]) -> MergeRequest:
    return MergeRequest(
        max_layers=params["max_layers"],
        snapshots=None if params["snapshots"] is None else tuple(params["snapshots"]),
        orphans=params["orphans"],
        branches=params["branches"],
        strategy=params["strategy"],
        force=params["force"],
    )

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_merge does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule

from .._core.plan import Plan
from .._ops.snapshots.merge import MergeFacts
from .._ops.snapshots.merge_request import MergeRequest, plan_requested_merge, refuse_no_layers
from .disk import Disk, change_disk
from .run import Result


def merge_layers(module: AnsibleModule) -> Result:
    """Make the current chain as short as asked for."""
    request = _request(module.params)
    refuse_no_layers(request)

    def planner(disk: Disk) -> Plan[MergeFacts]:
        return plan_requested_merge(disk.port, disk.state, disk.machine, request)

    def work(path: str) -> Result:
        result, plan, disk = change_disk(module, planner, path=path)
        return _merged(result, plan, disk)

    if module.params["path"] is not None and not module.params["recurse"]:
        return work(module.params["path"])
    # Most tasks are for one disk.
    from .fleet.each_disk import change_each

    return change_each(module, work)


def _merged(result: Result, plan: Plan[MergeFacts], disk: Disk) -> Result:
    result["merged"] = list(plan.facts.merged)
    result["layers_before"] = len(disk.state.tree.current_chain)
    result["layers_after"] = result["disk"]["depth"]
    result["freed"] = plan.bytes_freed
    result["warnings"] += [
        f"snapshots: the disk has no snapshot {name[:80]!r}, so there was nothing to merge."
        for name in plan.facts.unknown
    ]
    return result


def _request(params: Mapping[str, Any]) -> MergeRequest:
    return MergeRequest(
        max_layers=params["max_layers"],
        snapshots=None if params["snapshots"] is None else tuple(params["snapshots"]),
        orphans=params["orphans"],
        branches=params["branches"],
        strategy=params["strategy"],
        force=params["force"],
    )

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_snapshot does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import time
from typing import Any, Dict, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from .._core.errors import BadRequest
from .._core.plan import Plan
from .._ops.report.facts import one_snapshot
from .._ops.snapshots.snapshot_request import PRESENT, SnapshotRequest, plan_snapshot, refuse_odd_name
from .._ops.snapshots.take import SnapshotFacts
from .disk import Disk, change_disk
from .run import Result


def ensure_snapshot(module: AnsibleModule) -> Result:
    """Take, delete or go back to a snapshot."""
    params = module.params
    is_guid = params["guid"] is not None
    wanted = params["guid"] if is_guid else params["name"]
    description = params["description"]
    if description is not None and params["state"] != PRESENT:
        raise BadRequest("description is of use with state: present only", hint="Leave it out.")
    # What a run then says cannot be predicted.
    now = None if module.check_mode else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    request = SnapshotRequest(
        params["state"], wanted, is_guid, params["descendants"], params["force"], description, now
    )
    refuse_odd_name(request)

    def planner(disk: Disk) -> Plan[SnapshotFacts]:
        return plan_snapshot(disk.port, disk.state, disk.machine, request)

    result, plan, disk = change_disk(module, planner)
    result["snapshot"] = _facts_of(disk, result["disk"], plan.facts.snapshot, params["name"])
    if params["state"] == "absent":
        result["freed"] = plan.bytes_freed
    return result


def _facts_of(disk: Disk, after: Mapping[str, Any], guid: str, name: Optional[str]) -> Dict[str, Any]:
    """The snapshot after the change, or as it was when it is gone, or just what it is called when it never was."""
    found = next((one for one in after["snapshots"] if one["guid"] == guid), None)
    if found is None and guid in disk.state.tree.shots:
        found = one_snapshot(disk.state, guid, disk.machine.facts)
    if found is None:
        found = dict.fromkeys(("name", "taken", "description", "parent", "depth"))
        found.update(guid=guid, children=[], current=False, vm_snapshot=guid in disk.machine.snapshot_names)
    return {**found, "name": found["name"] or name}

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""What the module hdd_snapshot does with its arguments."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from .._core import guid as guids
from .._core.errors import BadRequest
from .._core.plan import Plan
from .._ops.report import one_snapshot
from .._ops.snapshot_name import wanted_guid
from .._ops.snapshot_take import plan_snapshot_take
from .disk import Disk, change_disk
from .run import Result


def take_snapshot(module: AnsibleModule) -> Result:
    """Make sure that the snapshot exists."""
    wanted = module.params["name"] if module.params["guid"] is None else module.params["guid"]
    if module.params["guid"] is not None and not guids.is_guid(wanted):
        raise BadRequest(f"guid: {wanted[:60]!r} is no GUID", hint="Use the option name for names.")
    if not wanted.strip():
        raise BadRequest("name: the name of a snapshot must not be empty", hint="Look at the variable that it comes from.")

    def planner(disk: Disk) -> Plan:
        return plan_snapshot_take(disk.state, wanted_guid(disk.state, wanted, disk.snapshot_names), force=module.params["force"])

    result, plan, disk = change_disk(module, planner)
    snapshot = next((one for one in result["disk"]["snapshots"] if one["guid"] == plan.facts["snapshot"]), None)
    if snapshot is None:
        snapshot = one_snapshot(plan.facts["after"], plan.facts["snapshot"], disk.vm)
    result["snapshot"] = {**snapshot, "name": snapshot["name"] or module.params["name"]}
    return result

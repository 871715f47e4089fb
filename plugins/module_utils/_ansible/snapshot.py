# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_snapshot does with its arguments."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from .._bundle.tree import resolve
from .._core import guid as guids
from .._core.errors import BadRequest, NoSuchSnapshot
from .._core.plan import Plan
from .._ops.report.facts import one_snapshot
from .._ops.snapshots.names import wanted_guid
from .._ops.snapshots.take import plan_snapshot_take
from .disk import Disk, change_disk, refuse_doubtful
from .run import Result


def ensure_snapshot(module: AnsibleModule) -> Result:
    """Take, delete or go back to a snapshot."""
    params = module.params
    wanted = params["name"] if params["guid"] is None else params["guid"]
    if params["guid"] is not None and not guids.is_guid(wanted):
        raise BadRequest(f"guid: {wanted[:60]!r} is no GUID", hint="Use the option name for names.")
    if not wanted.strip():
        raise BadRequest(
            "name: the name of a snapshot must not be empty", hint="Look at the variable that it comes from."
        )

    def planner(disk: Disk) -> Plan:
        guid = wanted_guid(disk.state, wanted, disk.snapshot_names)
        plan = _PLANNERS[params["state"]](module, disk, guid)
        return plan.with_facts(snapshot=guid)

    result, plan, disk = change_disk(module, planner)
    result["snapshot"] = _facts_of(disk, result["disk"], plan, params["name"])
    if params["state"] == "absent":
        result["freed"] = plan.bytes_freed
    return result


def _take(module: AnsibleModule, disk: Disk, guid: str) -> Plan:
    if module.params["guid"] is None and guid in disk.snapshot_names and guid not in disk.state.tree.shots:
        raise NoSuchSnapshot(
            f"The virtual machine has a snapshot {module.params['name'][:80]!r}, but this disk does not",
            path=disk.state.location.directory,
            found=guid,
            hint="Choose another name, or give the GUID when this disk is meant to have that very snapshot.",
        )
    return plan_snapshot_take(disk.state, guid, force=module.params["force"])


def _revert(module: AnsibleModule, disk: Disk, guid: str) -> Plan:
    from .._ops.snapshots.revert import plan_revert

    if guid not in disk.state.tree.shots:
        wanted = module.params["name"] if module.params["guid"] is None else module.params["guid"]
        resolve(disk.state.tree, wanted, names=disk.snapshot_names, path=disk.state.location.directory)
    return plan_revert(disk.state, guid, force=module.params["force"])


def _delete(module: AnsibleModule, disk: Disk, guid: str) -> Plan:
    from .._ops.snapshots.merge import plan_merge
    from .._ops.snapshots.removals import choose_deletion

    kept = () if module.params["force"] or disk.vm is None else tuple(disk.vm.snapshots)
    removals = choose_deletion(disk.state, guid, descendants=module.params["descendants"], kept_by_vm=kept)
    refuse_doubtful(disk, removals, force=module.params["force"])
    return plan_merge(disk.port, disk.state, removals, force=module.params["force"])


_PLANNERS: Dict[str, Callable[[AnsibleModule, Disk, str], Plan]] = {
    "present": _take,
    "reverted": _revert,
    "absent": _delete,
}


def _facts_of(disk: Disk, after: Mapping[str, Any], plan: Plan, name: Optional[str]) -> Dict[str, Any]:
    """The snapshot after the change, or as it was when it is gone, or just what it is called when it never was."""
    guid = plan.facts["snapshot"]
    found = next((one for one in after["snapshots"] if one["guid"] == guid), None)
    if found is None and guid in disk.state.tree.shots:
        found = one_snapshot(disk.state, guid, disk.vm)
    if found is None:
        found = {
            "guid": guid,
            "name": None,
            "parent": None,
            "children": [],
            "depth": None,
            "current": False,
            "vm_snapshot": guid in disk.snapshot_names,
        }
    return {**found, "name": found["name"] or name}

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_merge does with its arguments."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._core.errors import BadRequest
from .._core.plan import Plan
from .._ops.snapshots.merge import plan_merge
from .._ops.snapshots.names import wanted_guid
from .._ops.snapshots.removals import choose_removals
from .disk import Disk, change_disk, refuse_doubtful
from .run import Result


def merge_layers(module: AnsibleModule) -> Result:
    """Make the current chain as short as asked for."""
    params = module.params
    if params["max_layers"] < 1:
        raise BadRequest("max_layers: a disk has at least one layer", found=params["max_layers"], hint="Use 1 or more.")
    unknown: List[str] = []

    def planner(disk: Disk) -> Plan:
        chosen = _chosen(disk, params["snapshots"], unknown)
        kept = () if disk.vm is None else tuple(disk.vm.snapshots)
        if params["orphans"]:
            chosen = tuple(guid for guid in (disk.state.tree.shots if chosen is None else chosen) if guid not in kept)
        removals = choose_removals(
            disk.state,
            max_layers=params["max_layers"],
            snapshots=chosen,
            kept_by_vm=() if params["force"] else kept,
            branches=params["branches"],
        )
        # Without the list, an orphan cannot be told from a snapshot that is needed: force does not help.
        refuse_doubtful(disk, removals, force=params["force"] and not params["orphans"])
        return plan_merge(disk.port, disk.state, removals, strategy=params["strategy"], force=params["force"])

    result, plan, disk = change_disk(module, planner)
    result["merged"] = list(plan.facts["merged"])
    result["layers_before"] = len(disk.state.tree.current_chain)
    result["layers_after"] = result["disk"]["depth"]
    result["freed"] = plan.bytes_freed
    result["warnings"] += [
        f"snapshots: the disk has no snapshot {name[:80]!r}, so there was nothing to merge." for name in unknown
    ]
    return result


def _chosen(disk: Disk, names: Optional[List[str]], unknown: List[str]) -> Optional[Tuple[str, ...]]:
    if names is None:
        return None
    found = [(name, wanted_guid(disk.state, name, disk.snapshot_names)) for name in names]
    unknown += [name for name, guid in found if guid not in disk.state.tree.shots]
    return tuple(guid for _name, guid in found)

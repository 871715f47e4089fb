# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_info does with its arguments."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._bundle.bundle import BundleState, observe
from .._bundle.find import bundles_in
from .._bundle.paths import locate
from .._bundle.pvm import find_vm
from .._core.errors import DiskError
from .._guest.view import open_view
from .._io.port import Port
from .._io.real import OsPort
from .._ops.report.facts import absent_facts, disk_facts, totals
from .run import Result, absolute

Failure = Dict[str, Any]


def describe_disks(module: AnsibleModule) -> Result:
    """Describe every disk that the arguments name."""
    params = module.params
    port = OsPort()
    disks: List[Dict[str, Any]] = []
    failures: List[Failure] = []
    is_single = params["path"] is not None
    for path in [params["path"]] if is_single else params["paths"]:
        described, failed = _describe_all(module, port, absolute(port, path, "path" if is_single else "paths"))
        disks += described
        failures += failed
    if is_single and failures and not disks and failures[0]["path"] == absolute(port, params["path"]):
        module.fail_json(**failures[0], disks=[], failed_disks=failures)
    return {"changed": False, "disks": disks, "failed_disks": failures, "totals": totals(disks)}


def _describe_all(module: AnsibleModule, port: Port, path: str) -> Tuple[List[Dict[str, Any]], List[Failure]]:
    """The disks that one path stands for; each that cannot be described becomes a failure of its own."""
    disks: List[Dict[str, Any]] = []
    failures: List[Failure] = []
    try:
        if port.lstat(path) is None:
            return [absent_facts(path)], []
        found = bundles_in(port, path, recurse=module.params["recurse"])
        if not found and not module.params["recurse"]:
            found = [path]
    except DiskError as error:
        return [], [{"path": path, **describe_failure(error)}]
    for one in found:
        try:
            disks.append(_describe(module, port, one))
        except DiskError as error:
            failures.append({"path": one, **describe_failure(error)})
    return disks, failures


def _describe(module: AnsibleModule, port: Port, path: str) -> Dict[str, Any]:
    params = module.params
    location = locate(port, path)
    state = observe(port, location, allow_outside=params["allow_outside"])
    vm, warnings = find_vm(port, location)
    reclaimable = _reclaimable(port, state, params["scan"]) if params["scan"] != "metadata" else None
    facts = disk_facts(port, state, vm=vm, warnings=warnings, reclaimable=reclaimable)
    facts["partitions"] = _partitions(port, state)
    if params["map"]:
        facts["map"] = _map(state, params["map"])
    if params["checksum"] != "none":
        facts["checksum"] = _checksum(port, state, params["checksum"])
    return facts


def _reclaimable(port: Port, state: BundleState, scan: str) -> Dict[str, Optional[int]]:
    # Only a scan of the data needs what compaction needs.
    from .._bundle.guards import refuse_encrypted
    from .._ops.compact.plan import estimate, reclaimable_by_reason

    refuse_encrypted(state)
    return reclaimable_by_reason(estimate(port, state, scan=scan), scan=scan)


def _map(state: BundleState, buckets: int) -> Dict[str, Any]:
    # Only a picture of the disk needs it.
    from .._ops.report.allocation import allocation_map

    return allocation_map(state, buckets)


def _partitions(port: Port, state: BundleState) -> Any:
    from .._guest.partitions import read_partitions

    if state.descriptor.encrypted:
        return None
    view = open_view(port, state, state.tree.top)
    try:
        return read_partitions(view)
    finally:
        view.close()


def _checksum(port: Port, state: BundleState, algorithm: str) -> str:
    from .._guest.digests import guest_checksum

    view = open_view(port, state, state.tree.top)
    try:
        return guest_checksum(view, algorithm)
    finally:
        view.close()


def describe_failure(error: DiskError) -> Dict[str, object]:
    """An error as an entry of ``failed``."""
    return {"error_code": error.code, "msg": str(error), "error_context": error.context}

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_info does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._bundle.find import bundles_in, nothing_in
from .._core.errors import DiskError
from .._io.port import Port
from .._io.real import OsPort
from .._ops.report.describe import DescribeRequest, describe_disk
from .._ops.report.facts import absent_facts, totals
from .run import Result, absolute, failure_of

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
    recurse = module.params["recurse"]
    try:
        if port.lstat(path) is None:
            return [absent_facts(path)], []
        found = bundles_in(port, path, recurse=recurse)
        if not found and not recurse:
            raise nothing_in(path, recurse=False)
    except DiskError as error:
        return [], [{"path": path, **failure_of(error)}]
    request = _request(module.params)
    for one in found:
        try:
            disks.append(describe_disk(port, one, request))
        except DiskError as error:
            failures.append({"path": one, **failure_of(error)})
    return disks, failures


def _request(params: Mapping[str, Any]) -> DescribeRequest:
    checksum = params["checksum"] if params["checksum"] != "none" else None
    return DescribeRequest(params["allow_outside"], params["scan"], params["map"] or 0, checksum)

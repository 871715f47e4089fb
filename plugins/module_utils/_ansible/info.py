# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_info does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Tuple, Union

from ansible.module_utils.basic import AnsibleModule

from .._bundle.find import bundles_in, nothing_in
from .._bundle.neighbours import Standing
from .._core.errors import DiskError
from .._core.records import replace
from .._io.port import Port
from .._ops.report.describe import DescribeRequest, describe_disk
from .._ops.report.facts import absent_facts, totals
from .run import Result, absolute, absolute_all, failure_of, own_port
from .spec import drops_swap

Failure = Dict[str, Any]


def describe_disks(module: AnsibleModule) -> Result:
    """Describe every disk that the arguments name."""
    params = module.params
    port, request = own_port(module), _request(params)
    disks: List[Dict[str, Any]] = []
    failures: List[Failure] = []
    is_single = params["path"] is not None
    given = [absolute(port, params["path"])] if is_single else absolute_all(module, port, params["paths"])
    found = {path: _disks_at(port, path, params["recurse"]) for path in given}
    standing = _standing(port, [disk for paths in found.values() if isinstance(paths, list) for disk in paths])
    for path in given:
        described, failed = _describe_all(port, path, request, found[path], standing)
        disks += described
        failures += failed
    if is_single and failures and not disks and failures[0]["path"] == absolute(port, params["path"]):
        module.fail_json(**failures[0], disks=[], failed_disks=failures)
    return {"changed": False, "disks": disks, "failed_disks": failures, "totals": totals(disks)}


def _disks_at(port: Port, path: str, recurse: bool) -> Union[List[str], DiskError]:
    """The disks that one path stands for, or why they are not known."""
    try:
        if port.lstat(path) is None:
            return [path]
        found = bundles_in(port, path, recurse=recurse)
        return found if found or recurse else nothing_in(path, recurse=False)
    except DiskError as error:
        return error


def _standing(port: Port, disks: List[str]) -> Standing:
    """Who stands on whom among all disks of the run, in whatever folders they are."""
    standing = Standing(port)
    for disk in disks if len(disks) > 1 else ():
        try:
            standing.look_at(disk)
        except DiskError:
            # It will be one of the failed.
            pass
    return standing


def _describe_all(
    port: Port, path: str, request: DescribeRequest, found: Union[List[str], DiskError], standing: Standing
) -> Tuple[List[Dict[str, Any]], List[Failure]]:
    """The disks that one path stands for; each that cannot be described becomes a failure of its own."""
    if isinstance(found, DiskError):
        return [], [{"path": path, **failure_of(found)}]
    disks: List[Dict[str, Any]] = []
    failures: List[Failure] = []
    for one in found:
        try:
            if one == path and port.lstat(path) is None:
                disks.append(absent_facts(path))
            else:
                disks.append(describe_disk(port, one, request, standing))
        except DiskError as error:
            failures.append({"path": one, **failure_of(error)})
    return disks, failures


def _request(params: Mapping[str, Any]) -> DescribeRequest:
    checksum = params["checksum"] if params["checksum"] != "none" else None
    return replace(describe_request(params), checksum=checksum)


def describe_request(params: Mapping[str, Any]) -> DescribeRequest:
    """What every module that gives facts is asked of each disk. Raises BadRequest: a mistake is none of the disks'."""
    if params["map"]:
        from .._ops.report.allocation import refuse_bad_number

        refuse_bad_number(params["map"])
    return DescribeRequest(params["allow_outside"], params["scan"], drops_swap(params), params["map"] or 0)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks of the controller itself, described by the engine without a module around it."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Sequence

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import absolute, failure_of
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.names import readable
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.find import disks_at
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.neighbours import Standing
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError, NotABundle
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Port
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.check_and_repair import (
    CheckRequest,
    check_and_repair,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import locate_damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.report.describe import (
    DescribeRequest,
    describe_disk,
)

from .reports import Told

HOST = "localhost"


def disks_here(paths: Sequence[str], *, recurse: bool, check: bool) -> Told:
    """What is found at absolute ``paths``. ``message`` names the folders without a disk.

    Raises DiskError for a path that leads nowhere or cannot be read.
    """
    port = OsPort()
    found = disks_at(port, [absolute(port, path, "paths") for path in paths], recurse=recurse)
    for _path, error in found.failed:
        if not isinstance(error, NotABundle):
            raise error
    standing = Standing(port)
    disks: List[Dict[str, Any]] = []
    failed: List[Dict[str, Any]] = []
    for path in found.disks:
        try:
            facts = describe_disk(port, path, DescribeRequest(), standing)
            disks.append({**facts, "check": _checked(port, path)} if check else facts)
        except DiskError as error:
            failure = {"path": path, **failure_of(error), "findings": []}
            failure.update(findings=_checked(port, path)["findings"] if check else [])
            failed.append(failure)
    empty = " ".join(str(error) for _path, error in found.failed)
    return Told(HOST, readable(disks), readable(failed), readable(empty) or None)


def _checked(port: Port, path: str) -> Dict[str, Any]:
    """The findings of a check of the metadata, in the shape that an audit has them."""
    try:
        checked = check_and_repair(port, locate_damaged(port, path), CheckRequest(allow_outside=False), _apply)
    except DiskError as error:
        return {"error_code": error.code, "findings": []}
    return {"error_code": None, "findings": [one.as_result() for one in checked.findings]}


def _apply(_plan: Any, _recovered: Any) -> Dict[str, Any]:
    raise AssertionError("a check that repairs nothing has no plan")

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reports of hosts that somebody has written to files: what hdd_info returned, or the ``audit.json`` of the role audit.

Hosts of others have had their say in them, so nothing is believed before it was looked at.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
import os
import stat
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.names import readable
from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.report import FORMAT

MOST_BYTES = 64 << 20
"""Far above a report of a thousand disks with the maps of their layers."""

_TEXT = (str, type(None))
_NUMBER = (int, type(None))
_FACTS: Dict[str, Any] = {
    "name": _TEXT,
    "uid": _TEXT,
    "format": _TEXT,
    "type": _TEXT,
    "state": _TEXT,
    "exists": bool,
    "encrypted": (bool, type(None)),
    "virtual_size": _NUMBER,
    "file_size": _NUMBER,
    "allocated_size": _NUMBER,
    "used_size": _NUMBER,
    "depth": _NUMBER,
    "snapshots": (list, type(None)),
    "orphan_files": (list, type(None)),
    "leftovers": (list, type(None)),
    "reclaimable": (dict, type(None)),
    "vm": (dict, type(None)),
    "check": (dict, type(None)),
    "findings": (list, type(None)),
    "error_code": _TEXT,
    "msg": _TEXT,
}
_VM = {"name": _TEXT, "uuid": _TEXT, "os": _TEXT, "config": _TEXT}
_CHECK = {"error_code": _TEXT, "findings": (list, type(None))}


class BadReport(Exception):
    """A file that is no report, or one that nobody here can read."""


class Told(NamedTuple):
    """What one host told: facts of disks, and the disks that it could not read. ``message`` is why it told nothing."""

    host: str
    disks: Sequence[Mapping[str, Any]]
    failed: Sequence[Mapping[str, Any]]
    message: Optional[str] = None


def report_files(path: str) -> List[str]:
    """The file at ``path``, or in a folder the files whose names end in ``.json``. Raises BadReport."""
    try:
        if not os.path.isdir(path):
            return [path]
        found = sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(".json"))
    except OSError as error:
        raise BadReport(f"{path}: {error.strerror or error}.") from error
    if not found:
        raise BadReport(f"{path}: there is no file with a name that ends in .json in the folder.")
    return found


def read_report(path: str) -> List[Told]:
    """What the hosts in one file told. Raises BadReport."""
    try:
        # Names that are not UTF-8 come as halves of pairs, which Ansible cannot print.
        report = readable(json.loads(_content(path)))
    except ValueError as error:
        raise BadReport(f"{path}: this is not JSON: {error}.") from error
    except RecursionError as error:
        raise BadReport(f"{path}: this is nested too deeply for a report.") from error
    if isinstance(report, dict) and isinstance(report.get("hosts"), list):
        if report.get("format") != FORMAT:
            raise BadReport(f"{path}: the format of the report is {report.get('format')!r}, and not {FORMAT}.")
        return [_host(path, number, host) for number, host in enumerate(report["hosts"])]
    if isinstance(report, dict) and isinstance(report.get("disks"), list):
        name = os.path.splitext(os.path.basename(path))[0]
        return [_told(path, readable(name), report, None)]
    raise BadReport(f"{path}: this is neither an audit.json of the role audit nor a result of hdd_info.")


def _content(path: str) -> bytes:
    try:
        # A pipe would keep the inventory waiting.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise BadReport(f"{path}: this is not a regular file.")
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadReport(f"{path}: {error.strerror or error}.") from error
    if len(content) > MOST_BYTES:
        raise BadReport(f"{path}: the file has more than {MOST_BYTES >> 20} MiB.")
    return content


def _host(path: str, number: int, host: Any) -> Told:
    where = f"hosts[{number}]"
    if not isinstance(host, dict) or not isinstance(host.get("name"), str) or not host["name"]:
        raise BadReport(f"{path}: {where} has no name.")
    told = _told(path, host["name"], host, f"{where}.")
    message = host.get("message")
    return told._replace(message=str(message or "no answer") if host.get("status") != "ok" else None)


def _told(path: str, name: str, report: Mapping[str, Any], where: Optional[str]) -> Told:
    lists: List[Sequence[Mapping[str, Any]]] = []
    for key in ("disks", "failed_disks"):
        found = report.get(key) or []
        if not isinstance(found, list):
            raise BadReport(f"{path}: {where or ''}{key} is not a list.")
        for number, facts in enumerate(found):
            _refuse_misshapen(f"{path}: {where or ''}{key}[{number}]", facts)
        lists.append(found)
    return Told(name, lists[0], lists[1])


def _refuse_misshapen(where: str, facts: Any) -> None:
    """Raise BadReport unless all that is made use of is of the kind that it should be."""
    if not isinstance(facts, dict) or not isinstance(facts.get("path"), str) or not facts["path"]:
        raise BadReport(f"{where} has no path.")
    vm, check = facts.get("vm"), facts.get("check")
    parts = [(where, facts, _FACTS)]
    parts += [(f"{where}.vm", vm, _VM)] if isinstance(vm, dict) else []
    parts += [(f"{where}.check", check, _CHECK)] if isinstance(check, dict) else []
    for place, part, shape in parts:
        for key, kinds in shape.items():
            if key in part and not _is_a(part[key], kinds):
                raise BadReport(f"{place}.{key} is a {type(part[key]).__name__}.")
    checked = check.get("findings") if isinstance(check, dict) else None
    for key, one in _inner(facts, checked):
        if not isinstance(one, dict):
            raise BadReport(f"{where}: {key} has an entry that is a {type(one).__name__}.")
    for value in (facts.get("reclaimable") or {}).values():
        if not _is_a(value, _NUMBER):
            raise BadReport(f"{where}.reclaimable has a {type(value).__name__}.")


def _is_a(value: Any, kinds: Any) -> bool:
    """As isinstance, but a truth is no number."""
    return isinstance(value, kinds) and not (kinds is _NUMBER and isinstance(value, bool))


def _inner(facts: Mapping[str, Any], checked: Optional[Sequence[Any]]) -> List[Tuple[str, Any]]:
    lists = (("snapshots", facts.get("snapshots")), ("findings", facts.get("findings")), ("findings", checked))
    return [(key, one) for key, found in lists for one in found or ()]

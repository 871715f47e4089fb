# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the facts of disks to machines: which disks belong together, what state they are in, what needs attention."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.naming import (
    JOURNAL,
    MACHINE_SUFFIXES,
    SUFFIX,
    classify,
)
from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.tree import is_orphan

Facts = Mapping[str, Any]
Entry = Dict[str, Any]

_SIZES = ("virtual_size", "file_size", "allocated_size", "used_size", "reclaimable", "orphan_layers")
_STATES = ("in_use", "unreadable", "dirty", "suspended", "clean")
_COPIED = ("name", "uid", "format", "type", "encrypted", "virtual_size", "file_size", "allocated_size", "used_size")


def machines_of(host: str, disks: Iterable[Facts], failed: Iterable[Facts], *, by_disk: bool) -> List[Entry]:
    """The machines of one host, as plain data that any cache can keep: each with its disks. With ``by_disk`` each
    disk stands alone, as one that belongs to no machine always does.

    ``disks`` are facts of hdd_info, with ``check`` where one was made; ``failed`` are its failed disks.
    """
    told = [(facts, _disk(facts)) for facts in disks if facts.get("exists")]
    told += [(facts, _unreadable(facts)) for facts in failed]
    grouped: Dict[str, List[Tuple[Facts, Entry]]] = {}
    for facts, disk in told:
        grouped.setdefault(disk["path"] if by_disk else _machine_path(facts) or disk["path"], []).append((facts, disk))
    return [_machine(host, path, grouped[path], by_disk) for path in sorted(grouped)]


def _machine(host: str, path: str, told: Sequence[Tuple[Facts, Entry]], by_disk: bool) -> Entry:
    """A machine with what its disks come to."""
    disks = sorted((disk for _facts, disk in told), key=lambda disk: disk["path"])
    states = {disk["state"] for disk in disks}
    vm: Facts = next((facts["vm"] for facts, _disk in told if facts.get("vm")), {})
    base = _without_suffix(posixpath.basename(path))
    called = vm.get("name")
    return {
        "host": host,
        "path": path,
        "name": base if not called else f"{called}_{base}" if by_disk else called,
        "uuid": vm.get("uuid"),
        "os": vm.get("os"),
        "machine": _machine_path(told[0][0]),
        "state": next(state for state in _STATES if state in states),
        "attention": sorted({reason for disk in disks for reason in disk["attention"]}),
        "disks": disks,
        **{key: sum(disk[key] or 0 for disk in disks) for key in _SIZES},
    }


def _disk(facts: Facts) -> Entry:
    snapshots = list(facts.get("snapshots") or ())
    vm = facts.get("vm") or {}
    state = str(facts.get("state"))
    if state == "clean" and vm.get("suspended"):
        state = "suspended"
    return {
        "path": str(facts["path"]),
        **{key: facts.get(key) for key in _COPIED},
        "state": state if state in _STATES else "unreadable",
        "layers": facts.get("depth"),
        "snapshots": len(snapshots),
        "orphan_layers": sum(map(is_orphan, snapshots)) if vm else None,
        "reclaimable": sum(size or 0 for size in (facts.get("reclaimable") or {}).values()),
        "attention": sorted({*_from_facts(facts, vm), *_from_check(facts.get("check"))}),
        "message": None,
    }


def _unreadable(failure: Facts) -> Entry:
    return {
        "path": str(failure["path"]),
        **dict.fromkeys(_COPIED),
        "state": "unreadable",
        "layers": None,
        "snapshots": None,
        "orphan_layers": None,
        "reclaimable": None,
        "attention": sorted({str(failure.get("error_code") or "io_error"), *_codes(failure.get("findings"))}),
        "message": str(failure.get("msg") or ""),
    }


def _from_facts(facts: Facts, vm: Facts) -> List[str]:
    """The codes of the findings that a check would have, as far as facts tell."""
    reasons = ["image_dirty"] if facts.get("state") == "dirty" else []
    reasons += ["orphan_file"] if facts.get("orphan_files") else []
    reasons += [_leftover(str(name)) for name in facts.get("leftovers") or ()]
    return reasons + (["vm_size"] if vm.get("size_mismatch") else [])


def _leftover(name: str) -> str:
    if name == JOURNAL or name.startswith(f"{JOURNAL}-"):
        return "interrupted"
    return "leftover_ours" if classify(name) == "ours" else "leftover_ploop"


def _from_check(check: Optional[Facts]) -> List[str]:
    if check is None:
        return []
    if check.get("error_code"):
        return [str(check["error_code"])]
    return _codes(check.get("findings"))


def _codes(findings: Optional[Sequence[Facts]]) -> List[str]:
    worth = [one for one in findings or () if one.get("severity") in ("error", "warning") and not one.get("repaired")]
    return [str(one["code"]) for one in worth]


def _machine_path(facts: Facts) -> Optional[str]:
    """The folder of the machine of a disk: that of its configuration, or the nearest that looks like one."""
    config = (facts.get("vm") or {}).get("config")
    if config:
        return posixpath.dirname(str(config))
    folder = posixpath.dirname(str(facts["path"]))
    while folder not in ("", "/", "//"):
        if folder.lower().endswith(MACHINE_SUFFIXES):
            return folder
        folder = posixpath.dirname(folder)
    return None


def _without_suffix(base: str) -> str:
    suffixes = (*MACHINE_SUFFIXES, SUFFIX)
    return next((base[: -len(suffix)] for suffix in suffixes if base.lower().endswith(suffix)), base)

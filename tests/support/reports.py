# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers of hosts, as the modules give them, for reports and pages."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.report import build_report

GIB = 1 << 30


def disk(path: str, **others: Any) -> Dict[str, Any]:
    """Facts of a disk, as far as a report needs them."""
    facts: Dict[str, Any] = {
        "path": path,
        "name": path.rsplit("/", 1)[-1][:-4],
        "exists": True,
        "format": "bundle",
        "type": "expanding",
        "split": False,
        "encrypted": False,
        "state": "clean",
        "virtual_size": 64 * GIB,
        "file_size": 10 * GIB,
        "allocated_size": 9 * GIB,
        "used_size": 8 * GIB,
        "depth": 1,
        "snapshots": [],
        "layers": [{"guid": "{top}", "files": [{"size": 10 * GIB}], "outside": False}],
        "orphan_files": [],
        "reclaimable": {"leaked": GIB, "zero": None, "free_in_filesystem": None},
        "vm": None,
        "warnings": [],
    }
    return {**facts, **others}


def snapshot(guid: str, **others: Any) -> Dict[str, Any]:
    return {
        "guid": guid,
        "name": None,
        "parent": None,
        "children": [],
        "depth": 1,
        "current": True,
        "vm_snapshot": False,
        **others,
    }


def info(*disks: Dict[str, Any], failed: Any = ()) -> Dict[str, Any]:
    return {"disks": list(disks), "failed_disks": list(failed), "changed": False}


def forecast(*disks: Dict[str, Any]) -> Dict[str, Any]:
    """What hdd_maintain returns in check mode."""
    return {"disks": list(disks), "changed": False}


def foretold(path: str, **others: Any) -> Dict[str, Any]:
    """What it says of one disk."""
    sizes = {"layers": 2, "file_size": 10 * GIB}
    usual = {"outcome": "unchanged", "reason": None, "error_code": None, "findings": None, "merged": [], "freed": 0}
    return {"path": path, **usual, "written": 0, "before": sizes, "after": sizes, **others}


def checked(path: str, *findings: Dict[str, Any], **others: Any) -> Dict[str, Any]:
    """The same of a disk that was checked; one with errors was not worked on."""
    is_ill = any(one["severity"] == "error" for one in findings)
    told = {"error_code": "unhealthy", "before": None, "after": None, "outcome": "failed"} if is_ill else {}
    return foretold(path, **{"findings": list(findings), **told, **others})


def finding(code: str, severity: str, message: str = "is wrong", where: str = "/x") -> Dict[str, Any]:
    return {
        "code": code,
        "severity": severity,
        "where": where,
        "message": message,
        "repairable": "no",
        "repaired": False,
    }


def merged(path: str, freed: int) -> Dict[str, Any]:
    """The same of a disk of which a layer would be merged."""
    after = {"layers": 1, "file_size": 10 * GIB - freed}
    return foretold(path, outcome="changed", merged=["{a}"], freed=freed, written=5, after=after)


def mapped(guids: List[Optional[str]], used: List[int]) -> Dict[str, Any]:
    layers = [
        {
            "guid": guid,
            "parent": parent,
            "current": False,
            "outside": True,
            "file_size": 1,
            "used_size": 1,
            "cluster_size": 1 << 20,
            "used_clusters": used,
        }
        for parent, guid in zip([None, *guids], guids)
    ]
    return {"bucket_size": (64 << 30) // len(used), "layers": layers}


def fleet_report(
    hosts: Sequence[str],
    infos: Sequence[Dict[str, Any]],
    *,
    forecasts: Optional[Sequence[Dict[str, Any]]] = None,
) -> Dict[str, Any]:
    """The report of a fleet of which nothing was checked or foretold unless it is said."""
    nothing: List[Dict[str, Any]] = [{}] * len(hosts)
    return build_report(hosts, infos, forecasts or nothing, title="T", stamp="S", scan="metadata")

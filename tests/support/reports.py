# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Answers of hosts, as the modules give them, for reports and pages."""

from __future__ import annotations

import random
import uuid
from typing import Any, Dict, List, Optional, Sequence, Tuple

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


def told(*disks: Tuple[Optional[Dict[str, Any]], Dict[str, Any]], **others: Any) -> Dict[str, Any]:
    """What hdd_maintain returns in check mode with facts: the facts of each disk, and what it foretells."""
    entries = [{**forecast, "facts": facts} for facts, forecast in disks]
    return {"disks": entries, "undescribed": [], "missing": [], "changed": False, **others}


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
    check: bool = True,
    merge: bool = True,
) -> Dict[str, Any]:
    """The report of a fleet of which nothing was checked or foretold unless it is said."""
    nothing: List[Dict[str, Any]] = [{}] * len(hosts)
    return build_report(
        hosts, infos, forecasts or nothing, title="T", stamp="S", scan="metadata", check=check, merge=merge
    )


def large_fleet(disks: int = 200, layers: int = 20, hosts: int = 8) -> Dict[str, Any]:
    """The report of many hosts whose disks have long chains with scattered data, names, findings and troubles."""
    chance = random.Random(disks * layers)
    per_host = -(-disks // hosts)
    names = [f"mac-build-{number:02}.farm.example" for number in range(hosts)]
    infos: List[Dict[str, Any]] = []
    forecasts: List[Dict[str, Any]] = []
    for host in range(hosts):
        told = [_large_disk(chance, host, number, layers) for number in range(min(per_host, disks - host * per_host))]
        bad = [
            {
                "path": f"/Users/build/Parallels/lost {number}.hdd",
                "error_code": code,
                "msg": "The descriptor is missing.",
            }
            for number, code in enumerate(("missing_descriptor", "damaged", "damaged"))
        ]
        absent = {"path": f"/Users/old/{host}", "exists": False}
        infos.append(info(*(facts for facts, _forecast in told), absent, failed=bad))
        forecasts.append(forecast(*(one for _facts, one in told)))
    infos.append({"unreachable": True, "msg": "Failed to connect to the host via ssh: No route to host"})
    forecasts.append({})
    return fleet_report([*names, "mac-build-99.farm.example"], infos, forecasts=forecasts)


def _large_disk(chance: random.Random, host: int, number: int, layers: int) -> Any:
    """Facts and forecast of one disk of a chain whose layers hold something in places of their own."""
    path = f"/Users/build/Parallels/macOS 15 runner {host}-{number}.pvm/macOS 15 runner {host}-{number}.hdd"
    guids = [f"{{{uuid.UUID(int=chance.getrandbits(128))}}}" for _layer in range(layers)]
    shots = [
        snapshot(
            guid,
            name=None if depth % 3 == 2 else f"Nightly build 2026.{depth:02} with tools",
            taken=None if depth % 3 == 2 else f"2026-0{1 + depth % 9}-11 04:{depth:02}:00",
            vm_snapshot=depth % 3 != 2,
            parent=guids[depth - 1] if depth else None,
            current=depth == layers - 2,
        )
        for depth, guid in enumerate(guids[:-1])
    ]
    used = [[chance.choice((0, 0, 0, 40, 300, 546)) for _part in range(120)] for _layer in range(layers)]
    maps = mapped(list(guids), used[0])
    for layer, held in zip(maps["layers"], used):
        layer.update(used_clusters=held, outside=False, file_size=sum(held) << 20, used_size=sum(held) << 20)
    facts = disk(
        path,
        depth=layers,
        snapshots=shots,
        map=maps,
        layers=[{"guid": guids[-1], "files": [{"size": GIB}], "outside": False}],
        vm={"name": f"macOS 15 runner {host}-{number}"},
        reclaimable={"leaked": chance.randrange(GIB), "zero": 5 << 20, "free_in_filesystem": chance.randrange(GIB)},
    )
    place = f"{path}/macOS 15 runner {host}-{number}.hdd.0.{guids[0]}.hds"
    found = [
        finding("leak_tail", "warning", "3 clusters at the end of the file belong to nothing", place),
        finding("backup_differs", "info", "the backup of the descriptor differs from it", path),
    ]
    if number % 7 == 0:
        found += [
            finding("entry_duplicate", "error", f"cluster {one} has the slot of another", place) for one in range(9)
        ]
        return facts, checked(path, *found)
    told = {"merged": guids[:5], "freed": chance.randrange(4 * GIB), "written": GIB, "outcome": "changed"}
    return facts, foretold(path, findings=found, **told)

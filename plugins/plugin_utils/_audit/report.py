# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a fleet, put together from the answers of its hosts: totals, and the disks with what each would
give back.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .tree import is_orphan

FORMAT = 1
"""Number of the shape of the report; it grows when a key changes its meaning or goes."""

Report = Dict[str, Any]
Answer = Mapping[str, Any]

_SIZES = ("virtual_size", "file_size", "allocated_size", "used_size")
# Nothing at the path, and no disk in the folder.
_ABSENT = ("not_found", "not_a_bundle")
_SEVERITIES = ("error", "warning", "info")


class _Asked(NamedTuple):
    """What the hosts were asked for besides facts."""

    check: bool
    merge: bool


def build_report(
    hosts: Sequence[str],
    infos: Sequence[Answer],
    forecasts: Sequence[Answer],
    *,
    title: str,
    stamp: str,
    scan: str,
    check: bool = True,
    merge: bool = True,
) -> Report:
    """One report of all ``hosts``, from what hdd_info and hdd_maintain in check mode returned on each: one entry per
    host in each list, empty where there is none. An answer of hdd_maintain with facts is both. Without ``check`` or
    ``merge``, nobody asked for a check, or for what a merge would do.
    """
    asked = _Asked(check, merge)
    told = [_host(name, *_apart(*answers), asked) for name, *answers in zip(hosts, infos, forecasts)]
    return {"format": FORMAT, "title": title, "stamp": stamp, "scan": scan, "totals": _totals(told), "hosts": told}


def _apart(answer: Answer, forecast: Answer) -> Tuple[Answer, Answer]:
    """What hdd_info would have answered, and what is foretold."""
    if "undescribed" not in answer:
        return answer, forecast
    described = [one["facts"] for one in answer["disks"] if one["facts"] is not None]
    absent = [one for one in answer["missing"] if one["error_code"] in _ABSENT]
    others = [one for one in answer["missing"] if one["error_code"] not in _ABSENT]
    return {
        **answer,
        "disks": [*described, *({"path": one["path"], "exists": False, "msg": one["msg"]} for one in absent)],
        "failed_disks": [*answer["undescribed"], *others],
    }, forecast or answer


def _host(name: str, info: Answer, forecast: Answer, asked: _Asked) -> Report:
    # A disk may have been named by a file in it.
    foretold = {str((one.get("facts") or one)["path"]): one for one in forecast.get("disks") or ()}
    described: List[Mapping[str, Any]] = list(info.get("disks") or ())
    there = [disk for disk in described if disk.get("exists")]
    disks = [_disk(disk, foretold.get(disk["path"]), asked) for disk in there]
    return {
        "name": str(name),
        "status": _status(info),
        "message": _message(info),
        "disks": sorted(disks, key=lambda disk: (-disk["gain"]["total"], disk["path"])),
        "failed_disks": [
            {**one, "findings": list(foretold.get(one["path"], {}).get("findings") or ())}
            for one in info.get("failed_disks") or ()
        ],
        "absent": [disk["path"] for disk in described if not disk.get("exists")],
        "absent_messages": {disk["path"]: disk["msg"] for disk in described if disk.get("msg")},
    }


def _status(info: Answer) -> str:
    if info.get("unreachable") or not info:
        return "unreachable"
    return "ok" if "disks" in info and not info.get("failed") and not info.get("error_code") else "failed"


def _message(info: Answer) -> Optional[str]:
    if not info:
        return "The host gave no answer: it was not reached, or failed before the audit."
    return (
        None
        if _status(info) == "ok"
        else str(info.get("msg") or info.get("module_stderr") or "The facts could not be gathered.")
    )


def _disk(facts: Mapping[str, Any], foretold: Optional[Answer], asked: _Asked) -> Report:
    check = _check(foretold if asked.check else None)
    merge = _merge(facts, foretold if asked.merge else None)
    compact = sum(size or 0 for size in facts["reclaimable"].values())
    freed = max(0, merge["freed"] or 0) if merge is not None else 0
    return {
        **facts,
        "orphan_layers": _orphan_layers(facts, merge),
        "check": check,
        "merge": merge,
        "gain": {"compact": compact, "merge": freed, "total": compact + freed},
    }


def _check(foretold: Optional[Answer]) -> Optional[Report]:
    if foretold is None or (foretold["findings"] is None and foretold["before"] is not None):
        return None
    if foretold["findings"] is None:
        reason = {"error_code": foretold["error_code"], "msg": str(foretold["reason"] or "")}
        return {"healthy": None, "findings": [], "counts": {}, **reason}
    findings = list(foretold["findings"])
    counts = {severity: sum(one["severity"] == severity for one in findings) for severity in _SEVERITIES}
    return {
        "healthy": not counts["error"] + counts["warning"],
        "findings": findings,
        "counts": {**counts, "repaired": 0},
        "error_code": None,
        "msg": None,
    }


def _merge(facts: Mapping[str, Any], foretold: Optional[Answer]) -> Optional[Report]:
    """What a merge of orphan layers would do. None for a disk without snapshots, and for one that is not healthy."""
    if foretold is None or not facts["snapshots"] or foretold["before"] is None:
        return None
    is_refused = foretold["error_code"] is not None
    return {
        "layers_before": foretold["before"]["layers"],
        "layers_after": foretold["after"]["layers"],
        "freed": None if is_refused else foretold["freed"],
        "bytes_written": foretold["written"],
        "error_code": foretold["error_code"],
        "merged": list(foretold["merged"]),
        "msg": str(foretold["reason"] or "") if is_refused else None,
    }


def _orphan_layers(facts: Mapping[str, Any], merge: Optional[Report]) -> Optional[int]:
    """Layers that no snapshot of the machine names, and nobody else; without a machine there is no list that names
    them. None when nobody can tell what the machine names.
    """
    listed = any(one["vm_snapshot"] for one in facts["snapshots"])
    # A list of snapshots that cannot be read looks like an empty one; the merge is refused for it.
    is_doubtful = merge is not None and merge["error_code"] == "has_snapshots" and not listed
    return None if is_doubtful and facts["vm"] is not None else sum(map(is_orphan, facts["snapshots"]))


def _totals(hosts: Sequence[Report]) -> Report:
    disks = [disk for host in hosts for disk in host["disks"]]
    return {
        "hosts": len(hosts),
        "hosts_without_answer": sum(host["status"] != "ok" for host in hosts),
        "disks": len(disks),
        "failed_disks": sum(len(host["failed_disks"]) for host in hosts),
        **{key: sum(disk[key] or 0 for disk in disks) for key in _SIZES},
        "snapshots": sum(len(disk["snapshots"]) for disk in disks),
        "orphan_layers": sum(disk["orphan_layers"] or 0 for disk in disks),
        "disks_with_unknown_orphans": sum(disk["orphan_layers"] is None for disk in disks),
        "reclaimable": _reclaimable(disks),
        "gain": sum(disk["gain"]["total"] for disk in disks),
        "findings": {severity: _found(hosts, severity) for severity in _SEVERITIES},
        "unhealthy_disks": sum(disk["check"] is not None and disk["check"]["healthy"] is not True for disk in disks),
    }


def _reclaimable(disks: Iterable[Report]) -> Report:
    """Sums by reason; None for what was looked at on no disk. ``merge`` is what merging frees."""
    sums: Dict[str, Optional[int]] = {}
    for disk in disks:
        for reason, size in [
            *disk["reclaimable"].items(),
            ("merge", disk["gain"]["merge"] if disk["merge"] is not None else None),
        ]:
            known = sums.get(reason)
            sums[reason] = known if size is None else (known or 0) + size
    return sums


def _found(hosts: Iterable[Report], severity: str) -> int:
    """How many findings there are, those on disks that cannot be understood included."""
    of_disks = sum(
        disk["check"]["counts"].get(severity, 0)
        for host in hosts
        for disk in host["disks"]
        if disk["check"] is not None
    )
    return of_disks + sum(
        one["severity"] == severity for host in hosts for disk in host["failed_disks"] for one in disk["findings"]
    )

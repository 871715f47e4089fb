# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs of maintenance did to the disks of a host, and how it is told to people."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Any, Dict, List, Mapping, Sequence

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import format_size

Answer = Mapping[str, Any]
Entry = Dict[str, Any]

CHANGED = "changed"
UNCHANGED = "unchanged"
SKIPPED = "skipped"
FAILED = "failed"
STATUSES = (FAILED, SKIPPED, CHANGED, UNCHANGED)

_SUMS = ("size_before", "size_after", "bytes_written")
_NOTHING = {"layers": 0, "file_size": 0}
_MOST_NAMES = 5


def machines_of(result: Answer) -> List[Entry]:
    """The machines that are in use, and for whose disks there is something to do, each with its disks."""
    machines: Dict[str, Entry] = {}
    for disk in result.get("disks") or ():
        if disk["worthwhile"]:
            machine = disk["machine"] or {"name": None, "uuid": None, "path": disk["path"]}
            machines.setdefault(machine["path"], {**machine, "disks": []})["disks"].append(disk["path"])
    return list(machines.values())


def host_report(results: Sequence[Answer]) -> Dict[str, Any]:
    """The report of one host, with a summary in lines. What a later result says of a disk counts.

    Instead of a result there may be a machine that could not be ``stopped``, and why.
    """
    entries: Dict[str, Entry] = {}
    missing: Dict[str, str] = {}
    for result in results:
        if "stopped" in result:
            for path in result["stopped"]["disks"]:
                entries[path] = {**entries[path], "status": FAILED, "reason": result["msg"]}
        for disk in result.get("disks") or ():
            entries[disk["path"]] = _entry(disk)
        missing.update({one["path"]: one["msg"] for one in result.get("missing") or ()})
    disks = list(entries.values())
    report: Dict[str, Any] = {
        "disks": disks,
        "absent": list(missing),
        "unfinished": _unfinished(results),
        "predicted": any(result.get("predicted") for result in results),
        "earlier": [_earlier(result["earlier"]) for result in results if result.get("earlier")],
        **{status: sum(one["status"] == status for one in disks) for status in STATUSES},
        **{key: sum(one[key] for one in disks) for key in _SUMS},
    }
    report["summary"] = _summary(report, missing)
    return report


def _unfinished(results: Sequence[Answer]) -> List[str]:
    """A disk that a later run looked at is unfinished only if that one says so."""
    left: Dict[str, None] = {}
    for result in results:
        for disk in result.get("disks") or ():
            left.pop(disk["path"], None)
        left.update(dict.fromkeys(result.get("unfinished") or ()))
    return list(left)


def _earlier(run: Answer) -> Entry:
    """A run that was cut off, and what it had done."""
    return {"began": run["began"], "cut_at": run["cut_at"], "disks": [_entry(disk) for disk in run["disks"]]}


def _entry(disk: Answer) -> Entry:
    before, after = disk["before"] or _NOTHING, disk["after"] or _NOTHING
    reason = disk["reason"]
    if disk["worthwhile"]:
        reason = f"{reason} There is something to do."
    return {
        "path": disk["path"],
        "name": posixpath.basename(disk["path"]),
        "status": disk["outcome"],
        "reason": reason,
        "error_code": disk["error_code"],
        "findings": _codes(disk["findings"] or ()),
        "layers_before": before["layers"],
        "layers_after": after["layers"],
        "size_before": before["file_size"],
        "size_after": after["file_size"],
        "merged": len(disk["merged"]),
        "snapshots_merged": _names(disk, is_merged=True),
        "snapshots_kept": _names(disk, is_merged=False),
        "reclaimed": disk["reclaimed"],
        "bytes_written": disk["written"],
    }


def _names(disk: Answer, *, is_merged: bool) -> List[str]:
    """What the snapshots are called that were merged away, or that are still there. Others have no name."""
    return [one["name"] or one["guid"] for one in disk["snapshots"] if one["merged"] == is_merged]


def _codes(findings: Sequence[Answer]) -> List[str]:
    return list(dict.fromkeys(one["code"] for one in findings if one["severity"] != "info" and not one["repaired"]))


def _summary(report: Mapping[str, Any], missing: Mapping[str, str]) -> List[str]:
    would = report["predicted"]
    counts = (
        f"{report[CHANGED]} {'would change' if would else 'changed'}, {report[UNCHANGED]} unchanged, "
        f"{report[SKIPPED]} skipped, {report[FAILED]} failed"
    )
    amounts = (
        f"{format_size(report['size_before'])} -> {format_size(report['size_after'])}, "
        f"{format_size(report['bytes_written'])}"
    )
    number = len(report["disks"])
    head = f"{number} {'disk' if number == 1 else 'disks'}: {counts}; {amounts} {'to write' if would else 'written'}"
    absent = (f"{'absent':<9} {path}; {why}" for path, why in missing.items())
    earlier = [line for run in report["earlier"] for line in _earlier_lines(run)]
    return [*earlier, head, *(_line(one) for one in report["disks"]), *absent]


def _earlier_lines(run: Answer) -> List[str]:
    """What is to be known of a run that was cut off: the disks that it changed, and those that it could not."""
    where = f" at {run['cut_at']}" if run["cut_at"] else ""
    number = len(run["disks"])
    head = f"A run that began {run['began']} was cut off{where}. It was done with {number} disk{'s' * (number != 1)}."
    return [head, *(f"earlier: {_line(one)}" for one in run["disks"] if one["status"] in (CHANGED, FAILED))]


def _line(entry: Entry) -> str:
    parts = [f"{entry['status']:<9} {entry['path']}"]
    if entry["size_before"] != entry["size_after"]:
        parts.append(f"{format_size(entry['size_before'])} -> {format_size(entry['size_after'])}")
    if entry["merged"]:
        parts.append(f"{entry['layers_before']} -> {entry['layers_after']} layers")
    for what, names in (("merged", entry["snapshots_merged"]), ("kept", entry["snapshots_kept"])):
        if names:
            more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
            parts.append(f"{what} {', '.join([*names[:_MOST_NAMES], *more])}")
    if entry["reclaimed"]:
        parts.append(f"{format_size(entry['reclaimed'])} compacted")
    if entry["findings"]:
        parts.append(f"found {', '.join(entry['findings'])}")
    if entry["reason"]:
        parts.append(entry["reason"])
    return "; ".join(parts)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of maintenance did to each disk of a host, and how it is told to people."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import format_size

Answer = Mapping[str, Any]
Entry = Dict[str, Any]

CHANGED = "changed"
UNCHANGED = "unchanged"
SKIPPED = "skipped"
FAILED = "failed"
STATUSES = (FAILED, SKIPPED, CHANGED, UNCHANGED)

PARDONED = ("in_use", "dirty", "suspended", "shared_layer", "stale_plan", "has_snapshots", "encrypted")
"""Error codes of what keeps a disk from being worked on without anything being wrong with it."""


def disk_entry(
    disk: Answer, *, check: Answer, merge: Answer, compact: Answer, is_over: bool, is_predicted: bool
) -> Entry:
    """One line of the report: the facts of the disk before, and what the modules returned; an empty answer is for
    what did not run.
    """
    complaints = [one for one in (check, merge, compact) if _is_complaint(one)]
    if disk.get("clones") and not any(one.get("error_code") == "shared_layer" for one in complaints):
        complaints.append(_stood_on(disk))
    is_changed = bool(merge.get("changed") or compact.get("changed"))
    after = compact.get("disk") or merge.get("disk") or disk
    entry = _entry(disk["path"], disk["name"])
    entry.update(
        status=_status(disk, complaints, is_changed, is_over),
        reason=_reason(disk, complaints, is_over, waits=is_predicted and bool(merge.get("changed"))),
        error_code=next((one["error_code"] for one in complaints if one.get("error_code")), None),
        findings=_codes(check),
        layers_before=disk["depth"],
        layers_after=after["depth"],
        size_before=disk["file_size"],
        size_after=after["file_size"],
        merged=len(merge.get("merged") or ()),
        reclaimed=compact.get("reclaimed") or 0,
        bytes_written=(merge.get("bytes_written") or 0) + (compact.get("bytes_written") or 0),
    )
    return entry


def _entry(path: str, name: Optional[str]) -> Entry:
    sums = dict.fromkeys(
        ("layers_before", "layers_after", "size_before", "size_after", "merged", "reclaimed", "bytes_written"), 0
    )
    return {"path": path, "name": name, "status": FAILED, "reason": None, "error_code": None, "findings": [], **sums}


def _stood_on(disk: Answer) -> Answer:
    """Why the parent of a linked clone was left alone."""
    clone = disk["clones"][0]
    text = f"The linked clone {clone['disk']} stands on {clone['image']}, so the disk was neither merged nor compacted."
    return {"error_code": "shared_layer", "msg": text}


def _is_complaint(answer: Answer) -> bool:
    """Whether the module told of an error. One that broke down has no code, but none of the results either."""
    return bool(answer.get("error_code")) or (
        bool(answer) and not answer.get("skipped") and "disk" not in answer and "findings" not in answer
    )


def _status(disk: Answer, complaints: Sequence[Answer], is_changed: bool, is_over: bool) -> str:
    if any(one.get("error_code") not in PARDONED for one in complaints):
        return FAILED
    if is_changed:
        return CHANGED
    return SKIPPED if disk["state"] == "in_use" or complaints or is_over else UNCHANGED


def _reason(disk: Answer, complaints: Sequence[Answer], is_over: bool, *, waits: bool) -> Optional[str]:
    if complaints:
        return " ".join(
            dict.fromkeys(str(one.get("msg") or "The module ended without an answer.") for one in complaints)
        )
    if disk["state"] == "in_use":
        return (
            "Held by " + (", ".join(dict.fromkeys(str(lock["owner"]) for lock in disk["locks"])) or "a process") + "."
        )
    if is_over:
        return "The time or the amount of data for this run is used up."
    return "What compaction gives back is known after the merge." if waits else None


def _codes(check: Answer) -> List[str]:
    return list(
        dict.fromkeys(
            one["code"] for one in check.get("findings") or () if one["severity"] != "info" and not one["repaired"]
        )
    )


def host_report(
    entries: Sequence[Entry], *, failed_disks: Sequence[Answer], absent: Sequence[str], is_predicted: bool
) -> Dict[str, Any]:
    """The report of one host, with a summary in lines."""
    disks = [
        *entries,
        *(
            {**_entry(one["path"], None), "reason": one.get("msg"), "error_code": one.get("error_code")}
            for one in failed_disks
        ),
    ]
    report: Dict[str, Any] = {
        "disks": disks,
        "absent": list(absent),
        "predicted": is_predicted,
        **{status: sum(one["status"] == status for one in disks) for status in STATUSES},
        **{key: sum(one[key] for one in disks) for key in ("size_before", "size_after", "bytes_written")},
    }
    report["summary"] = _summary(report)
    return report


def _summary(report: Mapping[str, Any]) -> List[str]:
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
    return [head, *(_line(one) for one in report["disks"]), *(f"{'absent':<9} {path}" for path in report["absent"])]


def _line(entry: Entry) -> str:
    parts = [f"{entry['status']:<9} {entry['path']}"]
    if entry["size_before"] != entry["size_after"]:
        parts.append(f"{format_size(entry['size_before'])} -> {format_size(entry['size_after'])}")
    if entry["merged"]:
        parts.append(f"{entry['layers_before']} -> {entry['layers_after']} layers")
    if entry["reclaimed"]:
        parts.append(f"{format_size(entry['reclaimed'])} compacted")
    if entry["findings"]:
        parts.append(f"found {', '.join(entry['findings'])}")
    if entry["reason"]:
        parts.append(entry["reason"])
    return "; ".join(parts)

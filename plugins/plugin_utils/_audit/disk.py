# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One disk on the page: its figures, its layers, and what a check found."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence, Tuple

from .layers import layers_of
from .markup import chip, count, element, escaped, joined, plain_list, size

Disk = Mapping[str, Any]

REASONS: Dict[str, str] = {
    "merge": "by merging layers",
    "zero": "clusters that hold zeros",
    "leaked": "clusters that no table names",
    "equal": "clusters that equal those below",
    "free_in_filesystem": "what the guest has deleted",
}
"""What gives room back, in the order in which it is drawn."""

_MOST_LISTED = 5
_MOST_SYSTEMS = 20
_ORDER = ("error", "warning", "info")


def disk_card(anchor: str, host: str, disk: Disk, *, columns: int, is_open: bool = True) -> str:
    """The section of one disk, folded unless it ``is_open``; profiles have so many ``columns``."""
    total = disk["gain"]["total"]
    told = f"<b>{escaped(size(total))}</b> to give back" if total else "nothing to give back"
    head = (
        f'<h3><bdi>{escaped(disk["name"])}</bdi></h3> <span class="gain">{told}</span> '
        f'<span class="path"><bdi>{escaped(host)}</bdi>: <bdi>{escaped(disk["path"])}</bdi></span> {chips(disk)}'
    )
    parts = [_stats(disk), _advice(disk), layers_of(disk, columns), _systems(disk), _findings(disk), _notes(disk)]
    return (
        f'<details class="disk card" id="{anchor}"{" open" if is_open else ""}>'
        f"<summary>{head}</summary>{joined(parts)}</details>"
    )


def chips(disk: Disk, *, short: bool = False) -> str:
    """What is to be seen at a glance. The short form leaves out what is as usual."""
    told: List[str] = []
    check = disk["check"]
    if check is not None:
        told += [
            chip(count(check["counts"][kind], kind), kind) for kind in ("error", "warning") if check["counts"].get(kind)
        ]
        if check["healthy"] is None:
            told.append(chip("check failed", "error"))
        elif check["healthy"]:
            told.append(chip("healthy", "good"))
    if disk["state"] != "clean":
        states = {"in_use": "in use", "dirty": "marked in use"}
        told.append(chip(states.get(disk["state"], str(disk["state"])), "warning"))
    if disk["orphan_layers"]:
        told.append(chip(count(disk["orphan_layers"], "orphan layer")))
    if disk["encrypted"]:
        told.append(chip("encrypted"))
    if not short:
        told.append(chip(disk["type"]))
        told += [chip("split")] * bool(disk["split"]) + [chip("single file")] * (disk["format"] == "single_file")
        if disk["vm"] is not None and disk["vm"]["name"]:
            told.append(chip(f"VM {disk['vm']['name']}"))
    return " ".join(told)


def _stats(disk: Disk) -> str:
    figures = [
        ("Guest disk", size(disk["virtual_size"])),
        ("On disk", size(disk["file_size"])),
        ("In use", size(disk["used_size"])),
        ("Host blocks", size(disk["allocated_size"])),
        ("Layers", str(disk["depth"])),
        ("Snapshots", str(len(disk["snapshots"]))),
    ]
    gains = {"merge": disk["gain"]["merge"], **disk["reclaimable"]}
    figures += [(f"Gives back: {REASONS.get(reason, reason)}", size(freed)) for reason, freed in gains.items() if freed]
    return element(
        "dl",
        "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in figures),
        class_="stats",
    )


def _advice(disk: Disk) -> str:
    """What a merge would do, or why it would not."""
    merge = disk["merge"]
    if merge is None:
        return ""
    if merge["msg"]:
        mark = chip(merge["error_code"] or "failed", "warning")
        return f'<p class="small">{mark} Merging would be refused: {escaped(merge["msg"])}</p>'
    if not merge["merged"]:
        return ""
    after = count(merge["layers_after"], "layer")
    return (
        f'<p class="small">Merging {count(len(merge["merged"]), "orphan layer")} would leave {after} of '
        f"{merge['layers_before']}, "
        f"move {escaped(size(merge['bytes_written']))} and give back {escaped(size(merge['freed']))}.</p>"
    )


def _systems(disk: Disk) -> str:
    """The file systems that a scan of them has found."""
    systems = disk.get("filesystems") or ()
    told = [_system(one) for one in systems[:_MOST_SYSTEMS]]
    if len(systems) > _MOST_SYSTEMS:
        told.append(f"And {len(systems) - _MOST_SYSTEMS} more; audit.json has them all.")
    return f'<h4>File systems of the guest</h4><div class="small">{plain_list(told)}</div>' if told else ""


def _system(one: Disk) -> str:
    label = f" <bdi>{escaped(one['label'])}</bdi>" if one.get("label") else ""
    sizes = [(key, one.get(key)) for key in ("free", "droppable")]
    figures = "".join(f", {escaped(size(value))} {key}" for key, value in sizes if value is not None)
    reason = f" ({escaped(one['reason'])})" if one.get("reason") else ""
    return f"{escaped(one.get('type') or 'unknown')}{label}: {escaped(size(one.get('size')))}{figures}{reason}"


def by_code(findings: Sequence[Disk]) -> List[Tuple[str, str, List[Disk]]]:
    """Severity and code with all findings of that kind, the worst first."""
    groups: Dict[Tuple[str, str], List[Disk]] = {}
    for one in findings:
        groups.setdefault((str(one["severity"]), str(one["code"])), []).append(one)
    ordered = sorted(groups.items(), key=lambda item: _ORDER.index(item[0][0]) if item[0][0] in _ORDER else len(_ORDER))
    return [(severity, code, found) for (severity, code), found in ordered]


def finding_rows(findings: Sequence[Disk], *, folder: str = "") -> str:
    """Findings by their codes as items of a list, the worst first. Places in ``folder`` are told without it."""
    return joined(_kind(severity, code, found, f"{folder}/") for severity, code, found in by_code(findings))


def _kind(severity: str, code: str, found: Sequence[Disk], folder: str) -> str:
    lines = [f"{escaped(one['message'])}{_place(one, folder)}" for one in found]
    if len(lines) > _MOST_LISTED:
        lines = [*lines[:_MOST_LISTED], f"And {len(found) - _MOST_LISTED} more; audit.json has them all."]
    label = f"<code>{escaped(code)}</code>" + (f" {len(found)}\N{MULTIPLICATION SIGN}" if len(found) > 1 else "")
    return f"<li>{chip(severity, severity)}<div>{label}{plain_list(lines)}</div></li>"


def _place(finding: Disk, folder: str) -> str:
    """Where it was found; nothing for the disk itself."""
    where = str(finding["where"])
    if f"{where}/" == folder:
        return ""
    place = where[len(folder) :] if folder != "/" and where.startswith(folder) else where
    return f" <span class='path'><bdi>{escaped(place)}</bdi></span>"


def _findings(disk: Disk) -> str:
    check = disk["check"]
    if check is None:
        return ""
    if check["msg"]:
        mark = chip(check["error_code"] or "failed", "error")
        return f'<h4>Findings</h4><p class="small">{mark} {escaped(check["msg"])}</p>'
    rows = finding_rows(check["findings"], folder=disk["path"])
    return f'<h4>Findings</h4><ul class="findings small">{rows}</ul>' if rows else ""


def _notes(disk: Disk) -> str:
    notes = [*disk["warnings"]]
    if disk["check"] is None:
        notes += [f"{name}: an image file that the descriptor does not name." for name in disk["orphan_files"]]
    return f'<h4>Notes</h4><div class="small">{plain_list(map(escaped, notes))}</div>' if notes else ""

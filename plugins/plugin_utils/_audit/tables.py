# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tables of the page: all disks, and all hosts. A script lets them be sorted; each figure is there as a number,
too.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .disk import REASONS, chips
from .markup import chip, escaped, joined, size
from .pictures import shares

Report = Mapping[str, Any]
Disks = Sequence[Tuple[str, Report]]

_CLASSES = {"free_in_filesystem": "filesystem"}
_FILTER = (
    '<div class="filter" hidden><label for="filter">Show only disks with</label> '
    '<input id="filter" type="search" autocomplete="off" placeholder="host, path, snapshot, finding"> '
    '<span id="shown" class="soft" role="status"></span></div>'
)


def class_of(reason: str) -> str:
    """The class of the part of a bar that stands for a reason."""
    return _CLASSES.get(reason, reason if reason in REASONS else "other")


def parts_of(reclaimable: Mapping[str, Optional[int]], whole: int) -> List[Tuple[str, int]]:
    """The parts of a bar: what stays, then what goes and why. More than there is never goes."""
    left = whole
    parts: List[Tuple[str, int]] = []
    for reason in [*REASONS, *(other for other in reclaimable if other not in REASONS)]:
        part = max(0, min(reclaimable.get(reason) or 0, left))
        left -= part
        parts.append((class_of(reason), part))
    return [("used", left), *parts]


def disk_table(disks: Disks) -> str:
    """All disks, those first that give back most, below the box that filters the whole page."""
    heading = '<h2 id="disks">Disks</h2>'
    if not disks:
        return f'<section>{heading}<p class="card">No disk was found.</p></section>'
    most = max(disk["gain"]["total"] for _host, disk in disks)
    rows = joined(_disk_row(number, host, disk, most) for number, (host, disk) in enumerate(disks, 1))
    columns = _columns("Disk", "Host", "Layers", "On disk", "Gives back", "", "State")
    table = _table("disks", "all-disks", columns, rows)
    return f"<section>{heading}{_FILTER}{table}</section>"


def host_table(report: Report) -> str:
    """All hosts, those first whose disks give back most."""
    hosts = sorted(
        report["hosts"], key=lambda host: (-sum(disk["gain"]["total"] for disk in host["disks"]), host["name"])
    )
    rows = joined(_host_row(host) for host in hosts)
    table = _table("hosts", "all-hosts", _columns("Host", "Disks", "On disk", "Gives back"), rows)
    return f'<section><h2 id="hosts">Hosts</h2>{table}</section>'


def _table(name: str, kind: str, columns: str, rows: str) -> str:
    table = f'<table class="{kind}"><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="card scroll" tabindex="0" role="region" aria-labelledby="{name}">{table}</div>'


def _columns(*names: str) -> str:
    """The heads of columns. Rows are in the order of what is given back when the page is made."""
    sorted_by = ' aria-sort="descending"'
    return "".join(
        f'<th scope="col"{sorted_by if name == "Gives back" else ""}>{name}</th>' if name else "<td></td>"
        for name in names
    )


def _number(value: int, text: Optional[str] = None) -> str:
    return f'<td data-v="{value}">{escaped(value if text is None else text)}</td>'


def _size(value: Optional[int]) -> str:
    return _number(-1 if value is None else value, size(value))


def _disk_row(number: int, host: str, disk: Report, most: int) -> str:
    name = f'<a href="#disk-{number}"><bdi>{escaped(disk["name"])}</bdi></a>'
    cells = [
        f'<th scope="row">{name} <span class="path"><bdi>{escaped(disk["path"])}</bdi></span></th>',
        f"<td><bdi>{escaped(host)}</bdi></td>",
        _number(disk["depth"]),
        _size(disk["file_size"]),
        _size(disk["gain"]["total"]),
        f"<td>{_bar(disk, most)}</td>",
        f'<td data-v="{_trouble(disk)}">{chips(disk, short=True)}</td>',
    ]
    return f'<tr data-disk="disk-{number}">{"".join(cells)}</tr>'


def _bar(disk: Report, most: int) -> str:
    total = disk["gain"]["total"]
    if not total:
        return ""
    known: Dict[str, Optional[int]] = {**disk["reclaimable"], "merge": disk["gain"]["merge"]}
    parts = [one for one in parts_of(known, total) if one[0] != "used"]
    told = ", ".join(f"{size(known[reason])} {REASONS.get(reason, reason)}" for reason in known if known[reason])
    return shares(parts, most, title="Gives back", description=told)


def _trouble(disk: Report) -> int:
    """What a column of states is sorted by: the worst is the greatest."""
    check = disk["check"]
    if check is None:
        return 0
    if check["healthy"] is None:
        return 1_000_000
    return 1000 * int(check["counts"].get("error", 0)) + int(check["counts"].get("warning", 0))


def _host_row(host: Report) -> str:
    marks = ""
    if host["status"] != "ok":
        marks += " " + chip("no answer" if host["status"] == "unreachable" else "failed", "error")
    if host["failed_disks"]:
        marks += " " + chip(f"{len(host['failed_disks'])} not understood", "error")
    cells = [
        f'<th scope="row"><bdi>{escaped(host["name"])}</bdi>{marks}</th>',
        _number(len(host["disks"])),
        _size(sum(disk["file_size"] or 0 for disk in host["disks"])),
        _size(sum(disk["gain"]["total"] for disk in host["disks"])),
    ]
    return f"<tr>{''.join(cells)}</tr>"

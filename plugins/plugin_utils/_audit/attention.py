# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What needs attention: hosts without an answer, disks that are not understood, disks that are not well. Each kind of
trouble is told once, with its disks.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import RULES

from .markup import chip, count, escaped, joined, plain_list

Report = Mapping[str, Any]
Disks = Sequence[Tuple[str, Report]]

_MOST_OPEN = 8
"""When all lists together have more items, they are folded, so that the disks stay near the top of the page."""


class Trouble(NamedTuple):
    """One kind of trouble: what it is called, what it means, how much of it there is, and where, as HTML."""

    severity: str
    label: str
    meaning: str
    amount: str
    places: List[str]


def attention(report: Report, disks: Disks) -> str:
    """The whole section."""
    troubles = troubles_of(report, disks)
    heading = '<h2 id="attention">What needs attention</h2>'
    if not troubles:
        well = f"{chip('all well', 'good')} Every host answered, and every disk was understood."
        return f'<section>{heading}<p class="card">{well}</p></section>'
    is_open = sum(len(one.places) for one in troubles) <= _MOST_OPEN
    rows = joined(_row(one, is_open=is_open) for one in troubles)
    return f'<section>{heading}<ul class="findings card">{rows}</ul></section>'


def troubles_of(report: Report, disks: Disks) -> List[Trouble]:
    """All kinds of trouble: errors first, and of them those for which nothing is known of a host or a disk."""
    found = [*_silent(report), *_unread(report), *_absent(report), *_unchecked(disks), *_found(disks)]
    return sorted(found, key=lambda one: one.severity != "error")


def _row(trouble: Trouble, *, is_open: bool) -> str:
    told = f"<code>{escaped(trouble.label)}</code> {escaped(trouble.amount)}"
    meaning = f": {escaped(trouble.meaning)}" if trouble.meaning else ""
    return (
        f"<li>{chip(trouble.severity, trouble.severity)}<details{' open' if is_open else ''}>"
        f"<summary>{told}{meaning}</summary>{plain_list(trouble.places)}</details></li>"
    )


def _silent(report: Report) -> Iterator[Trouble]:
    states = {"unreachable": ("no answer", "it was not reached"), "failed": ("failed", "its disks are not known")}
    for status, (label, meaning) in states.items():
        hosts = [host for host in report["hosts"] if host["status"] == status]
        places = [_told(host["name"], "", host["message"]) for host in hosts]
        if places:
            yield Trouble("error", label, meaning, f"from {count(len(places), 'host')}", places)


def _unread(report: Report) -> Iterator[Trouble]:
    """Disks that are not understood, by the code of the error."""
    groups: Dict[str, List[str]] = {}
    for host in report["hosts"]:
        for disk in host["failed_disks"]:
            found = ", ".join(dict.fromkeys(one["code"] for one in disk["findings"] if one["severity"] == "error"))
            text = str(disk.get("msg", "")) + (f" A check found: {found}." if found else "")
            place = _told(host["name"], disk.get("path", ""), text)
            groups.setdefault(disk.get("error_code") or "failed", []).append(place)
    for code, places in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        yield Trouble("error", code, "nothing is known of it", _on(places), places)


def _absent(report: Report) -> Iterator[Trouble]:
    places = [
        _told(host["name"], path, host["absent_messages"].get(path, ""))
        for host in report["hosts"]
        for path in host["absent"]
    ]
    if places:
        yield Trouble("warning", "absent", "there is no disk", f"at {count(len(places), 'path')}", places)


def _unchecked(disks: Disks) -> Iterator[Trouble]:
    groups: Dict[str, List[str]] = {}
    for number, (host, disk) in enumerate(disks, 1):
        check = disk["check"]
        if check is not None and check["healthy"] is None:
            place = f"{_link(number, host, disk['path'])}<br>{escaped(check['msg'] or '')}"
            groups.setdefault(check["error_code"] or "failed", []).append(place)
    for code, places in sorted(groups.items()):
        yield Trouble("error", code, "it could not be checked", _on(places), places)


def _found(disks: Disks) -> Iterator[Trouble]:
    """Each code of an error or a warning, with the disks on which it was found, those of most disks first."""
    found: Dict[Tuple[str, str], Dict[int, str]] = {}
    numbers: Dict[Tuple[str, str], int] = {}
    for number, (host, disk) in enumerate(disks, 1):
        for one in (disk["check"] or {}).get("findings") or ():
            if one["severity"] != "info" and not one["repaired"]:
                key = (one["severity"], one["code"])
                found.setdefault(key, {})[number] = _link(number, host, disk["path"])
                numbers[key] = numbers.get(key, 0) + 1
    for key, links in sorted(found.items(), key=lambda item: (item[0][0] != "error", -len(item[1]), item[0][1])):
        severity, code = key
        meaning, places = RULES[code].meaning if code in RULES else "", list(links.values())
        times = f", {count(numbers[key], 'finding')}" if numbers[key] > len(places) else ""
        yield Trouble(severity, code, meaning, _on(places) + times, places)


def _on(places: Sequence[str]) -> str:
    return f"on {count(len(places), 'disk')}"


def _told(host: str, path: str, message: object = "") -> str:
    told = f"<b><bdi>{escaped(host)}</bdi></b> <span class='path'><bdi>{escaped(path)}</bdi></span>"
    return f"{told}<br>{escaped(message)}" if message else told


def _link(number: int, host: str, path: str) -> str:
    return f'<a href="#disk-{number}"><bdi>{escaped(host)}</bdi>: <bdi>{escaped(path)}</bdi></a>'

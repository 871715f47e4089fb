# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of an audit: one HTML document that shows a report and needs nothing else."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import RULES

from .disk import chips, disk_article
from .look import SCRIPT, STYLE, policy
from .markup import count, element, escaped, joined, size
from .pictures import shares

Report = Mapping[str, Any]

REASONS: Dict[str, str] = {
    "merge": "by merging layers",
    "zero": "clusters that hold zeros",
    "leaked": "clusters that no table names",
    "equal": "clusters that equal those below",
    "free_in_filesystem": "free in the guest's file systems",
}
"""What gives room back, in the order in which it is drawn."""

_MOST_OPEN = 5
"""Lists and fleets of more disks are folded."""

_LOOKED = {
    "metadata": "Only tables were looked at",
    "filesystem": "All allocated clusters were read, but for what is free in the guest's file systems,",
}
_CLASSES = {"free_in_filesystem": "filesystem"}


def render(report: Report) -> str:
    """The whole document. Whatever comes from hosts and disks is text in it, never markup."""
    disks = _ordered(report)
    body = joined(
        [
            _header(report),
            "<main>",
            _tiles(report["totals"]),
            _shares(report["totals"]),
            _attention(report, disks),
            _table(disks),
            _hosts(report),
            _articles(disks),
            "</main>",
            _footer(report),
        ]
    )
    head = joined(
        [
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escaped(policy()).replace("&#x27;", chr(39))}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            f"<title>{escaped(report['title'])}</title>",
            f"<style>{STYLE}</style>",
        ]
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n'
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _ordered(report: Report) -> List[Tuple[str, Report]]:
    """All disks with their hosts, those first that give back most."""
    disks = [(host["name"], disk) for host in report["hosts"] for disk in host["disks"]]
    return sorted(
        disks, key=lambda one: (-one[1]["gain"]["total"], -(one[1]["file_size"] or 0), one[0], one[1]["path"])
    )


def _header(report: Report) -> str:
    totals = report["totals"]
    hosts = count(totals["hosts"], "host")
    return (
        f"<header><h1>{escaped(report['title'])}</h1><p class='soft'>{hosts}, "
        f"{count(totals['disks'], 'disk')}. As of {escaped(report['stamp'])}.</p></header>"
    )


def _tiles(totals: Report) -> str:
    silent, failed, found = totals["hosts_without_answer"], totals["failed_disks"], totals["findings"]
    answered = "all answered" if not silent else f"{silent} without an answer"
    tiles = [
        _tile("Could be given back", size(totals["gain"]), f"at most, of {size(totals['file_size'])}", "hero"),
        _tile("On disk", size(totals["file_size"]), f"{size(totals['allocated_size'])} of host blocks"),
        _tile("In use", size(totals["used_size"]), f"for {size(totals['virtual_size'])} of guest disk"),
        _tile("Hosts", str(totals["hosts"]), answered),
        _tile("Disks", str(totals["disks"]), "all understood" if not failed else f"and {failed} not understood"),
        _tile("Orphan layers", str(totals["orphan_layers"]), f"of {count(totals['snapshots'], 'snapshot')}"),
        _tile(
            "Findings",
            str(found["error"] + found["warning"]),
            f"{count(found['error'], 'error')}, {count(found['warning'], 'warning')}",
        ),
    ]
    return element("dl", "".join(tiles), class_="tiles")


def _tile(name: str, value: str, more: str, kind: Optional[str] = None) -> str:
    return element("div", f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd><dd>{escaped(more)}</dd>", class_=kind)


def parts_of(reclaimable: Mapping[str, Optional[int]], whole: int) -> List[Tuple[str, int]]:
    """The parts of a bar: what stays, then what goes and why. More than there is never goes."""
    left = whole
    parts: List[Tuple[str, int]] = []
    for reason in [*REASONS, *(other for other in reclaimable if other not in REASONS)]:
        part = max(0, min(reclaimable.get(reason) or 0, left))
        left -= part
        parts.append((_CLASSES.get(reason, reason), part))
    return [("used", left), *parts]


def _shares(totals: Report) -> str:
    reclaimable = totals["reclaimable"]
    parts = dict(parts_of(reclaimable, totals["file_size"]))
    told = [("used", "stays", parts["used"])]
    told += [
        (_CLASSES.get(reason, reason), REASONS.get(reason, reason), reclaimable[reason])
        for reason in REASONS
        if reclaimable.get(reason) is not None
    ]
    title = "What the files of all disks hold"
    description = "; ".join(f"{name}: {size(part)}" for _kind, name, part in told)
    legend = "".join(
        f"<li>{_swatch(kind)}{escaped(name)} <b>{escaped(size(part))}</b></li>" for kind, name, part in told
    )
    drawn = shares(list(parts.items()), totals["file_size"], title=title, description=description)
    return f"<figure class='card'>{drawn}<figcaption><ul class='legend'>{legend}</ul></figcaption></figure>"


def _swatch(kind: str) -> str:
    return (
        f"<svg width='12' height='12' aria-hidden='true' focusable='false'>"
        f"<rect class='part-{escaped(kind)}' width='12' height='12'/></svg>"
    )


def _attention(report: Report, disks: Sequence[Tuple[str, Report]]) -> str:
    """Hosts without an answer, disks that are not understood, disks that are not well."""
    rows: List[str] = []
    for host in report["hosts"]:
        if host["status"] != "ok":
            rows.append(
                _note(
                    "error",
                    "no answer" if host["status"] == "unreachable" else "failed",
                    host["name"],
                    "",
                    host["message"],
                )
            )
    for host in report["hosts"]:
        rows += [_failed_disk(host["name"], one) for one in host["failed_disks"]]
        rows += [
            _note("warning", "absent", host["name"], path, "There is nothing at this path.") for path in host["absent"]
        ]
    rows += _unchecked(disks) + _findings_by_code(disks)
    heading = "<h2 id='attention'>What needs attention</h2>"
    if not rows:
        return (
            f"{heading}<p class='card'><span class='chip good'>all well</span> Every host answered, "
            f"and every disk was understood.</p>"
        )
    return f"{heading}<ul class='findings card'>{joined(rows)}</ul>"


def _note(severity: str, label: str, host: str, path: str, message: Optional[str]) -> str:
    return (
        f"<li><span><span class='chip {severity}'>{escaped(label)}</span></span>"
        f"<span>{_where(host, path)}<br>{escaped(message or '')}</span></li>"
    )


def _where(host: str, path: str) -> str:
    return f"<b><bdi>{escaped(host)}</bdi></b> <span class='path'><bdi>{escaped(path)}</bdi></span>"


def _failed_disk(host: str, disk: Report) -> str:
    found = ", ".join(dict.fromkeys(one["code"] for one in disk["findings"] if one["severity"] == "error"))
    return _note(
        "error",
        disk.get("error_code") or "failed",
        host,
        disk.get("path", ""),
        disk.get("msg", "") + (f" A check found: {found}." if found else ""),
    )


def _unchecked(disks: Sequence[Tuple[str, Report]]) -> List[str]:
    return [
        _note("error", disk["check"]["error_code"] or "failed", host, disk["path"], disk["check"]["msg"])
        for host, disk in disks
        if disk["check"] is not None and disk["check"]["healthy"] is None
    ]


def _findings_by_code(disks: Sequence[Tuple[str, Report]]) -> List[str]:
    """Each code of an error or a warning once, with the disks on which it was found, those of most disks first."""
    found: Dict[Tuple[str, str], Dict[int, str]] = {}
    for number, (host, disk) in enumerate(disks, 1):
        for one in (disk["check"] or {}).get("findings") or ():
            if one["severity"] != "info" and not one["repaired"]:
                link = f"<a href='#disk-{number}'>{_where(host, disk['path'])}</a>"
                found.setdefault((one["severity"], one["code"]), {})[number] = link
    ordered = sorted(found.items(), key=lambda item: (item[0][0] != "error", -len(item[1]), item[0][1]))
    return [_found(severity, code, list(links.values())) for (severity, code), links in ordered]


def _found(severity: str, code: str, links: Sequence[str]) -> str:
    """One code, and the disks; a long list is folded."""
    is_open = " open" if len(links) <= _MOST_OPEN else ""
    lines = joined(f"<li>{link}</li>" for link in links)
    meaning = RULES[code].meaning if code in RULES else ""
    return (
        f"<li><span><span class='chip {escaped(severity)}'>{escaped(severity)}</span></span>"
        f"<details{is_open}><summary><code>{escaped(code)}</code> on {count(len(links), 'disk')}"
        f"{': ' + escaped(meaning) if meaning else ''}</summary><ul class='plain'>{lines}</ul></details></li>"
    )


def _table(disks: Sequence[Tuple[str, Report]]) -> str:
    heading = "<h2 id='disks'>Disks, by what they would give back</h2>"
    if not disks:
        return f"{heading}<p class='card'>No disk was found.</p>"
    most = max(disk["gain"]["total"] for _host, disk in disks)
    rows = joined(_row(number, host, disk, most) for number, (host, disk) in enumerate(disks, 1))
    columns = _columns("Disk", "Layers num wide", "On disk num wide", "Gives back num", " wide", "State wide")
    box = (
        "<div class='filter' hidden><label for='filter'>Show only disks with</label>"
        "<span><input id='filter' type='search' autocomplete='off' placeholder='host, path, snapshot, finding'></span>"
        "<span id='shown' class='soft' role='status'></span></div>"
    )
    table = f"<table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>"
    return f"{heading}{box}<div class='card scroll' tabindex='0' role='region' aria-labelledby='disks'>{table}</div>"


def _columns(*told: str) -> str:
    """The heads of columns; each is told with its classes, the last words."""
    heads = []
    for one in told:
        kinds = [word for word in one.split(" ") if word in ("num", "wide")]
        name = " ".join(word for word in one.split(" ") if word not in ("num", "wide", ""))
        heads.append(
            element(
                "th" if name else "td", escaped(name), scope="col" if name else None, class_=" ".join(kinds) or None
            )
        )
    return "".join(heads)


def _row(number: int, host: str, disk: Report, most: int) -> str:
    gain = disk["gain"]
    parts = [
        one for one in parts_of({**disk["reclaimable"], "merge": gain["merge"]}, gain["total"]) if one[0] != "used"
    ]
    description = f"{size(gain['merge'])} by merging, {size(gain['compact'])} by compaction"
    drawn = shares(parts, most, title=f"What {disk['name']} would give back", description=description)
    where = f"<span class='path'><bdi>{escaped(host)}</bdi>: <bdi>{escaped(disk['path'])}</bdi></span>"
    name = f"<a href='#disk-{number}'><bdi>{escaped(disk['name'])}</bdi></a>{where}"
    cells = [
        f"<th scope='row'>{name}</th>",
        f"<td class='num wide'>{disk['depth']}</td>",
        f"<td class='num wide'>{escaped(size(disk['file_size']))}</td>",
        f"<td class='num'>{escaped(size(gain['total']))}</td>",
        f"<td class='wide'>{drawn if gain['total'] else ''}</td>",
        f"<td class='wide'>{chips(disk, short=True)}</td>",
    ]
    return f"<tr data-disk='disk-{number}'>{''.join(cells)}</tr>"


def _hosts(report: Report) -> str:
    hosts = sorted(
        report["hosts"], key=lambda host: (-sum(disk["gain"]["total"] for disk in host["disks"]), host["name"])
    )
    rows = []
    for host in hosts:
        status = (
            ""
            if host["status"] == "ok"
            else f" <span class='chip error'>{'no answer' if host['status'] == 'unreachable' else 'failed'}</span>"
        )
        failed = len(host["failed_disks"])
        more = f" <span class='chip error'>{escaped(failed)} not understood</span>" if failed else ""
        rows.append(
            f"<tr><th scope='row'><bdi>{escaped(host['name'])}</bdi>{status}{more}</th>"
            f"<td class='num'>{len(host['disks'])}</td>"
            f"<td class='num wide'>{escaped(size(sum(disk['file_size'] or 0 for disk in host['disks'])))}</td>"
            f"<td class='num'>{escaped(size(sum(disk['gain']['total'] for disk in host['disks'])))}</td></tr>"
        )
    columns = _columns("Host", "Disks num", "On disk num wide", "Gives back num")
    table = f"<table><thead><tr>{columns}</tr></thead><tbody>{joined(rows)}</tbody></table>"
    return (
        f"<h2 id='hosts'>Hosts</h2><div class='card scroll' tabindex='0' role='region' aria-labelledby='hosts'>"
        f"{table}</div>"
    )


def _articles(disks: Sequence[Tuple[str, Report]]) -> str:
    if not disks:
        return ""
    most = max(disk["gain"]["total"] for _host, disk in disks)
    articles, is_small = [], len(disks) <= _MOST_OPEN
    for number, (host, disk) in enumerate(disks, 1):
        parts = parts_of({**disk["reclaimable"], "merge": disk["gain"]["merge"]}, disk["gain"]["total"])[1:]
        articles.append(disk_article(f"disk-{number}", host, disk, parts=parts, most=most, is_open=is_small))
    return f"<h2>Every disk</h2>{joined(articles)}"


def _footer(report: Report) -> str:
    looked = _LOOKED.get(report["scan"], "All allocated clusters were read")
    notes = [
        (
            "Sizes are powers of 1024. On disk is the length of the image files; "
            "host blocks may be fewer where files have holes."
        ),
        f"{looked} to tell what compaction gives back (scan: {report['scan']}).",
        "What is given back by merging and by compaction may overlap, so sums are upper bounds.",
        (
            "Merging means the layers that no snapshot of a virtual machine names. "
            "Outside of a virtual machine, that is all of them."
        ),
        (
            "A map shows the guest disk from left to right; the stronger the colour of a stretch, "
            "the more of its clusters the layer holds."
        ),
        "The filled circle is the layer that the guest writes to.",
    ]
    return (
        f"<footer><h2>How to read this</h2><ul class='plain'>"
        f"{''.join(f'<li>{escaped(note)}</li>' for note in notes)}</ul></footer>"
    )

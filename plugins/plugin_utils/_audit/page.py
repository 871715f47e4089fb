# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of an audit: one HTML document that shows a report and needs nothing else."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple

from .attention import attention
from .disk import REASONS, disk_card
from .layers import fitting_columns
from .look import STYLE
from .markup import count, element, escaped, joined, size
from .pictures import shares
from .script import SCRIPT, policy
from .tables import class_of, disk_table, host_table, parts_of

Report = Mapping[str, Any]
Disks = Sequence[Tuple[str, Report]]

_MOST_OPEN = 5
"""Fleets of more disks are folded."""

_LOOKED = {
    "metadata": "Only tables were looked at",
    "filesystem": "All allocated clusters were read, but for what is free in the guest's file systems,",
}


def render(report: Report) -> str:
    """The whole document. Whatever comes from hosts and disks is text in it, never markup."""
    disks = _ordered(report)
    body = joined(
        [
            _header(report),
            _navigation(disks),
            "<main>",
            _tiles(report["totals"]),
            _shares(report["totals"]),
            attention(report, disks),
            disk_table(disks),
            host_table(report),
            _cards(disks),
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
        f'<header><h1>{escaped(report["title"])}</h1><p class="soft">{hosts}, '
        f"{count(totals['disks'], 'disk')}. As of {escaped(report['stamp'])}.</p></header>"
    )


def _navigation(disks: Disks) -> str:
    places = [("attention", "What needs attention"), ("disks", "Disks"), ("hosts", "Hosts")]
    places += [("cards", "Each disk")] * bool(disks) + [("reading", "How to read this")]
    links = "".join(f'<li><a href="#{place}">{name}</a></li>' for place, name in places)
    return f'<nav aria-label="On this page"><ul>{links}</ul></nav>'


def _tiles(totals: Report) -> str:
    silent, failed, found = totals["hosts_without_answer"], totals["failed_disks"], totals["findings"]
    answered = "all answered" if not silent else f"{silent} without an answer"
    tiles = [
        _tile("Could be given back", size(totals["gain"]), f"at most, of {size(totals['file_size'])}", "hero"),
        _tile("On disk", size(totals["file_size"]), f"{size(totals['allocated_size'])} of host blocks"),
        _tile("In use", size(totals["used_size"]), f"for {size(totals['virtual_size'])} of guest disk"),
        _tile("Hosts", str(totals["hosts"]), answered),
        _tile("Disks", str(totals["disks"]), "all understood" if not failed else f"and {failed} not understood"),
        _tile("Orphan layers", str(totals["orphan_layers"]), _of_snapshots(totals)),
        _tile(
            "Findings",
            str(found["error"] + found["warning"]),
            f"{count(found['error'], 'error')}, {count(found['warning'], 'warning')}",
        ),
    ]
    return element("dl", "".join(tiles), class_="tiles")


def _of_snapshots(totals: Report) -> str:
    doubtful = totals.get("disks_with_unknown_orphans", 0)
    unknown = f"; not known of {count(doubtful, 'disk')}" if doubtful else ""
    return f"of {count(totals['snapshots'], 'snapshot')}{unknown}"


def _tile(name: str, value: str, more: str, kind: Optional[str] = None) -> str:
    return element("div", f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd><dd>{escaped(more)}</dd>", class_=kind)


def _shares(totals: Report) -> str:
    reclaimable = totals["reclaimable"]
    parts = dict(parts_of(reclaimable, totals["file_size"]))
    told = [("used", "stays", parts["used"])]
    told += [
        (class_of(reason), REASONS.get(reason, reason), reclaimable[reason])
        for reason in [*REASONS, *(other for other in reclaimable if other not in REASONS)]
        if reclaimable.get(reason) is not None
    ]
    description = "; ".join(f"{name} {size(part)}" for _kind, name, part in told)
    legend = "".join(
        f"<li>{_swatch(kind)}{escaped(name)} <b>{escaped(size(part))}</b></li>" for kind, name, part in told
    )
    unknown = [REASONS[reason] for reason in REASONS if reclaimable.get(reason) is None]
    more = f'<p class="small soft">Not looked for: {escaped(", ".join(unknown))}.</p>' if unknown else ""
    drawn = shares(
        list(parts.items()), totals["file_size"], title="What the files of all disks hold", description=description
    )
    return f'<figure class="card">{drawn}<figcaption><ul class="legend">{legend}</ul>{more}</figcaption></figure>'


def _swatch(kind: str) -> str:
    return (
        f'<svg width="12" height="12" aria-hidden="true">'
        f'<rect class="part-{escaped(kind)}" width="12" height="12"/></svg>'
    )


def _cards(disks: Disks) -> str:
    if not disks:
        return ""
    columns, is_small = fitting_columns(disk for _host, disk in disks), len(disks) <= _MOST_OPEN
    cards = joined(
        disk_card(f"disk-{number}", host, disk, columns=columns, is_open=is_small)
        for number, (host, disk) in enumerate(disks, 1)
    )
    return f'<section><h2 id="cards">Each disk</h2>{cards}</section>'


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
            "An orphan layer is one that no snapshot of a virtual machine names, and that has no name of its own. "
            "Outside of a virtual machine, that is every snapshot without a name."
        ),
        (
            "The outline of a layer shows the guest disk from left to right; "
            "the higher it is, the more of that part of the disk the layer holds."
        ),
        "The filled circle is the layer that the guest writes to.",
    ]
    return (
        f'<footer><h2 id="reading">How to read this</h2><ul class="plain">'
        f"{''.join(f'<li>{escaped(note)}</li>' for note in notes)}</ul></footer>"
    )

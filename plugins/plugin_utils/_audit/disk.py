# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One disk on the page: its figures, its layers with their place in the tree and on the disk, and what a check
found.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .markup import count, element, escaped, joined, size
from .pictures import lanes, lanes_width, shares, strip
from .tree import Row, is_orphan, rows_of

Disk = Mapping[str, Any]

_MOST_ROWS = 200
_MOST_FINDINGS = 40
_TICKS = 4


def disk_article(
    anchor: str, host: str, disk: Disk, *, parts: Sequence[Tuple[str, int]], most: int, is_open: bool = True
) -> str:
    """The section of one disk. ``parts`` draw what it would give back, against the ``most`` that one disk does.

    All but its head is folded unless it ``is_open``.
    """
    gain = disk["gain"]
    drawn = shares(
        parts,
        most,
        title="What this disk would give back",
        description=f"{size(gain['total'])}, where the first disk gives {size(most)}",
    )
    told = (
        f"<b>{escaped(size(gain['total']))}</b> <span class='soft small'>to give back</span>{drawn}"
        if gain["total"]
        else "<span class='soft'>nothing to give back</span>"
    )
    heading = (
        f"<header><div><h3 id='{anchor}-name'><bdi>{escaped(disk['name'])}</bdi></h3>"
        f"<p class='path'><bdi>{escaped(host)}</bdi>: <bdi>{escaped(disk['path'])}</bdi></p></div>"
        f"<div class='gain'>{told}</div></header>"
    )
    content = joined([_stats(disk), _advice(disk), _layers(disk), _findings(disk), _warnings(disk)])
    fold = f"<details{' open' if is_open else ''}><summary>{heading}{chips(disk)}</summary>{content}</details>"
    return element("article", fold, class_="disk card", id=anchor, aria_labelledby=f"{anchor}-name")


def chips(disk: Disk, *, short: bool = False) -> str:
    """What is to be seen at a glance. The short form leaves out what is as usual."""
    told: List[Tuple[str, str]] = []
    check = disk["check"]
    if check is not None:
        told += [
            (kind, count(check["counts"][kind], kind)) for kind in ("error", "warning") if check["counts"].get(kind)
        ]
        if check["healthy"] is None:
            told.append(("error", "check failed"))
        elif check["healthy"]:
            told.append(("good", "healthy"))
    if disk["state"] != "clean":
        told.append(("warning", {"in_use": "in use", "dirty": "marked in use"}.get(disk["state"], str(disk["state"]))))
    if disk["orphan_layers"]:
        told.append(("", count(disk["orphan_layers"], "orphan layer")))
    if disk["encrypted"]:
        told.append(("", "encrypted"))
    if not short:
        told += (
            [("", str(disk["type"]))]
            + ([("", "split")] if disk["split"] else [])
            + ([("", "single file")] if disk["format"] == "single_file" else [])
        )
        if disk["vm"] is not None and disk["vm"]["name"]:
            told.append(("", f"VM {disk['vm']['name']}"))
    return (
        element(
            "ul",
            "".join(f"<li class='chip {kind}'><bdi>{escaped(text)}</bdi></li>" for kind, text in told),
            class_="chips",
        )
        if told
        else ""
    )


def _stats(disk: Disk) -> str:
    clean = {reason: freed for reason, freed in disk["reclaimable"].items() if freed is not None}
    figures = [
        ("Guest disk", size(disk["virtual_size"])),
        ("On disk", size(disk["file_size"])),
        ("In use", size(disk["used_size"])),
        ("Host blocks", size(disk["allocated_size"])),
        ("Layers", str(disk["depth"])),
        ("Snapshots", str(len(disk["snapshots"]))),
        ("Compaction gives", size(sum(clean.values()))),
    ]
    if disk["merge"] is not None and disk["merge"]["freed"] is not None:
        figures.append(("Merging gives", size(disk["merge"]["freed"])))
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
        label = f"<span class='chip warning'>{escaped(merge['error_code'] or 'failed')}</span>"
        return f"<p class='small'>{label} Merging would be refused: {escaped(merge['msg'])}</p>"
    if not merge["merged"]:
        return ""
    after = count(merge["layers_after"], "layer")
    return (
        f"<p class='small'>Merging {count(len(merge['merged']), 'orphan layer')} would leave {after} of "
        f"{merge['layers_before']}, "
        f"move {escaped(size(merge['bytes_written']))} and give back {escaped(size(merge['freed']))}.</p>"
    )


def _layers(disk: Disk) -> str:
    """The tree of layers, each with its size and, when there is a map, its place on the guest disk."""
    parents, sizes = _tree(disk)
    rows = rows_of(parents, disk["layers"][0]["guid"]) if disk["layers"] else []
    if not rows:
        return ""
    width = max(row.lane for row in rows) + 1
    mapped = {layer["guid"]: layer for layer in disk["map"]["layers"]} if disk.get("map") else {}
    stretches = _stretches(disk)
    snapshots = {one["guid"]: one for one in disk["snapshots"]}
    drawn = joined(
        _layer(disk, row, width, sizes.get(row.guid), snapshots.get(row.guid), mapped.get(row.guid), stretches)
        for row in rows[:_MOST_ROWS]
    )
    rest = (
        f"<p class='small soft'>And {len(rows) - _MOST_ROWS} more layers; audit.json has them all.</p>"
        if len(rows) > _MOST_ROWS
        else ""
    )
    heading = "Layers, oldest first, and what they hold of the guest disk" if mapped else "Layers, oldest first"
    return f"<h4>{heading}</h4><ol class='layers'>{drawn}</ol>{_axis(disk, width) if mapped else ''}{rest}"


def _tree(disk: Disk) -> Tuple[Dict[str, Optional[str]], Dict[str, Optional[int]]]:
    """The parent and the size of each layer. Without a map, sizes are known of the current chain only."""
    if disk.get("map"):
        layers = disk["map"]["layers"]
        return {layer["guid"]: layer["parent"] for layer in layers}, {
            layer["guid"]: layer["file_size"] for layer in layers
        }
    parents: Dict[str, Optional[str]] = {one["guid"]: one["parent"] for one in disk["snapshots"]}
    for layer in disk["layers"][:1]:
        parents[layer["guid"]] = next((one["guid"] for one in disk["snapshots"] if one["current"]), None)
    return parents, {layer["guid"]: sum(file["size"] for file in layer["files"]) for layer in disk["layers"]}


def _stretches(disk: Disk) -> List[Tuple[int, int]]:
    """Start and length in bytes of each stretch of the map."""
    if not disk.get("map"):
        return []
    step, whole = disk["map"]["bucket_size"], disk["virtual_size"]
    return [(start, min(step, whole - start)) for start in range(0, whole, step)]


def _layer(
    disk: Disk,
    row: Row,
    width: int,
    length: Optional[int],
    snapshot: Optional[Disk],
    mapped: Optional[Disk],
    stretches: Sequence[Tuple[int, int]],
) -> str:
    name = "current state" if snapshot is None else snapshot["name"] or f"{row.guid[:9]}\N{HORIZONTAL ELLIPSIS}"
    label = f"<bdi>{escaped(name)}</bdi>" if snapshot is None or snapshot["name"] else f"<code>{escaped(name)}</code>"
    marks = ""
    if snapshot is not None and disk["orphan_layers"] is not None and is_orphan(snapshot):
        marks += " <span class='chip'>orphan</span>"
    if mapped is not None and mapped["outside"]:
        marks += " <span class='chip'>outside</span>"
    said = [(snapshot or {}).get(key) or "" for key in ("taken", "description")]
    about = " ".join([name, row.guid, *said])
    told = f"<span class='name' title='{escaped(about.strip())}'>{label}{marks}</span>"
    picture = _map(name, mapped, stretches) if mapped is not None else ""
    drawn = lanes(row, is_current=snapshot is None, width=width)
    return (
        f"<li>{drawn}{told}<span class='num small'>{escaped(size(length))}</span>"
        f"<span class='map'>{picture}</span></li>"
    )


def _map(name: str, mapped: Disk, stretches: Sequence[Tuple[int, int]]) -> str:
    used, cluster = mapped["used_clusters"], mapped["cluster_size"]
    held = sum(1 for one in used if one)
    description = (
        f"{size(mapped['used_size'])} in {held} of {count(len(used), 'stretch', 'stretches')} of the guest disk"
    )
    return strip(
        used, [-(-length // cluster) for _start, length in stretches], title=f"Map of {name}", description=description
    )


def _axis(disk: Disk, width: int) -> str:
    marks = "".join(
        f"<span>{escaped(size(disk['virtual_size'] * tick // _TICKS))}</span>" for tick in range(_TICKS + 1)
    )
    spacer = f"<svg width='{lanes_width(width)}' height='1' aria-hidden='true' focusable='false'></svg>"
    return (
        f"<div class='axisrow' aria-hidden='true'>{spacer}<span></span><span></span>"
        f"<div class='axis'>{marks}</div></div>"
    )


def finding_rows(findings: Sequence[Disk]) -> str:
    """Findings as items of a list, the worst first."""
    ordered = sorted(
        findings,
        key=lambda one: (
            ("error", "warning", "info").index(one["severity"])
            if one["severity"] in ("error", "warning", "info")
            else 3
        ),
    )
    rows = [
        f"<li><span><span class='chip {escaped(one['severity'])}'>{escaped(one['severity'])}</span></span>"
        f"<span>{escaped(one['message'])} <code>{escaped(one['code'])}</code><br><span class='path soft'>"
        f"<bdi>{escaped(one['where'])}</bdi></span></span></li>"
        for one in ordered[:_MOST_FINDINGS]
    ]
    if len(ordered) > _MOST_FINDINGS:
        rows.append(
            f"<li><span></span><span class='soft'>And {len(ordered) - _MOST_FINDINGS} more; "
            f"audit.json has them all.</span></li>"
        )
    return joined(rows)


def _findings(disk: Disk) -> str:
    check = disk["check"]
    if check is None:
        return ""
    if check["msg"]:
        return (
            f"<h4>Findings</h4><p class='small'><span class='chip error'>"
            f"{escaped(check['error_code'] or 'failed')}</span> {escaped(check['msg'])}</p>"
        )
    return (
        f"<h4>Findings</h4><ul class='findings small'>{finding_rows(check['findings'])}</ul>"
        if check["findings"]
        else ""
    )


def _warnings(disk: Disk) -> str:
    notes = [*disk["warnings"]]
    notes += (
        [f"{name}: an image file that the descriptor does not name." for name in disk["orphan_files"]]
        if disk["check"] is None
        else []
    )
    return (
        f"<h4>Notes</h4><ul class='plain small'>{''.join(f'<li>{escaped(note)}</li>' for note in notes)}</ul>"
        if notes
        else ""
    )

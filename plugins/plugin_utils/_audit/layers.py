# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layers of one disk on the page: the tree, and what each layer holds of the guest disk."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .markup import escaped, joined, size
from .pictures import lanes, lanes_width, levels_of, profile
from .tree import Row, is_orphan, rows_of

Disk = Mapping[str, Any]

COLUMNS = (120, 60, 40, 30, 24, 20, 15, 12)
"""In how many parts of the guest disk profiles are drawn, the finest first."""

_ROOM_FOR_PROFILES = 160_000
_MOST_ROWS = 200
_SECONDS = re.compile(r"^(\d+-\d+-\d+[ T]\d+:\d+):\d+$")
_TICKS = 4


class _Layers(NamedTuple):
    """What is known of all layers of a disk."""

    disk: Disk
    rows: Sequence[Row]
    width: int
    parents: Mapping[str, Optional[str]]
    sizes: Mapping[str, Optional[int]]
    snapshots: Mapping[str, Disk]
    maps: Mapping[str, Disk]
    columns: int

    @property
    def is_chain(self) -> bool:
        """Whether each layer stands on the one before it."""
        return self.width == 1 and all(row.parent_lane == 0 for row in self.rows[1:])


def fitting_columns(disks: Iterable[Disk]) -> int:
    """The finest drawing for which the profiles of all ``disks`` together stay of a bounded length."""
    maps: List[Tuple[Sequence[int], Sequence[int]]] = []
    for disk in disks:
        if disk.get("map"):
            known: Dict[int, List[int]] = {}
            for layer in disk["map"]["layers"][:_MOST_ROWS]:
                cluster = layer["cluster_size"]
                if cluster not in known:
                    known[cluster] = _capacities(disk, cluster)
                maps.append((layer["used_clusters"], known[cluster]))
    return next((columns for columns in COLUMNS if _fit(maps, columns)), COLUMNS[-1])


def _fit(maps: Sequence[Tuple[Sequence[int], Sequence[int]]], columns: int) -> bool:
    room = _ROOM_FOR_PROFILES
    for used, capacities in maps:
        room -= len(profile(levels_of(used, capacities, columns)))
        if room < 0:
            return False
    return True


def layers_of(disk: Disk, columns: int) -> str:
    """The tree of layers, each with its size and, when there is a map, its profile in ``columns`` parts."""
    layers = _known(disk, columns)
    if not layers.rows:
        return ""
    drawn = joined(_row(layers, number) for number in range(min(len(layers.rows), _MOST_ROWS)))
    rest = (
        f'<p class="small soft">And {len(layers.rows) - _MOST_ROWS} more layers; audit.json has them all.</p>'
        if len(layers.rows) > _MOST_ROWS
        else ""
    )
    heading = "Layers, oldest first, and what they hold of the guest disk" if layers.maps else "Layers, oldest first"
    kind = "layers chain" if layers.is_chain else "layers"
    axis = _axis(layers) if layers.maps else ""
    return f'<h4>{heading}</h4><ol class="{kind}">{drawn}</ol>{axis}{rest}'


def _known(disk: Disk, columns: int) -> _Layers:
    parents, sizes = _tree(disk)
    rows = rows_of(parents, disk["layers"][0]["guid"]) if disk["layers"] else []
    return _Layers(
        disk,
        rows,
        max((row.lane for row in rows), default=0) + 1,
        parents,
        sizes,
        {one["guid"]: one for one in disk["snapshots"]},
        {layer["guid"]: layer for layer in disk["map"]["layers"]} if disk.get("map") else {},
        columns,
    )


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


def _row(layers: _Layers, number: int) -> str:
    row = layers.rows[number]
    drawn = "" if layers.is_chain else lanes(row, is_current=row.guid not in layers.snapshots, width=layers.width)
    picture = _map(layers, row.guid) if row.guid in layers.maps else ""
    told = f"<p>{_told(layers, number)}</p><span>{escaped(size(layers.sizes.get(row.guid)))}</span>"
    return f"<li>{drawn}{told}{picture}</li>"


def _told(layers: _Layers, number: int) -> str:
    """The name of a layer, its marks, and what else is known of its snapshot."""
    guid = layers.rows[number].guid
    snapshot, mapped = layers.snapshots.get(guid), layers.maps.get(guid)
    told = [_label(layers, guid)]
    if snapshot is not None and layers.disk["orphan_layers"] is not None and is_orphan(snapshot):
        told.append("<em>orphan</em>")
    if mapped is not None and mapped["outside"]:
        told.append("<em>outside</em>")
    parent = layers.parents.get(guid)
    if number and parent in layers.parents and parent != layers.rows[number - 1].guid:
        told.append(f"<small>on {_label(layers, str(parent))}</small>")
    taken, description = ((snapshot or {}).get(key) or "" for key in ("taken", "description"))
    said = [str(text) for text in (_SECONDS.sub(r"\1", str(taken)), description) if text]
    if said:
        told.append(f"<small>{escaped(', '.join(said))}</small>")
    return " ".join(told)


def _label(layers: _Layers, guid: str) -> str:
    """The name of a layer; its GUID where it has none."""
    snapshot = layers.snapshots.get(guid)
    if snapshot is None:
        return "<bdi>current state</bdi>"
    return f"<bdi>{escaped(snapshot['name'])}</bdi>" if snapshot["name"] else f"<code>{escaped(guid)}</code>"


def _map(layers: _Layers, guid: str) -> str:
    mapped = layers.maps[guid]
    used = mapped["used_clusters"]
    told = f"{sum(1 for one in used if one)} of {len(used)} parts"
    outline = _outline(layers.disk, mapped, layers.columns)
    drawn = f'<path d="{outline}"/>' if outline else ""
    return f"<svg><title>{escaped(told)}</title>{drawn}</svg>"


def _outline(disk: Disk, mapped: Disk, columns: int) -> str:
    return profile(levels_of(mapped["used_clusters"], _capacities(disk, mapped["cluster_size"]), columns))


def _capacities(disk: Disk, cluster: int) -> List[int]:
    """Clusters that each stretch of the map has room for."""
    step, whole = disk["map"]["bucket_size"], disk["virtual_size"]
    return [-(-min(step, whole - start) // cluster) for start in range(0, whole, step)]


def _axis(layers: _Layers) -> str:
    marks = "".join(
        f"<span>{escaped(size(layers.disk['virtual_size'] * tick // _TICKS))}</span>" for tick in range(_TICKS + 1)
    )
    spacer = f'<svg class="lanes" width="{lanes_width(layers.width)}"></svg>'
    return f'<div class="axis" aria-hidden="true">{spacer}<div>{marks}</div></div>'

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The tree of snapshots and which of them is current. Pure; linear time; no recursion.

Format reference, section 3.1.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Iterable, List, Mapping, Optional, Tuple

from .._core import guid as guids
from .._core.errors import Damaged, NoSuchSnapshot, Unsupported
from .._core.records import dataclass
from .descriptor import Shot

MAX_DEPTH = 512
"""Each layer of a chain is an open file, and 1024 are a common limit for a process; ploop stops at 128."""

_SHOWN = 20
_OURS = "a snapshot of this disk"


@dataclass(frozen=True)
class SnapshotTree:
    """All snapshots by GUID, in the order of the descriptor, and ``top``, the layer that the guest writes to.

    ``layer_counts`` is for each the number of layers of its chain, itself included. Made by ``build_tree``.
    """

    shots: Mapping[str, Shot]
    top: str
    layer_counts: Mapping[str, int]
    offspring: Mapping[str, Tuple[str, ...]]

    def chain(self, guid: str) -> Tuple[str, ...]:
        """The layers that answer for ``guid``: itself first, its root last."""
        found = [guid]
        while self.shots[found[-1]].parent != guids.NONE:
            found.append(self.shots[found[-1]].parent)
        return tuple(found)

    @property
    def current_chain(self) -> Tuple[str, ...]:
        """The layers of the current state, topmost first."""
        return self.chain(self.top)

    def children(self, guid: str) -> Tuple[str, ...]:
        """The snapshots whose parent is ``guid``, in the order of the descriptor."""
        return self.offspring.get(guid, ())

    def depth(self, guid: str) -> int:
        """How many layers the chain of ``guid`` has; 1 for a root."""
        return self.layer_counts[guid]

    def descendants(self, guid: str) -> Tuple[str, ...]:
        """All snapshots above ``guid``, parents before their children, without itself."""
        found: List[str] = []
        pending = list(reversed(self.children(guid)))
        while pending:
            found.append(pending.pop())
            pending += reversed(self.children(found[-1]))
        return tuple(found)


def build_tree(shots: Iterable[Shot], *, declared_top: Optional[str], path: str) -> SnapshotTree:
    """The tree that ``shots`` make. The top is ``declared_top``, else the layer with the predefined GUID.

    Raises Damaged for GUIDs used twice, missing parents, loops and a missing top, Unsupported for too long a chain.
    """
    by_guid: Dict[str, Shot] = {}
    for shot in shots:
        if shot.guid in by_guid or shot.guid == guids.NONE:
            raise Damaged("A snapshot has the GUID of another one, or that of none", path=path, found=shot.guid)
        by_guid[shot.guid] = shot
    offspring = _offspring(by_guid, path)
    counts = _layer_counts(by_guid, offspring, path)
    children = {guid: tuple(found) for guid, found in offspring.items() if guid != guids.NONE}
    return SnapshotTree(by_guid, _top(by_guid, declared_top, path), counts, children)


def _offspring(by_guid: Mapping[str, Shot], path: str) -> Dict[str, List[str]]:
    offspring: Dict[str, List[str]] = {}
    for guid, shot in by_guid.items():
        if shot.parent != guids.NONE and shot.parent not in by_guid:
            text = f"The parent of snapshot {guid} does not exist"
            raise Damaged(text, path=path, expected=_OURS, found=shot.parent)
        offspring.setdefault(shot.parent, []).append(guid)
    return offspring


def _layer_counts(by_guid: Mapping[str, Shot], offspring: Mapping[str, List[str]], path: str) -> Dict[str, int]:
    """Layers of each chain, counted from the roots upwards; what no root leads to is in a loop."""
    counts: Dict[str, int] = {}
    row = offspring.get(guids.NONE, [])
    depth = 0
    while row:
        depth += 1
        if depth > MAX_DEPTH:
            most = f"at most {MAX_DEPTH} layers"
            raise Unsupported("A chain of snapshots is too long", path=path, expected=most, found=row[0])
        counts.update((guid, depth) for guid in row)
        row = [child for guid in row for child in offspring.get(guid, ())]
    if len(counts) < len(by_guid):
        lost = next(guid for guid in by_guid if guid not in counts)
        raise Damaged("Snapshots are one another's parents in a loop", path=path, found=lost)
    return counts


def _top(by_guid: Mapping[str, Shot], declared_top: Optional[str], path: str) -> str:
    top, expected, what = declared_top, _OURS, "TopGUID names no layer that can be current"
    if top is None:
        top, expected, what = guids.TOP, guids.TOP, "The descriptor does not say which layer is the current one"
    if top not in by_guid or top == guids.BACKUP:
        raise Damaged(what, path=path, expected=expected, found=declared_top)
    return top


def resolve(tree: SnapshotTree, wanted: str, *, names: Mapping[str, str], path: str) -> str:
    """The GUID of the snapshot that ``wanted`` means: a GUID in any spelling, or one of ``names`` (name by GUID).

    Raises NoSuchSnapshot when there is none, or when several have the name.
    """
    if guids.is_guid(wanted):
        guid = guids.normalise(wanted)
        if guid in tree.shots:
            return guid
    found = [guid for guid in tree.shots if names.get(guid) == wanted]
    if len(found) == 1:
        return found[0]
    shown = wanted[:80]
    if found:
        text = f"{len(found)} snapshots have the name {shown!r}: {', '.join(found[:_SHOWN])}"
        raise NoSuchSnapshot(text, path=path, hint="Give the GUID of the one that is meant.")
    text = f"The disk has no snapshot {shown!r}"
    raise NoSuchSnapshot(text, path=path, found=shown, hint=f"It has {_known(tree, names)}.")


def _known(tree: SnapshotTree, names: Mapping[str, str]) -> str:
    shown = [f"{guid} ({names[guid][:80]})" if names.get(guid) else guid for guid in tree.shots if guid != tree.top]
    if not shown:
        return "no snapshots"
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more

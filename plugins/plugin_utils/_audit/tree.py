# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A tree of layers as rows with lanes, the way programs for version control draw their history.

The chain that the guest stands on keeps its lane; what branches off is drawn to the right of it, before the chain goes
on::

    o        root
    |-o      a branch, one lane to the right
    o        the chain goes on
    *        the current layer
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple


class Row(NamedTuple):
    """One layer: its own lane, that of its parent, whether a line leads on below it, and the lanes of lines that
    pass by.
    """

    guid: str
    lane: int
    parent_lane: Optional[int]
    has_children: bool
    passing: FrozenSet[int]


def is_orphan(snapshot: Mapping[str, Any]) -> bool:
    """Whether neither the virtual machine lists a snapshot nor anybody has given it a name."""
    return not (snapshot["vm_snapshot"] or snapshot.get("name") or snapshot.get("description"))


def rows_of(parents: Mapping[str, Optional[str]], current: str) -> List[Row]:
    """The rows of a tree that is given as the parent of each layer, parents above their children.

    Layers whose parent is unknown are roots.

    Layers that are one another's parents are left out.
    """
    children: Dict[str, List[str]] = {guid: [] for guid in parents}
    roots: List[str] = []
    for guid, parent in parents.items():
        (children[parent] if parent in children and parent != guid else roots).append(guid)
    chain = _chain(parents, current)
    rows: List[Row] = []
    pending: List[Tuple[str, int, Optional[int], FrozenSet[int]]] = [
        (guid, 0, None, frozenset()) for guid in reversed(roots)
    ]
    while pending:
        guid, lane, parent_lane, passing = pending.pop()
        below = _chain_last(children[guid], chain)
        rows.append(Row(guid, lane, parent_lane, bool(below), passing))
        if below:
            # What is pushed last is drawn first.
            pending.append((below[-1], lane, lane, passing))
            pending += [(child, lane + 1, lane, passing | {lane}) for child in reversed(below[:-1])]
    return rows


def _chain(parents: Mapping[str, Optional[str]], current: str) -> FrozenSet[str]:
    chain = set()
    guid: Optional[str] = current
    while guid is not None and guid not in chain:
        chain.add(guid)
        guid = parents.get(guid)
    return frozenset(chain)


def _chain_last(children: Sequence[str], chain: FrozenSet[str]) -> List[str]:
    return sorted(children, key=lambda guid: guid in chain)

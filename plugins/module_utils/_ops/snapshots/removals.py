# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots go: what a merge or a deletion asks for, as a set of removals that the rest of the tree can bear.

A removed snapshot's data stays in every branch that stands on it; where nothing does, it goes with its data.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Collection, List, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.pvm import VmReport
from ..._bundle.tree import SnapshotTree
from ..._core.errors import BadRequest, HasSnapshots

REFUSE = "refuse"
KEEP = "keep"
DELETE = "delete"
DISCARD = "discard"


def choose_removals(
    state: BundleState,
    *,
    max_layers: int,
    snapshots: Optional[Sequence[str]] = None,
    kept_by_vm: Collection[str] = (),
    branches: str = REFUSE,
) -> Tuple[str, ...]:
    """The snapshots of the current chain that must go, oldest first, so that at most ``max_layers`` layers remain.

    ``snapshots`` limits the choice; ``kept_by_vm`` are snapshots that may not go. With ``branches`` DISCARD, what
    branches off at a chosen snapshot goes with it. Raises HasSnapshots when one of those may not go.
    """
    tree = state.tree
    chain = tree.current_chain
    candidates = [guid for guid in reversed(chain[1:]) if snapshots is None or guid in snapshots]
    chosen = candidates[: max(0, len(chain) - max_layers)]
    removals = list(chosen)
    for guid in chosen:
        aside = [child for child in tree.children(guid) if child not in chain]
        if aside and branches == REFUSE:
            _refuse_branches(state, guid, aside)
        for child in aside:
            removals += [child, *tree.descendants(child)]
    _refuse_kept(state, removals, kept_by_vm)
    refuse_forest(state, removals)
    return tuple(removals)


def _refuse_branches(state: BundleState, guid: str, aside: Sequence[str]) -> None:
    raise HasSnapshots(
        f"Several branches start at snapshot {guid}",
        path=state.location.directory,
        found=aside,
        hint="Set branches: discard to give up those that are not current, name the snapshots to merge in the"
        " option snapshots, or raise max_layers.",
    )


def choose_deletion(
    state: BundleState, guid: str, *, descendants: str = KEEP, kept_by_vm: Collection[str] = ()
) -> Tuple[str, ...]:
    """What goes with snapshot ``guid``; nothing when the disk does not have it.

    KEEP hands its data to its children, REFUSE allows no snapshot above it, DELETE takes all that stands on it. Raises
    BadRequest for the current layer, HasSnapshots for what may not go.
    """
    tree = state.tree
    if guid == tree.top:
        raise BadRequest(
            f"{guid} is the current layer and no snapshot",
            path=state.location.directory,
            hint="Revert to a snapshot to give it up.",
        )
    if guid not in tree.shots:
        return ()
    above = tree.descendants(guid)
    _refuse_descendants(state, guid, above, descendants)
    removals = (guid, *above) if descendants == DELETE else (guid,)
    _refuse_kept(state, removals, kept_by_vm)
    refuse_forest(state, removals)
    return removals


def _refuse_descendants(state: BundleState, guid: str, above: Sequence[str], descendants: str) -> None:
    top = state.tree.top
    if descendants == REFUSE and any(child != top for child in above):
        raise HasSnapshots(
            f"There are snapshots above {guid}",
            path=state.location.directory,
            found=[child for child in above if child != top],
            hint="Set descendants: keep to hand its data to them, or descendants: delete to give them up.",
        )
    if descendants == DELETE and top in above:
        raise HasSnapshots(
            f"The disk goes on from {guid} or from a snapshot above it",
            path=state.location.directory,
            hint="Revert to another snapshot first, or set descendants: keep.",
        )


def refuse_forest(state: BundleState, removals: Sequence[str]) -> None:
    """Raise HasSnapshots when more than one layer would have no parent: the format knows one root."""
    gone = set(removals)
    parents = {guid: shot.parent for guid, shot in state.tree.shots.items()}
    roots = []
    for guid in parents:
        parent = parents[guid]
        while parent in gone:
            parent = parents[parent]
        if guid not in gone and parent not in parents:
            roots.append(guid)
    before = sum(parent not in parents for parent in parents.values())
    if len(roots) > max(1, before):
        raise HasSnapshots(
            f"Several branches start at the first snapshot; without it the disk would fall into {len(roots)} disks",
            path=state.location.directory,
            found=roots[:20],
            hint="Give up all branches but one first (descendants: delete, or branches: discard), or keep it.",
        )


def _refuse_kept(state: BundleState, removals: Sequence[str], kept_by_vm: Collection[str]) -> None:
    for guid in removals:
        if guid in kept_by_vm:
            raise HasSnapshots(
                f"Snapshot {guid} belongs to a snapshot of the virtual machine",
                path=state.location.directory,
                found=guid,
                hint="Delete it in the virtual machine's own snapshots, leave it out, or set force: true.",
            )


def groups_of(tree: SnapshotTree, removals: Sequence[str]) -> List[Tuple[str, ...]]:
    """The layers that become one: each survivor right above removed snapshots, then those, topmost first.

    A removed snapshot where branches part is in a group of each branch; one without anything above it is in none.
    """
    gone = set(removals)
    groups = []
    for guid, shot in tree.shots.items():
        if guid in gone or shot.parent not in gone:
            continue
        group = [guid]
        while tree.shots[group[-1]].parent in gone:
            group.append(tree.shots[group[-1]].parent)
        groups.append(tuple(group))
    return groups


def refuse_doubtful(state: BundleState, machine: VmReport, removals: Sequence[str], *, force: bool) -> None:
    """Raise HasSnapshots when snapshots are to go and the virtual machine's own list of snapshots cannot be read."""
    if removals and machine.is_doubtful and not force:
        raise HasSnapshots(
            f"Nobody can tell which snapshots the virtual machine needs: {' '.join(machine.warnings)}",
            path=state.location.directory,
            hint="Restore the files of the virtual machine, or set force: true when none of its snapshots is needed any"
            " more.",
        )

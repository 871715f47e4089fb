# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task asks of a chain of layers: how short it may be, and which snapshots may go for that."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.pvm import VmReport
from ..._core.errors import BadRequest, HasSnapshots
from ..._core.plan import Plan
from ..._core.records import dataclass, replace
from ..._io.port import Port
from .merge import AUTO, MergeFacts, plan_merge
from .names import wanted_guid
from .removals import REFUSE, choose_removals, refuse_doubtful


@dataclass(frozen=True)
class MergeRequest:
    """At most ``max_layers`` layers. ``snapshots`` may go, all when it is None.

    With ``orphans`` only those that the virtual machine does not list and nobody gave a name. ``branches`` and
    ``strategy`` are the planners'. ``force`` gives up what the machine lists, unless that is ``spared``.
    """

    max_layers: int = 1
    snapshots: Optional[Tuple[str, ...]] = None
    orphans: bool = False
    branches: str = REFUSE
    strategy: str = AUTO
    force: bool = False
    spared: bool = False


def plan_requested_merge(port: Port, state: BundleState, machine: VmReport, request: MergeRequest) -> Plan[MergeFacts]:
    """The merge that makes the current chain as short as asked for.

    Its facts name the snapshots asked for that the disk does not have (``unknown``). Raises BadRequest, HasSnapshots,
    and what ``plan_merge`` raises.
    """
    refuse_no_layers(request)
    named = _named(state, machine, request)
    chosen = None if named is None else tuple(guid for _name, guid in named)
    if request.orphans:
        if len(state.tree.current_chain) > request.max_layers:
            _refuse_unread_names(state)
        candidates = state.tree.shots if chosen is None else chosen
        # A name is a sign that somebody wants to come back.
        chosen = tuple(guid for guid in candidates if guid not in machine.needed and guid not in state.notes)
    removals = choose_removals(
        state,
        max_layers=request.max_layers,
        snapshots=chosen,
        kept_by_vm=machine.needed if request.spared or not request.force else (),
        branches=request.branches,
    )
    # Without the list, an orphan cannot be told from a snapshot that is needed: force does not help.
    refuse_doubtful(state, machine, removals, force=request.force and not (request.orphans or request.spared))
    plan = plan_merge(port, state, removals, strategy=request.strategy, force=request.force)
    unknown = tuple(name for name, guid in named or () if guid not in state.tree.shots)
    return plan.with_facts(replace(plan.facts, unknown=unknown))


def _refuse_unread_names(state: BundleState) -> None:
    """Raise HasSnapshots where a snapshot may have a name that cannot be read: it is to stay then."""
    if state.notes_unread is not None:
        raise HasSnapshots(
            f"Nobody can tell which snapshots have names: {state.notes_unread.rstrip('.')}",
            path=state.location.directory,
            hint="Restore the file, or remove it when no snapshot is needed by its name any more.",
        )


def refuse_no_layers(request: MergeRequest) -> None:
    """Raise BadRequest for a chain without a layer."""
    if request.max_layers < 1:
        raise BadRequest("max_layers: a disk has at least one layer", found=request.max_layers, hint="Use 1 or more.")


def _named(state: BundleState, machine: VmReport, request: MergeRequest) -> Optional[Tuple[Tuple[str, str], ...]]:
    """The snapshots asked for, as pairs of what they were called and their GUID."""
    if request.snapshots is None:
        return None
    return tuple((name, wanted_guid(state, name, machine.snapshot_names)) for name in request.snapshots)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task asks of one snapshot: that it exists, that it is gone, or that the disk goes on from it."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Mapping, Optional

from ..._bundle.bundle import BundleState
from ..._bundle.pvm import VmReport
from ..._bundle.tree import resolve
from ..._core import guid as guids
from ..._core.errors import BadRequest, NoSuchSnapshot
from ..._core.plan import Plan
from ..._core.records import dataclass
from ..._io.port import Port
from .names import known_names, wanted_guid
from .removals import KEEP, choose_deletion, refuse_doubtful
from .take import SnapshotFacts, plan_snapshot_take

if TYPE_CHECKING:
    from ..._bundle.notes import Note

PRESENT = "present"
ABSENT = "absent"
REVERTED = "reverted"


@dataclass(frozen=True)
class SnapshotRequest:
    """The snapshot called ``wanted``, a name or, with ``is_guid``, a GUID, is to be PRESENT, ABSENT or REVERTED to.

    ``descendants`` says what happens to the snapshots above one that goes. ``description`` and the time ``now`` are
    kept with the name of one that is taken; in a prediction the time is None.
    """

    state: str
    wanted: str
    is_guid: bool = False
    descendants: str = KEEP
    force: bool = False
    description: Optional[str] = None
    now: Optional[str] = None


@dataclass(frozen=True)
class _Asked:
    """A request on one disk, and the GUID of its snapshot."""

    state: BundleState
    machine: VmReport
    request: SnapshotRequest
    guid: str


def plan_snapshot(port: Port, state: BundleState, machine: VmReport, request: SnapshotRequest) -> Plan[SnapshotFacts]:
    """The change that a request needs; its facts name the snapshot by its GUID.

    Raises BadRequest for a name or GUID that cannot be one, and what the planners of the three states raise.
    """
    refuse_odd_name(request)
    guid = wanted_guid(state, request.wanted, machine.snapshot_names)
    return _PLANNERS[request.state](port, _Asked(state, machine, request, guid))


def refuse_odd_name(request: SnapshotRequest) -> None:
    """Raise BadRequest for a GUID that is none, and for an empty name."""
    if request.is_guid and not guids.is_guid(request.wanted):
        raise BadRequest(f"guid: {request.wanted[:60]!r} is no GUID", hint="Use the option name for names.")
    if not request.wanted.strip():
        raise BadRequest(
            "name: the name of a snapshot must not be empty", hint="Look at the variable that it comes from."
        )


def _take(_port: Port, asked: _Asked) -> Plan[SnapshotFacts]:
    state, request, guid = asked.state, asked.request, asked.guid
    if not request.is_guid and guid in asked.machine.snapshot_names and guid not in state.tree.shots:
        raise NoSuchSnapshot(
            f"The virtual machine has a snapshot {request.wanted[:80]!r}, but this disk does not",
            path=state.location.directory,
            found=guid,
            hint="Choose another name, or give the GUID when this disk is meant to have that very snapshot.",
        )
    return plan_snapshot_take(state, guid, force=request.force, note=_note(asked))


def _note(asked: _Asked) -> Optional[Note]:
    """What is to be kept of a snapshot; nothing of one without a word, or that the machine has the same word for."""
    request = asked.request
    name = None if request.is_guid or guids.is_guid(request.wanted) else request.wanted
    has_name = name is not None and asked.machine.snapshot_names.get(asked.guid) == name
    if request.description is None and (name is None or has_name):
        return None
    from ..._bundle.notes import Note, bounded

    return bounded(Note(name, request.now, request.description))


def _revert(_port: Port, asked: _Asked) -> Plan[SnapshotFacts]:
    from .revert import plan_revert

    state, names = asked.state, known_names(asked.state, asked.machine.snapshot_names)
    if asked.guid not in state.tree.shots:
        resolve(state.tree, asked.request.wanted, names=names, path=state.location.directory)
    return plan_revert(state, asked.guid, force=asked.request.force)


def _delete(port: Port, asked: _Asked) -> Plan[SnapshotFacts]:
    from .merge import plan_merge

    state, machine, request = asked.state, asked.machine, asked.request
    kept = () if request.force else machine.needed
    removals = choose_deletion(state, asked.guid, descendants=request.descendants, kept_by_vm=kept)
    refuse_doubtful(state, machine, removals, force=request.force)
    plan = plan_merge(port, state, removals, force=request.force)
    return plan.with_facts(SnapshotFacts(plan.facts.after, asked.guid))


_PLANNERS: Mapping[str, Callable[[Port, _Asked], Plan[SnapshotFacts]]] = {
    PRESENT: _take,
    REVERTED: _revert,
    ABSENT: _delete,
}

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take a snapshot: the current layer is frozen where it lies, and a new empty layer goes on top of it.

Commit point: the rename of the descriptor. Before it there are only new files that nobody names; frozen files are not
touched at all, because linked clones may refer to them by name. After it the snapshot's name is kept. A name that an
existing snapshot gets is a change of its own, whose commit is the rename of the file that keeps it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.descriptor import Descriptor, ImageEntry, Shot
from ..._bundle.guards import Touches, check_guards
from ..._bundle.naming import NOTES
from ..._change.bundle_plan import SMALL_CHANGES, BundleChange, ChangeFacts, bundle_plan, unchanged
from ..._change.journal import descriptor_step
from ..._change.new_layer import new_image_steps, new_images, with_new_top
from ..._core import guid as guids
from ..._core.errors import BadRequest, Damaged, Unsupported
from ..._core.plan import Plan, Step
from ..._core.records import dataclass, replace
from ..._io.journal import PREPARE, Journal

if TYPE_CHECKING:
    from ..._bundle.notes import Note, Notes

MOST_LAYERS = 128
"""ploop's limit: 126 snapshots, a base and a top."""


@dataclass(frozen=True)
class SnapshotFacts(ChangeFacts):
    """The snapshot that was asked for, and the disk after the change."""

    snapshot: str


def plan_snapshot_take(
    state: BundleState, guid: str, *, force: bool = False, note: Optional[Note] = None
) -> Plan[SnapshotFacts]:
    """Freeze the current state as snapshot ``guid``, and keep what ``note`` says of it.

    When the disk has that snapshot already, only its name and description may change; ``taken`` stays as it is.
    Raises BadRequest for a GUID with a meaning of its own, Unsupported for a single-file image or a full chain, Dirty,
    Damaged when the names of other snapshots cannot be read.
    """
    top = state.tree.top
    if note is not None and state.notes_unread is not None:
        _refuse_unread_names(state, state.notes_unread)
    if guid in state.tree.shots and guid != top:
        return _named(state, guid, note)
    _refuse(state, guid)
    clearance = check_guards(state, Touches(), force=force)
    created = new_images(state, guid, base=top)
    names = tuple(name for name, _header in created)
    target = _with_snapshot(state, guid, names)
    notes = state.notes if note is None else {**state.notes, guid: note}
    change = BundleChange(
        "snapshot",
        Journal("snapshot", PREPARE, created=names, request=_note_request(guid, note)),
        before=tuple(new_image_steps(state, created, like=top)),
        commit=descriptor_step(state, target),
        after=_note_steps(state, notes),
        settled=_note_paths(state, note),
        created=names,
        needed=sum(header.data_start for _name, header in created),
    )
    renamed = [replace(image, guid=guid) if image.guid == top else image for image in state.images.values()]
    kept = {(image.storage, image.guid): image for image in renamed}
    after = replace(with_new_top(state, target, kept, created), notes=notes)
    return bundle_plan(clearance, change, SnapshotFacts(after, guid))


def _refuse_unread_names(state: BundleState, why: str) -> None:
    """A new name would take the place of those in the file, which may only be out of reach."""
    raise Damaged(
        f"The name of the snapshot cannot be kept: {why.rstrip('.')}",
        path=f"{state.location.directory}/{NOTES}",
        hint="Restore the file, or remove it when no snapshot is needed by its name any more.",
    )


def _named(state: BundleState, guid: str, note: Optional[Note]) -> Plan[SnapshotFacts]:
    known = state.notes.get(guid)
    if note is None or (known is None and note.name is None and note.description is None):
        return unchanged("snapshot", SnapshotFacts(state, guid))
    from ..._bundle.notes import Note
    from ..._change.notes import notes_steps

    known = known or Note()
    description = known.description if note.description is None else note.description
    wanted = Note(note.name or known.name, known.taken, description)
    notes = {**state.notes, guid: wanted}
    steps = notes_steps(state, notes)
    if not steps:
        return unchanged("snapshot", SnapshotFacts(state, guid))
    clearance = check_guards(state, Touches(images=False), force=True)
    change = BundleChange("snapshot name", ends_journal=False, commit=steps[0], needed=SMALL_CHANGES)
    return bundle_plan(clearance, change, SnapshotFacts(replace(state, notes=notes), guid))


def _note_request(guid: str, note: Optional[Note]) -> Dict[str, Any]:
    if note is None:
        return {}
    from ..._change.notes import note_request

    return note_request(guid, note)


def _note_steps(state: BundleState, notes: Notes) -> Tuple[Step, ...]:
    if notes is state.notes:
        return ()
    from ..._change.notes import notes_steps

    return notes_steps(state, notes)


def _note_paths(state: BundleState, note: Optional[Note]) -> Tuple[str, ...]:
    return () if note is None else (f"{state.location.directory}/{NOTES}",)


def _refuse(state: BundleState, guid: str) -> None:
    if not state.is_bundle:
        raise Unsupported(
            "A single-file image cannot have snapshots",
            path=state.location.image,
            hint="Convert it into a bundle with hdd_convert first.",
        )
    if guid in guids.WELL_KNOWN or guid == state.tree.top:
        raise BadRequest(
            f"{guid} has a meaning of its own and cannot name a snapshot",
            path=state.location.directory,
            hint="Choose another GUID or a name.",
        )
    if len(state.tree.current_chain) >= MOST_LAYERS:
        raise Unsupported(
            f"The disk already has {MOST_LAYERS} layers in a row",
            path=state.location.directory,
            hint="Merge snapshots with hdd_merge first.",
        )


def _with_snapshot(state: BundleState, guid: str, files: Tuple[str, ...]) -> Descriptor:
    """The descriptor afterwards: the old top's images and shot get ``guid``, the new images get the top's GUID."""
    top = state.tree.top
    storages = []
    for storage, file in zip(state.descriptor.storages, files):
        kept = tuple(replace(image, guid=guid) if image.guid == top else image for image in storage.images)
        storages.append(replace(storage, images=(ImageEntry(top, "Compressed", file),) + kept))
    shots: List[Shot] = []
    for shot in state.descriptor.shots:
        shots += [Shot(top, guid), replace(shot, guid=guid)] if shot.guid == top else [shot]
    return replace(state.descriptor, storages=tuple(storages), shots=tuple(shots))

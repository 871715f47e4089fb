# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of snapshots, written with the change that they belong to: after its commit, and finished by recovery."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Collection, Dict, Iterator, Mapping, Optional, Tuple

from .._bundle.bundle import BundleState
from .._bundle.naming import NOTES, temporary_name
from .._bundle.notes import Note, Notes, note_of, pack_notes
from .._core import guid as guids
from .._core.plan import Remove, ReplaceFile, Step


def note_request(guid: str, note: Note) -> Dict[str, Any]:
    """What the journal says of a new name."""
    return {"note": {"guid": guid, **note._asdict()}}


def notes_after(state: BundleState, snapshots: Collection[str], added: Optional[Mapping[str, Note]] = None) -> Notes:
    """The notes of a disk that has these snapshots then."""
    wanted = {**state.notes, **(added or {})}
    return {guid: note for guid, note in wanted.items() if guid in snapshots}


def notes_steps(state: BundleState, wanted: Notes) -> Tuple[Step, ...]:
    """The step that writes the notes anew, or none when they are right."""
    if dict(state.notes) == dict(wanted):
        return ()
    path, directory = notes_path(state), state.location.directory
    if not wanted:
        return (Remove((path,), directory),)
    temporary = f"{directory}/{temporary_name(NOTES, 'new')}"
    return (ReplaceFile(path, pack_notes(wanted), temporary, like=state.location.descriptor),)


def notes_path(state: BundleState) -> str:
    """Where the names of the snapshots of a bundle are."""
    return f"{state.location.directory}/{NOTES}"


def notes_end_steps(state: BundleState, request: Mapping[str, Any]) -> Iterator[Step]:
    """The end of an interrupted change: its snapshot has its name.

    Nothing is written otherwise: on a full file system that would keep the disk from being put in order, and a name
    without its snapshot harms nobody.
    """
    added: Dict[str, Note] = {}
    entry = request.get("note")
    if isinstance(entry, dict) and isinstance(entry.get("guid"), str) and guids.is_guid(entry["guid"]):
        try:
            added[guids.normalise(entry["guid"])] = note_of(entry)
        except ValueError:
            pass
    snapshots = _snapshots(state)
    if any(guid in snapshots and state.notes.get(guid) != note for guid, note in added.items()):
        yield from notes_steps(state, notes_after(state, snapshots, added))


def _snapshots(state: BundleState) -> Tuple[str, ...]:
    return tuple(guid for guid in state.tree.shots if guid != state.tree.top)

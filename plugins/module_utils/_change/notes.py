# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of snapshots, written with the change that they belong to: after its commit, and finished by recovery."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Collection, Dict, Iterator, Mapping, Optional, Tuple

from .._bundle.bundle import BundleState
from .._bundle.naming import NOTES, temporary_name
from .._bundle.notes import Note, Notes, pack_notes, refuse_too_much
from .._core.plan import Remove, ReplaceFile, Step


def note_request(guid: str, note: Note) -> Dict[str, Any]:
    """What the journal says of a new name."""
    return {"note": {"guid": guid, **note._asdict()}}


def notes_after(state: BundleState, snapshots: Collection[str], added: Optional[Mapping[str, Note]] = None) -> Notes:
    """The notes of a disk that has these snapshots then."""
    wanted = {**state.notes, **(added or {})}
    return {guid: note for guid, note in wanted.items() if guid in snapshots}


def notes_steps(state: BundleState, wanted: Notes) -> Tuple[Step, ...]:
    """The step that writes the notes anew, or none when they are right. Raises BadRequest for more than they may be."""
    if not state.notes_waiting and dict(state.notes) == dict(wanted):
        return ()
    path, directory = notes_path(state), state.location.directory
    if not wanted:
        return (Remove((path,), directory),)
    if len(wanted) >= len(state.notes):
        refuse_too_much(wanted, path)
    temporary = f"{directory}/{temporary_name(NOTES, 'new')}"
    return (ReplaceFile(path, pack_notes(wanted), temporary, like=state.location.descriptor),)


def notes_path(state: BundleState) -> str:
    """Where the names of the snapshots of a bundle are."""
    return f"{state.location.directory}/{NOTES}"


def notes_end_steps(state: BundleState) -> Iterator[Step]:
    """The end of an interrupted change: its snapshot has the name that waits in the journal.

    Nothing is written otherwise: on a full file system that would keep the disk from being put in order, and a name
    without its snapshot harms nobody.
    """
    if state.notes_waiting and state.notes_unread is None:
        yield from notes_steps(state, notes_after(state, _snapshots(state)))


def _snapshots(state: BundleState) -> Tuple[str, ...]:
    return tuple(guid for guid in state.tree.shots if guid != state.tree.top)

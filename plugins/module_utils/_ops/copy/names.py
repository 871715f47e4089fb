# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The names of snapshots that go with them into the output of a conversion.

A chain of a Parallels disk keeps the GUIDs of its snapshots, so the names in the bundle or in its virtual machine mean
the same snapshots in the copy. Nothing else of the machine goes with them.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, List, Sequence, Tuple

from ..._bundle.bundle import BundleState
from ..._bundle.naming import NOTES
from ..._bundle.notes import Note, Notes, bounded, pack_notes
from ..._core.plan import CreateFile, Step, Sync, WriteBytes
from ..._guest.source import Source

if TYPE_CHECKING:
    from ..convert.conversion import Conversion


def carried_notes(conversion: Conversion, guids: Sequence[str]) -> Notes:
    """What is known of the snapshots of the output, whose layers have these GUIDs, topmost first."""
    source = conversion.source
    found = {}
    for guid, note in zip(guids[1:], _notes_of(source, [depth for depth in reversed(conversion.depths) if depth])):
        if any(note):
            found[guid] = note
    return found


def notes_file_steps(directory: str, notes: Notes) -> Iterator[Step]:
    """The file of names in a new bundle; none without names."""
    if not notes:
        return
    path = f"{directory}/{NOTES}"
    yield CreateFile(path, 0)
    yield WriteBytes(path, 0, pack_notes(notes))
    yield Sync(files=(path,))


def other_names(conversion: Conversion) -> Tuple[str, ...]:
    """A warning where an output that stays calls its snapshots otherwise than the source."""
    state, count = conversion.destination.state, len(conversion.depths)
    if state is None or count < 2 or len(state.tree.current_chain) != count:
        return ()
    wanted = carried_notes(conversion, state.tree.current_chain)
    if not wanted or all(state.notes.get(guid, Note()).name == note.name for guid, note in wanted.items()):
        return ()
    text = "the source has other names for its snapshots; with update: always and force: true they are written, too"
    return (f"{conversion.request.path}: {text}.",)


def unread_names(conversion: Conversion) -> Tuple[str, ...]:
    """A warning where the names of snapshots that are copied cannot be read, and so are not copied."""
    state = conversion.source.state
    if state is None or state.notes_unread is None or len(conversion.depths) < 2:
        return ()
    return (f"{state.notes_unread} The snapshots of the output have no names.",)


def _notes_of(source: Source, depths: Sequence[int]) -> List[Note]:
    if source.state is None or source.guid is None:
        return [Note()] * len(depths)
    chain = source.state.tree.chain(source.guid)
    return [_note(source.state, chain[depth]) for depth in depths]


def _note(state: BundleState, guid: str) -> Note:
    """What a snapshot is called; the machine's name counts, as it does everywhere."""
    note = state.notes.get(guid, Note())
    machine = None if state.surroundings is None else state.surroundings.machine.facts
    listed = None if machine is None else machine.snapshots.get(guid)
    if listed is None:
        return note
    return bounded(note._replace(name=listed.name or note.name, taken=listed.date or note.taken))

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for the names of snapshots (findings ``names_unreadable``, ``name_without_snapshot``)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Iterator, List, Optional, Tuple

from ..._bundle.naming import NOTES
from ..._bundle.notes import Notes, read_notes
from ..._bundle.paths import Location
from ..._bundle.tree import SnapshotTree
from ..._core.findings import Finding, found
from ..._io.port import Port
from .descriptor import listed


def read_notes_of(port: Port, location: Location) -> Tuple[Notes, List[Finding]]:
    """The names that are kept with a disk, and a finding when they cannot be read."""
    path = posixpath.join(location.directory, NOTES)
    notes, warning = read_notes(port, path)
    return notes, [found("names_unreadable", path, warning)] if warning is not None else []


def examine_notes(location: Location, tree: Optional[SnapshotTree], notes: Notes) -> Iterator[Finding]:
    """Names of snapshots that the disk does not have: other software has deleted those."""
    gone = [f"{guid} ({note.name or 'no name'})" for guid, note in notes.items() if tree and guid not in tree.shots]
    if gone:
        text = f"There are names of snapshots that the disk does not have; the next change drops them: {listed(gone)}."
        yield found("name_without_snapshot", posixpath.join(location.directory, NOTES), text)

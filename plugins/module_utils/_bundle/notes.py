# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What users call the snapshots of a disk: a small file of ours in the bundle, beside the descriptor.

The descriptor has GUIDs alone. Nothing needs this file: without it, or when it is damaged, names are lost and no more.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from .._core import guid as guids
from .._core.errors import BadRequest, DiskError
from .._io.durable import read_file
from .._io.port import FILE, Port

MOST_BYTES = 1 << 20
"""The longest file that is read."""

_MOST = 4096
_LONGEST_NAME = 1000
_LONGEST_DESCRIPTION = 10000
_VERSION = 1
_WHAT = "names of the snapshots of this virtual disk, kept by the Ansible collection vdisk.parallels"


class Note(NamedTuple):
    """What is known of one snapshot; ``taken`` is the time in UTC, as ``2026-01-31T12:00:00Z``."""

    name: Optional[str] = None
    taken: Optional[str] = None
    description: Optional[str] = None


Notes = Mapping[str, Note]
"""Notes by the GUID of their snapshot."""


def read_notes(port: Port, path: str) -> Tuple[Notes, Optional[str]]:
    """The notes in the file at ``path``, and a sentence about one that cannot be understood. Never raises for it."""
    try:
        stat = port.lstat(path)
        if stat is None:
            return {}, None
        if stat.kind != FILE:
            raise ValueError("it is no regular file")
        return parse_notes(read_file(port, path, limit=MOST_BYTES)), None
    except (DiskError, ValueError, RecursionError) as error:
        return {}, f"{path}: the names of snapshots cannot be read ({str(error)[:100]})."


def parse_notes(raw: bytes) -> Notes:
    """The notes in a file's content. Raises ValueError for what is none."""
    record = json.loads(raw.decode("utf-8"))
    if not isinstance(record, dict) or record.get("version") != _VERSION:
        raise ValueError("unknown version")
    entries = record.get("snapshots")
    if not isinstance(entries, dict) or len(entries) > _MOST:
        raise ValueError("no table of snapshots")
    return {guids.normalise(guid): note_of(entry) for guid, entry in entries.items() if guids.is_guid(guid)}


def note_of(entry: object) -> Note:
    """One note as it is stored. Raises ValueError for what is none."""
    if not isinstance(entry, dict):
        raise ValueError("a snapshot is no object")
    longest = {"name": _LONGEST_NAME, "taken": 40, "description": _LONGEST_DESCRIPTION}
    return Note(**{field: _text(entry.get(field), most) for field, most in longest.items()})


def _text(value: object, most: int) -> Optional[str]:
    if value is not None and not isinstance(value, str):
        raise ValueError("a text is none")
    return None if value is None else value.encode("utf-8", "replace").decode("utf-8")[:most]


def pack_notes(notes: Notes) -> bytes:
    """The content of the file."""
    table: Dict[str, Any] = {guid: dict(note._asdict()) for guid, note in notes.items()}
    record = {"what": _WHAT, "version": _VERSION, "snapshots": table}
    return (json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def bounded(note: Note) -> Note:
    """The note as it is read again."""
    return note_of(note._asdict())


def refuse_too_much(notes: Notes, path: str) -> None:
    """Raise BadRequest for notes that the file at ``path`` could not hold: it would not be read again."""
    length = len(pack_notes(notes))
    if length > MOST_BYTES or len(notes) > _MOST:
        raise BadRequest(
            "The names and descriptions of all snapshots would be too long for the file that keeps them",
            path=path,
            expected=f"at most {MOST_BYTES} bytes and {_MOST} snapshots",
            found=f"{length} bytes, {len(notes)} snapshots",
            hint="Give a shorter description, or shorten or delete other snapshots first.",
        )


def waiting_notes(request: Mapping[str, Any]) -> Notes:
    """The name that the journal of an interrupted change has for a snapshot; what cannot be one is passed over."""
    entry = request.get("note")
    if not isinstance(entry, dict) or not isinstance(entry.get("guid"), str) or not guids.is_guid(entry["guid"]):
        return {}
    try:
        return {guids.normalise(entry["guid"]): note_of(entry)}
    except ValueError:
        return {}

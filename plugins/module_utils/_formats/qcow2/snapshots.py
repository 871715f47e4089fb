# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The internal snapshots of a qcow2 file: each has an L1 table of its own, and shares clusters with all others.

::

    | L1 offset 8 | L1 entries 4 | id 2 | name 2 | times 16 | state 4 | extra 4 | extra data | id | name | pad to 8 |
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import List, NamedTuple, Tuple

from ..._core.errors import Damaged, NoSuchSnapshot
from ..._core.records import replace
from ..._core.units import round_up
from ..._io.port import File, Port
from .layout import (
    HEADER_BYTES,
    DamagedTables,
    Qcow2Header,
    check_tables,
    cluster_bits_of,
    parse_header,
    snapshots_offset,
)

_ENTRY = struct.Struct(">QIHHIIQII")
_DISK_SIZE = struct.Struct(">8xQ")
# The limit of QEMU.
_MOST_EXTRA = 1024
_SHOWN = 20
BY_ID = "\0"
"""What stands before an id that is no name."""


class InternalSnapshot(NamedTuple):
    """One snapshot: what it is called, and where its L1 table is. ``size`` is that of the disk in bytes."""

    id: str
    name: str
    l1_offset: int
    l1_entries: int
    size: int
    has_saved_state: bool = False


def read_snapshots(file: File, header: Qcow2Header, offset: int) -> Tuple[InternalSnapshot, ...]:
    """The snapshots in the table at ``offset``. Raises Damaged."""
    found: List[InternalSnapshot] = []
    for _number in range(header.snapshots):
        raw = _piece(file, offset, _ENTRY.size)
        l1_offset, l1_entries, id_bytes, name_bytes, *_times, state_bytes, extra = _ENTRY.unpack(raw)
        if extra > _MOST_EXTRA:
            message = "An internal snapshot has too much extra data"
            raise DamagedTables(message, file.path, offset + 36, expected=_MOST_EXTRA, found=extra)
        rest = _piece(file, offset + _ENTRY.size, extra + id_bytes + name_bytes)
        # Before extra data there were no disks that change their size.
        size = _DISK_SIZE.unpack_from(rest)[0] if extra >= _DISK_SIZE.size else header.size_bytes
        # The first extra field is the size of the saved state in 64 bits.
        has_state = bool(state_bytes or (extra >= 8 and any(rest[:8])))
        number, name = _text(rest[extra : extra + id_bytes]), _text(rest[extra + id_bytes :])
        found.append(InternalSnapshot(number, name, l1_offset, l1_entries, size, has_state))
        offset += round_up(_ENTRY.size + len(rest), 8)
    return tuple(found)


def at_snapshot(file: File, header: Qcow2Header, offset: int, wanted: str) -> Qcow2Header:
    """``header`` as it would be at the snapshot with this name or id, after BY_ID only the id.

    Raises NoSuchSnapshot, Damaged.
    """
    snapshots = read_snapshots(file, header, offset)
    if wanted.startswith(BY_ID):
        wanted = wanted[len(BY_ID) :]
        named = [one for one in snapshots if one.id == wanted]
    else:
        named = [one for one in snapshots if one.name == wanted] or [one for one in snapshots if one.id == wanted]
    if len(named) != 1:
        known = ", ".join(f"{one.name!r} (id {one.id})" for one in snapshots[:_SHOWN])
        raise NoSuchSnapshot(
            f"The image has {'several snapshots' if named else 'no snapshot'} called {wanted[:80]!r}",
            path=file.path,
            found=wanted[:80],
            hint=f"It has {known}." if known else "It has no snapshots; leave snapshot out.",
        )
    one = named[0]
    there = replace(
        header,
        l1_offset=one.l1_offset,
        l1_entries=one.l1_entries,
        size_bytes=one.size,
        snapshots=0,
        has_saved_state=one.has_saved_state,
    )
    check_tables(there, file.path, file.size())
    return there


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _piece(file: File, offset: int, length: int) -> bytes:
    raw = bytearray(length)
    got = file.pread_into(offset, raw)
    if got < length:
        raise Damaged("The file ends within its snapshots", file.path, offset + got, expected=length, found=got)
    return bytes(raw)


def held_in(port: Port, path: str) -> Tuple[InternalSnapshot, ...]:
    """The snapshots in the image at ``path``, in the order of their making. Raises what opening it raises."""
    file = port.open_read(path)
    try:
        start = bytearray(HEADER_BYTES[2])
        start = start[: file.pread_into(0, start)]
        raw = bytearray(min(file.size(), 1 << cluster_bits_of(bytes(start), path=path)))
        raw = raw[: file.pread_into(0, raw)]
        header = parse_header(bytes(raw), path=path, file_size=file.size())
        return read_snapshots(file, header, snapshots_offset(bytes(raw)))
    finally:
        file.close()

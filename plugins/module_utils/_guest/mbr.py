# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot records with other partitions in them: the classic record in sector 0, and the chain in an extended partition.

::

    | record 0 | p1 | extended [ record | p5 .. | record | p6 .. ] |

A record in the chain has two entries: its own partition, counted from the record, and the next record, counted from the
start of the extended partition. Each record is one sector, so it changes at once.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Dict, List, Optional, Tuple

from .._core.records import dataclass
from .._formats.image import GuestView

EXTENDED = frozenset((0x05, 0x0F, 0x85))
_RECORD = 512
_FIRST = 446
_MOST_LOGICAL = 128
_HEADS, _PER_TRACK = 255, 63
_BEYOND = b"\xfe\xff\xff"


@dataclass(frozen=True)
class MbrEntry:
    """A partition: ``start`` and ``count`` in sectors of the disk, and the sector and slot of its record.

    ``link`` is the sector of the record in front of its own in the chain; None for a primary one and the first.
    """

    number: int
    kind: int
    active: bool
    start: int
    count: int
    record: int
    slot: int
    link: Optional[int] = None

    @property
    def end(self) -> int:
        """The sector behind its last."""
        return self.start + self.count


@dataclass(frozen=True)
class Mbr:
    """A boot record with all that hangs on it, in sectors of ``sector`` bytes. ``records`` are as stored."""

    sector: int
    entries: Tuple[MbrEntry, ...]
    records: Dict[int, bytes]

    @property
    def signature(self) -> int:
        """The number by which systems know the disk."""
        return int(struct.unpack_from("<I", self.records[0], 440)[0])

    @property
    def extended(self) -> Optional[MbrEntry]:
        """The extended partition."""
        return next((entry for entry in self.entries if entry.kind in EXTENDED), None)


def read_mbr(disk: GuestView, sector: int) -> Optional[Mbr]:
    """The partitions of a classic boot record; None for none, or for a chain that is not sound."""
    first = _read(disk, 0)
    if first[510:] != b"\x55\xaa":
        return None
    records = {0: first}
    found: List[MbrEntry] = []
    for slot in range(4):
        raw = first[_FIRST + 16 * slot : _FIRST + 16 * slot + 16]
        start, count = struct.unpack_from("<II", raw, 8)
        if raw[0] not in (0, 0x80):
            return None
        if raw[4] and count:
            found.append(MbrEntry(slot + 1, raw[4], raw[0] == 0x80, start, count, 0, slot))
    outer = [entry for entry in found if entry.kind in EXTENDED]
    if not found or len(outer) > 1 or any(not entry.start or entry.end * sector > disk.size for entry in found):
        return None
    logical = _chain(disk, sector, outer[0], records) if outer else []
    return None if logical is None else Mbr(sector, (*found, *logical), records)


def _chain(disk: GuestView, sector: int, outer: MbrEntry, records: Dict[int, bytes]) -> Optional[List[MbrEntry]]:
    """The partitions in an extended one; None unless each is behind the one before, within the extended one."""
    found: List[MbrEntry] = []
    record, link, end = outer.start, None, outer.start
    for number in range(5, 5 + _MOST_LOGICAL):
        raw = _read(disk, record * sector)
        if raw[510:] != b"\x55\xaa":
            return None if found else []
        records[record] = raw
        start, count = struct.unpack_from("<II", raw, _FIRST + 8)
        following = struct.unpack_from("<I", raw, _FIRST + 24)[0]
        if raw[_FIRST + 4] and count:
            entry = MbrEntry(number, raw[_FIRST + 4], raw[_FIRST] == 0x80, record + start, count, record, 0, link)
            if not start or entry.start < end or entry.end > outer.end:
                return None
            found.append(entry)
            end = entry.end
        if not following:
            return found
        if outer.start + following < max(end, record + 1) or outer.start + following >= outer.end:
            return None
        record, link = outer.start + following, record
    return None


def with_place(raw: bytes, slot: int, *, start: int, count: int, base: int = 0) -> bytes:
    """A record whose entry ``slot`` is ``count`` sectors from ``start`` on, stored as counted from ``base``."""
    changed = bytearray(raw)
    at = _FIRST + 16 * slot
    struct.pack_into("<II", changed, at + 8, start - base, count)
    changed[at + 1 : at + 4] = _chs(start)
    changed[at + 5 : at + 8] = _chs(start + count - 1)
    return bytes(changed)


def _chs(sector: int) -> bytes:
    """A sector by cylinder, head and sector, as far as that reaches."""
    cylinder, rest = divmod(sector, _HEADS * _PER_TRACK)
    if cylinder > 1023:
        return _BEYOND
    head, track = divmod(rest, _PER_TRACK)
    return bytes((head, (track + 1) | (cylinder >> 2 & 0xC0), cylinder & 0xFF))


def _read(disk: GuestView, offset: int) -> bytes:
    buffer = bytearray(_RECORD)
    if offset + _RECORD <= disk.size:
        disk.pread_into(offset, buffer)
    return bytes(buffer)

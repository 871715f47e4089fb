# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading one space-efficient sparse extent of a VMDK (seSparse, the snapshots of vSphere).

Numbers are little-endian and of 64 bits, places and lengths in the header are sectors; the facts are those of
``block/vmdk.c`` of QEMU::

    header | volatile header | journal | directory | tables | free bitmap | back map | grains of 4 KiB

    directory entry   0, or 1 in the highest digit and the number of a table in the lower half
    table entry       digit 0: nothing, 1 or 2: zeros, 3: stored, with the number of its grain in two parts
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from array import array
from functools import partial
from typing import Iterator, NamedTuple, Tuple

from ..._core.errors import Unsupported
from ..._core.extents import ZERO, Extent
from ..._core.units import SECTOR, ceil_div
from ..._core.words import unpack_words
from ..._io.buffers import clear
from ..._io.port import File
from ..damage import DamagedSource
from ..mapping import read_stored, run_extents
from ..place import Place
from .caches import Caches
from .layout import MOST_SECTORS

_MAGIC, _VERSION, _VOLATILE_MAGIC = 0xCAFEBABE, 0x0000000200000001, 0xCAFECAFE
_HEADER = struct.Struct("<26Q")
_GRAIN_SECTORS, _TABLE_SECTORS = 8, 64
_TABLE_BYTES = _TABLE_SECTORS * SECTOR
_TABLE_ENTRIES = _TABLE_BYTES // 8
_KIND = 0xF << 60
_NOTHING, _UNMAPPED, _ZERO, _STORED = (kind << 60 for kind in range(4))
_HINT = "Consolidate the snapshots of the machine in vSphere, and take the disk then."


class _Run(NamedTuple):
    """Grains of one kind; stored ones lie in one piece from byte ``offset`` on."""

    grain: int
    grains: int
    kind: int
    offset: int


class SeSparseExtent:
    """An open extent of ``size`` bytes. Offsets are seen from the start of the extent."""

    is_compressed = False
    grain_sectors = _GRAIN_SECTORS
    grain_bytes = _GRAIN_SECTORS * SECTOR
    warnings: Tuple[str, ...] = ()

    def __init__(self, file: File, caches: Caches) -> None:
        fields = _header(file)
        self.file = file
        self.path = file.path
        self.capacity = fields[2]
        self.size = self.capacity * SECTOR
        self._file_bytes = file.size()
        self._tables_at = fields[18] * SECTOR
        self._grains_at = fields[24] * SECTOR
        self._caches = caches
        needed = ceil_div(self.capacity, _GRAIN_SECTORS * _TABLE_ENTRIES)
        caches.reserve(needed, file.path)
        self._directory = self._read_directory(fields[16] * SECTOR, min(needed * 8, fields[17] * SECTOR), needed)

    def _read_directory(self, offset: int, length: int, needed: int) -> array[int]:
        if length < needed * 8:
            raise self._damaged("The grain directory is too short for the disk", offset, needed * 8, length)
        raw = bytearray(length)
        read_stored(self.file, offset, memoryview(raw))
        directory = unpack_words(bytes(raw), "Q")
        used = [entry for entry in directory if entry]
        if any(entry >> 32 != _UNMAPPED >> 32 for entry in used) or len(set(used)) < len(used):
            wrong = next(entry for entry in used if entry >> 32 != _UNMAPPED >> 32 or used.count(entry) > 1)
            raise self._damaged("An entry of the grain directory is wrong", offset, "a table of its own", hex(wrong))
        return directory

    def extents(self, start: int, end: int, hole: str) -> Iterator[Extent]:
        """What the range is made of; what has no entry is of the kind ``hole``. Neighbours may be alike."""
        for begin, stop, run in self._clipped(start, end):
            if run.kind == _STORED:
                stored = (begin, stop - begin, run.offset + begin - run.grain * self.grain_bytes)
                yield from run_extents(self.file, (stored,), begin, stop, ZERO)
            else:
                yield Extent(begin, stop - begin, hole if run.kind == _NOTHING else ZERO)

    def pread_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` from ``offset``; grains that are not stored give zeros. Raises Damaged."""
        for begin, stop, run in self._clipped(offset, offset + len(view)):
            part = view[begin - offset : stop - offset]
            if run.kind == _STORED:
                read_stored(self.file, run.offset + begin - run.grain * self.grain_bytes, part)
            else:
                clear(part)

    def places(self, start: int, end: int) -> Iterator[Place]:
        """The grains of the range that are stored."""
        for begin, stop, run in self._clipped(start, end):
            if run.kind == _STORED:
                yield Place(begin, stop - begin, self.file, run.offset + begin - run.grain * self.grain_bytes)

    def _clipped(self, start: int, end: int) -> Iterator[Tuple[int, int, _Run]]:
        for run in self._runs(start // self.grain_bytes, ceil_div(end, self.grain_bytes)):
            begin, stop = run.grain * self.grain_bytes, (run.grain + run.grains) * self.grain_bytes
            yield max(start, begin), min(end, stop), run

    def _runs(self, first: int, end: int) -> Iterator[_Run]:
        for number in range(first // _TABLE_ENTRIES, ceil_div(end, _TABLE_ENTRIES)):
            base = number * _TABLE_ENTRIES
            begin, stop = max(first, base), min(end, base + _TABLE_ENTRIES)
            if not self._directory[number]:
                yield _Run(begin, stop - begin, _NOTHING, 0)
                continue
            entries = self._caches.tables.of((id(self), number), partial(self._table, number))
            yield from self._entry_runs(entries, base, begin - base, stop - base)

    def _entry_runs(self, entries: array[int], base: int, index: int, end: int) -> Iterator[_Run]:
        while index < end:
            entry, stop = entries[index], index + 1
            kind = _ZERO if entry & _KIND == _UNMAPPED else entry & _KIND
            place = _place(entry) if kind == _STORED else 0
            while stop < end and self._continues(kind, place + stop - index, entries[stop]):
                stop += 1
            yield _Run(base + index, stop - index, kind, self._grains_at + place * self.grain_bytes)
            index = stop

    @staticmethod
    def _continues(kind: int, place: int, entry: int) -> bool:
        if kind == _STORED:
            return entry & _KIND == _STORED and _place(entry) == place
        return entry & _KIND in ((_NOTHING,) if kind == _NOTHING else (_UNMAPPED, _ZERO))

    def _table(self, number: int) -> array[int]:
        offset = self._tables_at + (self._directory[number] & 0xFFFFFFFF) * _TABLE_BYTES
        raw = bytearray(_TABLE_BYTES)
        read_stored(self.file, offset, memoryview(raw))
        entries = unpack_words(bytes(raw), "Q")
        # What lies past the end of the disk means nothing.
        del entries[ceil_div(self.capacity, _GRAIN_SECTORS) - number * _TABLE_ENTRIES :]
        self._check(entries, number, offset)
        return entries

    def _check(self, entries: array[int], number: int, offset: int) -> None:
        """Raise Damaged unless each entry is possible and each stored grain is in the file, once."""
        seen = set()
        for index, entry in enumerate(entries):
            if not entry:
                continue
            if entry & _KIND not in (_UNMAPPED, _ZERO, _STORED):
                raise self._damaged(
                    "An entry of a grain table is wrong", offset + 8 * index, "kinds 0 to 3", hex(entry)
                )
            if entry & _KIND == _STORED:
                place = _place(entry)
                # Of the last grain only what the guest sees must be there.
                visible = min(self.grain_bytes, self.size - (number * _TABLE_ENTRIES + index) * self.grain_bytes)
                end = self._grains_at + place * self.grain_bytes + visible
                if end > self._file_bytes or place in seen:
                    message = "A grain lies beyond the end of the file, or where another one is"
                    raise self._damaged(message, offset + 8 * index, f"below {self._file_bytes}, once", end)
                seen.add(place)

    def _damaged(self, message: str, offset: int, expected: object, found: object) -> DamagedSource:
        return DamagedSource(message, self.path, offset, expected=expected, found=found)


def _place(entry: int) -> int:
    """The number of a stored grain: its lower 12 bits stand above the others."""
    return (entry >> 48 & 0xFFF) | (entry & 0xFFFFFFFFFFFF) << 12


def _header(file: File) -> Tuple[int, ...]:
    """The fields of the header. Raises Damaged, and Unsupported for what no vSphere makes or has not finished."""
    fields = _fields(file, 0)
    magic, version, capacity, grain, table = fields[:5]
    if magic != _MAGIC:
        raise DamagedSource("This is no header of a seSparse extent", file.path, 0, expected=hex(_MAGIC), found=magic)
    if version != _VERSION or (grain, table) != (_GRAIN_SECTORS, _TABLE_SECTORS) or fields[5]:
        message, found = "The seSparse extent is of an unknown version", (hex(version), grain, table, fields[5])
        raise Unsupported(message, file.path, 8, expected=(hex(_VERSION), 8, 64, 0), found=found, hint=_HINT)
    if not 0 < capacity <= MOST_SECTORS or max(fields[10:26]) > MOST_SECTORS:
        raise DamagedSource("The header of the extent has an impossible number", file.path, 16, found=capacity)
    volatile = _fields(file, fields[10] * SECTOR)
    if volatile[0] != _VOLATILE_MAGIC:
        raise DamagedSource("The second header of the extent is wrong", file.path, fields[10] * SECTOR)
    if volatile[3]:
        message = "The journal of the seSparse extent was not replayed"
        raise Unsupported(message, file.path, fields[10] * SECTOR + 24, found=volatile[3], hint=_HINT)
    return fields


def _fields(file: File, offset: int) -> Tuple[int, ...]:
    raw = bytearray(SECTOR)
    read_stored(file, offset, memoryview(raw))
    return _HEADER.unpack_from(raw)

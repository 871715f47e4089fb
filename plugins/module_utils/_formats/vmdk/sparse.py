# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading one sparse extent of a VMDK: hosted sparse, streamOptimized, or COWD.

The directory is read and judged at once (a disk has at most four MiB of them), tables when they are needed: single ones
through a small cache, many of them in large pieces, without what the host knows to be holes. Each table is judged
whenever it is read.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import zlib
from array import array
from bisect import bisect_left, bisect_right
from functools import partial
from itertools import repeat
from operator import add, le
from typing import Iterator, NamedTuple, NoReturn, Optional, Sequence, Tuple, Union

from ..._core.extents import DATA, ZERO, Extent
from ..._core.units import SECTOR, ceil_div
from ..._core.words import unpack_words
from ..._io.buffers import clear
from ..._io.port import File
from ..damage import DamagedSource
from ..mapping import read_stored, run_extents
from ..place import Place
from .caches import Caches
from .layout import GRAIN_HEADER, ZEROED_GRAIN, CowdHeader, SparseHeader

_READ_BYTES = 256 << 10
_ZEROS = bytes(_READ_BYTES)
_FIRST_READ = 4096
# So many tables are taken one by one, through the cache.
_FEW_TABLES = 4


class _Table(NamedTuple):
    """A grain table and its number."""

    number: int
    entries: array[int]


class SparseExtent:
    """An open sparse extent of ``size`` bytes. Offsets are seen from the start of the extent."""

    def __init__(self, file: File, header: Union[SparseHeader, CowdHeader], caches: Caches) -> None:
        self.file = file
        self.path = file.path
        self.size = header.capacity * SECTOR
        self.capacity = header.capacity
        self.grain_sectors = header.grain_sectors
        self.grain_bytes = header.grain_sectors * SECTOR
        self.table_entries = header.table_entries
        self.tables = header.tables
        self.grains = ceil_div(header.capacity, header.grain_sectors)
        self.is_compressed = header.is_compressed
        self.has_zeroed_grains = header.has_zeroed_grains
        self.warnings: Tuple[str, ...] = ()
        self.directory: array[int] = array("I")
        self._first_free = header.first_free_sector
        self._caches = caches
        self._file_bytes = file.size()
        self._table_bytes = header.table_entries * 4
        self._table_sectors = ceil_div(self._table_bytes, SECTOR)
        # Where the directory and the tables lie, ascending.
        self._places: Sequence[int] = ()
        self._directory_zone = (0, 0)

    def load_directory(self, sector: int) -> None:
        """Read and judge the directory at ``sector``. Raises Damaged."""
        length = self.tables * 4
        end = sector + ceil_div(length, SECTOR)
        if sector < self._first_free or sector * SECTOR + length > self._file_bytes:
            expected = f"sectors {self._first_free}..{self._file_bytes // SECTOR}"
            self._refuse(
                "The grain directory lies outside of the file's free room", None, expected=expected, found=sector
            )
        directory = unpack_words(self._read(sector * SECTOR, length))
        places = array("I", sorted(filter(None, directory)))
        if places:
            self._check_places(directory, places, sector, end)
        self.directory, self._places, self._directory_zone = directory, places, (sector, end)

    def _check_places(self, directory: array[int], places: array[int], start: int, end: int) -> None:
        step = self._table_sectors
        if not all(map(le, map(add, places, repeat(step)), places[1:])):
            wrong = next(low for low, high in zip(places, places[1:]) if low + step > high)
            self._refuse(
                "Two grain tables overlap",
                start * SECTOR + 4 * directory.index(wrong),
                expected=f"steps of {step} sectors",
                found=wrong,
            )
        wrong = places[0] if places[0] < self._first_free else places[-1]
        if wrong < self._first_free or wrong * SECTOR + self._table_bytes > self._file_bytes:
            expected = f"sectors {self._first_free}..{self._file_bytes // SECTOR}"
            self._refuse(
                "A grain table lies outside of the file's free room",
                start * SECTOR + 4 * directory.index(wrong),
                expected=expected,
                found=wrong,
            )
        index = bisect_right(places, start - step)
        if index < len(places) and places[index] < end:
            wrong = places[index]
            self._refuse(
                "A grain table overlaps its directory",
                start * SECTOR + 4 * directory.index(wrong),
                expected=f"not in {start}..{end}",
                found=wrong,
            )

    def extents(self, start: int, end: int, hole: str) -> Iterator[Extent]:
        """What the range is made of; what has no entry is of the kind ``hole``. Neighbours may be alike."""
        grain = self.grain_bytes
        for first, count, sector in self._runs(start // grain, ceil_div(end, grain)):
            begin, stop = max(start, first * grain), min(end, (first + count) * grain)
            if sector <= ZEROED_GRAIN:
                yield Extent(begin, stop - begin, ZERO if sector else hole)
            elif self.is_compressed:
                yield Extent(begin, stop - begin, DATA)
            else:
                stored = (begin, stop - begin, sector * SECTOR + begin - first * grain)
                yield from run_extents(self.file, (stored,), begin, stop, ZERO)

    def pread_into(self, offset: int, view: memoryview) -> None:
        """Fill ``view`` from ``offset``; grains that are not stored give zeros. Raises Damaged."""
        grain = self.grain_bytes
        end = offset + len(view)
        for first, count, sector in self._runs(offset // grain, ceil_div(end, grain)):
            begin, stop = max(offset, first * grain), min(end, (first + count) * grain)
            part = view[begin - offset : stop - offset]
            if sector <= ZEROED_GRAIN:
                clear(part)
            elif self.is_compressed:
                part[:] = self._inflated(first, sector)[begin - first * grain : stop - first * grain]
            else:
                read_stored(self.file, sector * SECTOR + begin - first * grain, part)

    def places(self, start: int, end: int) -> Iterator[Place]:
        """The grains of the range that are stored and not compressed."""
        grain = self.grain_bytes
        for first, count, sector in () if self.is_compressed else self._runs(start // grain, ceil_div(end, grain)):
            begin, stop = max(start, first * grain), min(end, (first + count) * grain)
            if sector > ZEROED_GRAIN:
                yield Place(begin, stop - begin, self.file, sector * SECTOR + begin - first * grain)

    def _runs(self, first: int, end: int) -> Iterator[Tuple[int, int, int]]:
        """Grains ``first`` up to ``end`` as runs ``(grain, count, sector)``; not stored: 0 or ZEROED_GRAIN."""
        size = self.table_entries
        for table, count, entries in self._tables(first // size, ceil_div(end, size)):
            begin, stop = max(first, table * size), min(end, (table + count) * size)
            if entries is None:
                yield begin, stop - begin, 0
            else:
                yield from self._entry_runs(entries, begin - table * size, stop - table * size, table * size)

    def _entry_runs(self, entries: array[int], index: int, end: int, base: int) -> Iterator[Tuple[int, int, int]]:
        step = self.grain_sectors
        value = entries[index]
        if value > ZEROED_GRAIN and not self.is_compressed and entries[end - 1] == value + (end - 1 - index) * step:
            if entries[index:end] == array("I", range(value, value + (end - index) * step, step)):
                yield base + index, end - index, value
                return
        while index < end:
            value = entries[index]
            stop = index + 1
            if value <= ZEROED_GRAIN:
                while stop < end and entries[stop] == value:
                    stop += 1
            elif not self.is_compressed:
                following = value + step
                while stop < end and entries[stop] == following:
                    stop += 1
                    following += step
            yield base + index, stop - index, value
            index = stop

    def _tables(self, position: int, end: int) -> Iterator[Tuple[int, int, Optional[array[int]]]]:
        """Tables ``position`` up to ``end`` as ``(table, count, entries)``; None for tables without entries."""
        directory = self.directory
        one_by_one = end - position <= _FEW_TABLES
        step = self._table_sectors
        while position < end:
            sector = directory[position]
            stop = position + 1
            if not sector:
                while stop < end and not directory[stop]:
                    stop += 1
                yield position, stop - position, None
            elif one_by_one:
                yield position, 1, self._cached_table(position)
            else:
                following = sector + step
                while stop < end and directory[stop] == following:
                    stop += 1
                    following += step
                yield from self._read_tables(position, stop - position)
            position = stop

    def _read_tables(self, first: int, count: int) -> Iterator[Tuple[int, int, Optional[array[int]]]]:
        """``count`` tables that lie one after the other in the file."""
        # Tables of fewer entries than a sector holds have a gap after them.
        stride = self._table_sectors * SECTOR
        base = self.directory[first] * SECTOR
        done = 0
        for start, end in self.file.data_ranges(base, base + count * stride):
            begin = max(done, (start - base) // stride)
            if begin > done:
                yield first + done, begin - done, None
                done = begin
            stop = min(count, ceil_div(end - base, stride))
            while done < stop:
                number = min(stop - done, max(1, _READ_BYTES // stride))
                yield from self._read_piece(first + done, number, base + done * stride, stride)
                done += number
        if done < count:
            yield first + done, count - done, None

    def _read_piece(
        self, first: int, number: int, offset: int, stride: int
    ) -> Iterator[Tuple[int, int, Optional[array[int]]]]:
        raw = self._read(offset, (number - 1) * stride + self._table_bytes)
        if raw == _ZEROS[: len(raw)]:
            yield first, number, None
            return
        for index in range(number):
            piece = raw[index * stride : index * stride + self._table_bytes]
            if piece == _ZEROS[: len(piece)]:
                yield first + index, 1, None
            else:
                yield first + index, 1, self._unpacked(piece, first + index)

    def _cached_table(self, table: int) -> array[int]:
        return self._caches.tables.of((id(self), table), partial(self._read_table, table))

    def _read_table(self, table: int) -> array[int]:
        return self._unpacked(self._read(self.directory[table] * SECTOR, self._table_bytes), table)

    def _unpacked(self, raw: bytes, table: int) -> array[int]:
        entries = unpack_words(raw)
        # What lies past the end of the disk means nothing.
        del entries[self.grains - table * self.table_entries :]
        self._check_entries(_Table(table, entries))
        return entries

    def _check_entries(self, table: _Table) -> None:
        """Raise Damaged unless every grain is in the file, only once, and outside of what else is known to be there."""
        used = sorted(filter(None, table.entries))
        if self.has_zeroed_grains:
            del used[: bisect_right(used, ZEROED_GRAIN)]
        if not used:
            return
        step = 1 if self.is_compressed else self.grain_sectors
        if not all(map(le, map(add, used, repeat(step)), used[1:])):
            wrong = next(low for low, high in zip(used, used[1:]) if low + step > high)
            self._refuse_entry("Two grains share a part of the file", table, wrong, expected=f"steps of {step} sectors")
        if used[0] < max(2, self._first_free):
            self._refuse_entry(
                "A grain lies in the header", table, used[0], expected=f"sector {self._first_free} or above"
            )
        last = table.entries.index(used[-1]) + table.number * self.table_entries
        # Of the last grain only what the guest sees must be there.
        needed = SECTOR if self.is_compressed else min(self.grain_bytes, self.size - last * self.grain_bytes)
        if used[-1] * SECTOR + needed > self._file_bytes:
            wrong = next(
                sector
                for sector in used
                if sector * SECTOR + (needed if sector == used[-1] else step * SECTOR) > self._file_bytes
            )
            self._refuse_entry(
                "A grain lies beyond the end of the file",
                table,
                wrong,
                expected=f"below sector {self._file_bytes // SECTOR}",
            )
        self._check_zones(table, used, step)

    def _check_zones(self, table: _Table, used: Sequence[int], step: int) -> None:
        start, end = self._directory_zone
        low, high = used[0], used[-1] + step
        index = bisect_right(used, start - step)
        if index < len(used) and used[index] < end:
            self._refuse_entry(
                "A grain overlaps the grain directory", table, used[index], expected=f"not in {start}..{end}"
            )
        places, size = self._places, self._table_sectors
        first, last = bisect_right(places, low - size), bisect_left(places, high)
        for place in places[first:last] if last - first <= len(used) else ():
            index = bisect_right(used, place - step)
            if index < len(used) and used[index] < place + size:
                self._refuse_entry(
                    "A grain overlaps a grain table", table, used[index], expected=f"not in {place}..{place + size}"
                )
        for sector in used if last - first > len(used) else ():
            index = bisect_right(places, sector - size)
            if index < len(places) and places[index] < sector + step:
                place = places[index]
                self._refuse_entry(
                    "A grain overlaps a grain table", table, sector, expected=f"not in {place}..{place + size}"
                )

    def _inflated(self, grain: int, sector: int) -> bytes:
        """The bytes of a deflated grain: all of them, or as many as the disk has where it ends."""
        return self._caches.grain.of((id(self), grain), partial(self._inflate, grain, sector * SECTOR))

    def _inflate(self, grain: int, offset: int) -> bytes:
        packed, begin = self._packed(grain, offset), offset + GRAIN_HEADER.size
        inflater = zlib.decompressobj()
        try:
            content = inflater.decompress(packed, self.grain_bytes + 1)
        except zlib.error as error:
            raise DamagedSource("A grain cannot be inflated", self.path, begin, found=str(error)) from error
        visible = min(self.grain_bytes, self.size - grain * self.grain_bytes)
        if not inflater.eof or not visible <= len(content) <= self.grain_bytes:
            found = f"{len(content)}, ended: {inflater.eof}"
            self._refuse("The grain does not inflate to its length", begin, expected=visible, found=found)
        return content

    def _packed(self, grain: int, offset: int) -> bytes:
        """The zlib stream of a grain, whose header is at file byte ``offset``."""
        raw = self._read(offset, min(_FIRST_READ, self._file_bytes - offset))
        number, size = GRAIN_HEADER.unpack_from(raw)
        expected = grain * self.grain_sectors
        if number != expected:
            self._refuse("The grain belongs to another part of the disk", offset, expected=expected, found=number)
        # Deflate adds little to what does not compress; twice the grain is beyond all of it.
        most = 2 * self.grain_bytes + 64
        if not 0 < size <= most:
            message = "The length of the compressed grain is impossible"
            self._refuse(message, offset + 8, expected=f"1..{most}", found=size)
        begin = GRAIN_HEADER.size
        room = self._file_bytes - offset - begin
        if size > room:
            self._refuse("The file ends within a grain", offset + 8, expected=f"up to {room}", found=size)
        if begin + size > len(raw):
            raw += self._read(offset + len(raw), begin + size - len(raw))
        return raw[begin : begin + size]

    def _read(self, offset: int, length: int) -> bytes:
        buffer = bytearray(length)
        read_stored(self.file, offset, memoryview(buffer))
        return bytes(buffer)

    def _refuse_entry(self, message: str, table: _Table, sector: int, *, expected: object) -> NoReturn:
        offset = self.directory[table.number] * SECTOR + 4 * table.entries.index(sector)
        self._refuse(message, offset, expected=expected, found=f"sector {sector}")

    def _refuse(self, message: str, offset: Optional[int], *, expected: object, found: object) -> NoReturn:
        raise DamagedSource(message, self.path, offset, expected=expected, found=found)

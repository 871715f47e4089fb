# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The log of a VHDX file that was not closed: what it still has to write is laid over the file for reading only.

The log is a ring of 4 KiB sectors. An entry is a run of them, which may go on at the beginning of the ring::

    loge header, descriptors ...  [descriptors ...]  data  data  ...      one data sector for each data descriptor

The active entries have consecutive sequence numbers; the last one says where the first one of them lies (its tail).
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from typing import Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Union

from ..._core.errors import Damaged, Unsupported
from ..._core.units import ceil_div, round_up
from ..._io.port import File
from ..damage import DamagedImage
from .checksum import crc32c
from .layout import UNIT, Region, pack_guid

SECTOR = 4096
MOST_LOG_BYTES = 32 << 20
"""The longest log that is replayed; what is replayed is kept in memory. Hyper-V makes logs of 1 MiB."""

_MOST_ZERO_RANGES = 1 << 16
_PIECE_SECTORS = 64
_HEADER = struct.Struct("<4sIIIQII16sQQ")
# Where an entry carries the GUID of its log.
_ID = slice(32, 48)
_DESCRIPTOR = struct.Struct("<4sIQQQ")
_FIRST_DESCRIPTORS = (SECTOR - _HEADER.size) // _DESCRIPTOR.size
_DESCRIPTORS = SECTOR // _DESCRIPTOR.size
_HINT = "Attach the disk once where it was used, or run 'qemu-img check -r all' on a copy of it."


class Entry(NamedTuple):
    """A valid entry. ``position`` and ``tail`` are sectors of the ring, ``flushed`` and ``last`` file sizes."""

    position: int
    sectors: int
    tail: int
    sequence: int
    descriptors: int
    flushed: int
    last: int


class ReplayedFile:
    """A file as it would be after its log was replayed. Reading only; threads may share it."""

    def __init__(self, file: File, *, size: int, pages: Dict[int, bytes], zeros: List[Tuple[int, int]]) -> None:
        self.path = file.path
        self._file = file
        self._stored = file.size()
        self._size = size
        self._pages = pages
        self._page_order = sorted(pages)
        self._zeros = zeros
        self._zero_ends = [end for _start, end in zeros]

    def size(self) -> int:
        """The length in bytes after the replay."""
        return self._size

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; fewer bytes than asked come back only at the end of the file."""
        view = memoryview(buffer)
        view = view[: max(0, min(len(view), self._size - offset))]
        end = offset + len(view)
        # Sizes in the log are not to be trusted with an offset of the host.
        got = self._file.pread_into(offset, view) if offset < self._stored else 0
        if got < len(view):
            view[got:] = bytes(len(view) - got)
        for index in range(bisect_right(self._zero_ends, offset), len(self._zeros)):
            start, stop = max(offset, self._zeros[index][0]), min(end, self._zeros[index][1])
            if start >= end:
                break
            view[start - offset : stop - offset] = bytes(stop - start)
        first = bisect_left(self._page_order, offset // SECTOR)
        for index in range(first, bisect_left(self._page_order, ceil_div(end, SECTOR))):
            page = self._page_order[index]
            start, stop = max(offset, page * SECTOR), min(end, (page + 1) * SECTOR)
            view[start - offset : stop - offset] = self._pages[page][start - page * SECTOR : stop - page * SECTOR]
        return len(view)

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """All of the range: where the file has holes the log may have data."""
        end = min(end, self._size)
        return iter(((start, end),) if start < end else ())

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def replay(file: File, ring: Region, *, log_id: str) -> ReplayedFile:
    """``file`` with its log, which lies at ``ring`` and belongs to ``log_id``, laid over it.

    Raises Damaged when the log has no valid entries or the file is shorter than they say, Unsupported for a log that is
    too long.
    """
    if ring.length > MOST_LOG_BYTES:
        raise Unsupported(
            "The log is too long to be replayed",
            file.path,
            ring.offset,
            expected=MOST_LOG_BYTES,
            found=ring.length,
            hint=_HINT,
        )
    sectors = _Ring(file, ring)
    run = active_entries(read_entries(sectors, log_id=log_id), ring_sectors=sectors.sectors)
    if not run:
        message = "The file was not closed, and its log has no valid entries"
        raise DamagedImage(message, file.path, ring.offset, expected=f"a log of {log_id}")
    file_size = file.size()
    if file_size < run[-1].flushed:
        message = "The file is shorter than its log says"
        raise DamagedImage(message, file.path, file_size, expected=run[-1].flushed, found=file_size)
    return _lay_over(file, sectors, run, max(file_size, round_up(run[-1].last, UNIT)))


class _Ring:
    """The sectors of the log; numbers after the last one go on at the first."""

    def __init__(self, file: File, region: Region) -> None:
        self.file = file
        self.region = region
        self.sectors = region.length // SECTOR

    def read(self, position: int, count: int) -> bytes:
        position %= self.sectors
        buffer = bytearray(count * SECTOR)
        first = min(count, self.sectors - position)
        parts = ((position, 0, first), (0, first, count))
        for sector, begin, end in parts:
            view = memoryview(buffer)[begin * SECTOR : end * SECTOR]
            offset = self.region.offset + sector * SECTOR
            if view and self.file.pread_into(offset, view) < len(view):
                raise Damaged("The file ends within its log", self.file.path, offset)
        return bytes(buffer)

    def pieces(self, position: int, count: int) -> Iterator[Tuple[int, bytes]]:
        """``count`` sectors from ``position`` on in parts, each with the number of sectors before it."""
        for done in range(0, count, _PIECE_SECTORS):
            yield done, self.read(position + done, min(_PIECE_SECTORS, count - done))

    def heads(self) -> Iterator[Tuple[int, bytes]]:
        """The sectors that an entry may begin with; holes of the file are left out."""
        for start, end in self.file.data_ranges(self.region.offset, self.region.end):
            first, last = (start - self.region.offset) // SECTOR, ceil_div(end - self.region.offset, SECTOR)
            for position in range(first, last, _PIECE_SECTORS):
                piece = self.read(position, min(_PIECE_SECTORS, last - position))
                if b"loge" in piece:
                    for sector in range(len(piece) // SECTOR):
                        if piece.startswith(b"loge", sector * SECTOR):
                            yield position + sector, piece[sector * SECTOR : (sector + 1) * SECTOR]


def read_entries(ring: _Ring, *, log_id: str) -> Dict[int, Entry]:
    """All valid entries of the log ``log_id`` by position, whether still needed or not.

    Only the first sector of an entry begins like one, so no two valid entries share a sector and the work is bounded.
    """
    raw_id = pack_guid(log_id)
    heads = dict(ring.heads())
    positions = sorted(heads)
    found = {}
    for index, position in enumerate(positions):
        following = positions[index + 1] if index + 1 < len(positions) else positions[0] + ring.sectors
        head = heads[position]
        entry = _parse_entry(ring, position, head, following - position) if head[_ID] == raw_id else None
        if entry is not None:
            found[position] = entry
    return found


def _parse_entry(ring: _Ring, position: int, head: bytes, room: int) -> Optional[Entry]:
    """The entry at ``position`` when it is valid and ends within ``room`` sectors."""
    _sign, crc, length, tail, sequence, count, _reserved, _guid, flushed, last = _HEADER.unpack_from(head)
    sectors = length // SECTOR
    if not sequence or length % SECTOR or not 0 < sectors <= room or tail % SECTOR or tail >= ring.region.length:
        return None
    table_sectors = _table_sectors(count)
    if table_sectors > sectors:
        return None
    entry = Entry(position, sectors, tail // SECTOR, sequence, count, flushed, last)
    data_sectors = 0
    for signature, _trailing, length_or_leading, offset, descriptor_sequence in _descriptors(ring, entry):
        if signature not in (b"zero", b"desc") or descriptor_sequence != sequence or offset % SECTOR:
            return None
        if signature == b"desc":
            data_sectors += 1
        elif length_or_leading % SECTOR:
            return None
    if table_sectors + data_sectors > sectors:
        return None
    return entry if _is_whole(ring, entry, crc, data_sectors) else None


def _is_whole(ring: _Ring, entry: Entry, crc: int, data_sectors: int) -> bool:
    """Whether the data sectors belong to the entry, and the checksum is right."""
    high, low = (entry.sequence >> 32).to_bytes(4, "little"), (entry.sequence & 0xFFFFFFFF).to_bytes(4, "little")
    first = _table_sectors(entry.descriptors)
    total = 0
    for done, piece in ring.pieces(entry.position, entry.sectors):
        for start in range(0, len(piece), SECTOR):
            if first <= done + start // SECTOR < first + data_sectors:
                if not piece.startswith(b"data" + high, start) or piece[start + SECTOR - 4 : start + SECTOR] != low:
                    return False
        total = crc32c(piece if done else piece[:4] + bytes(4) + piece[8:], total)
    return total == crc


def _table_sectors(count: int) -> int:
    return 1 + ceil_div(max(0, count - _FIRST_DESCRIPTORS), _DESCRIPTORS)


def _descriptors(ring: _Ring, entry: Entry) -> Iterator[Tuple[bytes, int, int, int, int]]:
    left = entry.descriptors
    for number in range(_table_sectors(entry.descriptors)):
        sector = ring.read(entry.position + number, 1)
        start = _HEADER.size if not number else 0
        room = min(left, _DESCRIPTORS if number else _FIRST_DESCRIPTORS)
        for index in range(room):
            yield _DESCRIPTOR.unpack_from(sector, start + index * _DESCRIPTOR.size)
        left -= room


def active_entries(entries: Mapping[int, Entry], *, ring_sectors: int) -> List[Entry]:
    """The entries that are still to be replayed, oldest first: the end of the run with the highest sequence number."""
    followed = {entry.position: _following(entry, entries, ring_sectors) for entry in entries.values()}
    later = {entry.position for entry in followed.values() if entry is not None}
    best: List[Entry] = []
    for position, entry in entries.items():
        if position in later:
            continue
        run = [entry]
        following = followed[position]
        while following is not None:
            run.append(following)
            following = followed[following.position]
        tails = [index for index, member in enumerate(run) if member.position == run[-1].tail]
        if tails and (not best or run[-1].sequence > best[-1].sequence):
            best = run[tails[0] :]
    return best


def _following(entry: Entry, entries: Mapping[int, Entry], ring_sectors: int) -> Optional[Entry]:
    following = entries.get((entry.position + entry.sectors) % ring_sectors)
    return following if following is not None and following.sequence == entry.sequence + 1 else None


def _lay_over(file: File, ring: _Ring, run: List[Entry], size: int) -> ReplayedFile:
    """The newest entry first, so that what is there already stands above what comes."""
    pages: Dict[int, bytes] = {}
    starts: List[int] = []
    ends: List[int] = []
    zero_ranges = 0
    for entry in reversed(run):
        descriptors = []
        for descriptor in _descriptors(ring, entry):
            descriptors.append(descriptor)
            zero_ranges += descriptor[0] == b"zero"
            if zero_ranges > _MOST_ZERO_RANGES:
                raise Unsupported(
                    "The log zeroes too many ranges to be replayed", file.path, expected=_MOST_ZERO_RANGES, hint=_HINT
                )
        sector = (
            entry.position + _table_sectors(entry.descriptors) + sum(kind == b"desc" for kind, *_rest in descriptors)
        )
        for kind, trailing, length_or_leading, offset, _sequence in reversed(descriptors):
            if kind == b"zero":
                _insert(starts, ends, offset, offset + length_or_leading)
                continue
            sector -= 1
            page = offset // SECTOR
            size = max(size, offset + SECTOR)
            if page not in pages and not _is_inside(starts, ends, offset):
                content = ring.read(sector, 1)
                pages[page] = length_or_leading.to_bytes(8, "little") + content[8:-4] + trailing.to_bytes(4, "little")
    return ReplayedFile(file, size=size, pages=pages, zeros=list(zip(starts, ends)))


def _insert(starts: List[int], ends: List[int], start: int, end: int) -> None:
    """Join a range to disjoint, ascending ones."""
    if start >= end:
        return
    first, last = bisect_left(ends, start), bisect_right(starts, end)
    if first < last:
        start, end = min(start, starts[first]), max(end, ends[last - 1])
    starts[first:last], ends[first:last] = [start], [end]


def _is_inside(starts: List[int], ends: List[int], offset: int) -> bool:
    index = bisect_right(starts, offset) - 1
    return index >= 0 and offset < ends[index]

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The map of a VDI image: which block of the guest disk is which stored block.

One entry of 32 bits per guest block, in pieces that are read and judged when they are first needed. VirtualBox appends
blocks in the order of the guest's writes, so entries may stand in any order, but no stored block belongs to two of the
guest's::

    guest block     0     1     2  3  4     5
    entry           FREE  ZERO  7  8  FREE  3     ->  (2, 2, 7), (5, 1, 3)

Where FREE is the parent's, a run of ZERO is given, too.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from itertools import compress, count, islice, repeat
from operator import add, ne
from typing import Dict, Iterator, NamedTuple, NoReturn, Set, Tuple

from ..._core.units import ceil_div
from ..._core.words import unpack_words
from ..._io.port import File
from ..damage import DamagedImage
from .layout import ENTRY_BYTES, FREE, ZERO_BLOCK, VdiHeader

_PIECE_BYTES = 64 << 10
_PIECE_ENTRIES = _PIECE_BYTES // ENTRY_BYTES
_PART_BYTES = 4 << 10
_PART_ENTRIES = _PART_BYTES // ENTRY_BYTES
_FREE_PIECE = b"\xff" * _PIECE_BYTES
_ZERO_PART = ZERO_BLOCK.to_bytes(ENTRY_BYTES, "little") * _PART_ENTRIES
_CACHED_PIECES = 64
# The marks of so many stored blocks are one bytearray, a bit each: 64 MiB of marks for the largest image that there is.
_PAGE_BLOCKS = 1 << 16


class _Piece(NamedTuple):
    """The runs of one piece, as two parallel arrays; a run ends where the next one starts.

    Without a parent all that is not stored is FREE.
    """

    starts: array[int]
    entries: array[int]


_NOTHING_STORED = _Piece(array("I", (0,)), array("I", (FREE,)))


class VdiMap:
    """The map of an open image. Threads may share it."""

    def __init__(self, file: File, header: VdiHeader, *, file_size: int) -> None:
        self._file = file
        self._header = header
        self._file_size = file_size
        self._lock = threading.Lock()
        self._pieces: OrderedDict[int, _Piece] = OrderedDict()
        self._judged: Set[int] = set()
        self._marks: Dict[int, bytearray] = {}

    def runs(self, first: int, end: int) -> Iterator[Tuple[int, int, int]]:
        """The stored blocks from ``first`` up to ``end``: ``(guest block, number of blocks, first ordinal)``.

        With a parent also the blocks that hide it, with ZERO_BLOCK for an ordinal. Raises Damaged, with its offset, at
        an entry past the end of the file or to a block that another one has.
        """
        for number in range(first // _PIECE_ENTRIES, ceil_div(end, _PIECE_ENTRIES)):
            base = number * _PIECE_ENTRIES
            piece = self._piece(number)
            if piece is _NOTHING_STORED:
                continue
            starts, entries = piece
            for index in range(max(0, bisect_right(starts, max(0, first - base)) - 1), len(starts)):
                if base + starts[index] >= end:
                    return
                if entries[index] == FREE:
                    continue
                begin = base + starts[index]
                stop = base + starts[index + 1] if index + 1 < len(starts) else base + _PIECE_ENTRIES
                skipped = max(0, first - begin)
                stop = min(stop, end)
                if begin + skipped < stop:
                    entry = entries[index]
                    yield begin + skipped, stop - begin - skipped, entry + (skipped if entry < ZERO_BLOCK else 0)

    def _piece(self, number: int) -> _Piece:
        with self._lock:
            piece = self._pieces.get(number)
            if piece is None:
                piece = self._load(number)
                self._pieces[number] = piece
                if len(self._pieces) > _CACHED_PIECES:
                    self._pieces.popitem(last=False)
            else:
                self._pieces.move_to_end(number)
            return piece

    def _load(self, number: int) -> _Piece:
        base = number * _PIECE_ENTRIES
        length = min(_PIECE_BYTES, ENTRY_BYTES * (self._header.used_blocks - base))
        raw = bytearray(_FREE_PIECE)
        offset = self._header.offset_map + ENTRY_BYTES * base
        got = self._file.pread_into(offset, memoryview(raw)[:length])
        if got < length:
            raise DamagedImage(
                "The file ends within its map", self._file.path, offset + got, expected=length, found=got
            )
        if raw == _FREE_PIECE:
            return _NOTHING_STORED
        piece = _runs_of(raw, keeps_zeros=self._header.ids.parent is not None)
        self._judge(number, piece)
        return piece

    def _judge(self, number: int, piece: _Piece) -> None:
        """Raise Damaged unless the stored blocks of a piece are in the file and, as far as known, used once."""
        ends = [*piece.starts[1:], _PIECE_ENTRIES]
        stored = [run for run in zip(piece.starts, ends, piece.entries) if run[2] < ZERO_BLOCK]
        base = number * _PIECE_ENTRIES
        for start, end, entry in stored:
            self._check_place(base + start, end - start, entry)
        if number in self._judged:
            return
        for start, end, entry in stored:
            self._mark(base + start, end - start, entry)
        self._judged.add(number)

    def _check_place(self, block: int, number: int, entry: int) -> None:
        header = self._header
        if entry + number > header.blocks:
            wrong = max(0, header.blocks - entry)
            self._refuse(
                "A block of the map is none of the image's",
                block + wrong,
                expected=f"below {header.blocks}",
                found=entry + wrong,
            )
        first_byte = header.offset_data + header.extra_bytes
        # Of the last block only what the guest sees must be there.
        seen = min(header.block_bytes, header.size_bytes - (block + number - 1) * header.block_bytes)
        if first_byte + (entry + number - 1) * header.stride + seen > self._file_size:
            room = max(0, self._file_size - first_byte - entry * header.stride + header.extra_bytes) // header.stride
            wrong = min(room, number - 1)
            place = first_byte + (entry + wrong) * header.stride
            self._refuse(
                "A block lies beyond the end of the file",
                block + wrong,
                expected=f"below {self._file_size}",
                found=place,
            )

    def _mark(self, block: int, number: int, entry: int) -> None:
        position = entry
        while position < entry + number:
            page_number, first = divmod(position, _PAGE_BLOCKS)
            length = min(_PAGE_BLOCKS - first, entry + number - position)
            page = self._marks.get(page_number)
            if page is None:
                page = self._marks[page_number] = bytearray(_PAGE_BLOCKS // 8)
            begin, stop = first // 8, ceil_div(first + length, 8)
            bits = int.from_bytes(page[begin:stop], "little")
            new = ((1 << length) - 1) << first % 8
            twice = bits & new
            if twice:
                at = page_number * _PAGE_BLOCKS + begin * 8 + (twice & -twice).bit_length() - 1
                self._refuse(
                    "Two blocks of the disk share one block of the file",
                    block + at - entry,
                    expected="every block once",
                    found=at,
                )
            page[begin:stop] = (bits | new).to_bytes(stop - begin, "little")
            position += length

    def _refuse(self, message: str, block: int, *, expected: object, found: object) -> NoReturn:
        offset = self._header.offset_map + ENTRY_BYTES * block
        raise DamagedImage(message, self._file.path, offset, expected=expected, found=found)


def _runs_of(raw: bytearray, *, keeps_zeros: bool) -> _Piece:
    """The runs of a piece; parts without a stored block are skipped by comparing memory."""
    starts, entries = array("I", (0,)), array("I", (FREE,))
    expected = FREE
    for base in range(0, _PIECE_ENTRIES, _PART_ENTRIES):
        part = bytes(raw[base * ENTRY_BYTES : (base + _PART_ENTRIES) * ENTRY_BYTES])
        if _FREE_PIECE.startswith(part) or part == _ZERO_PART:
            value = ZERO_BLOCK if keeps_zeros and part == _ZERO_PART else FREE
            if expected != value:
                starts.append(base)
                entries.append(value)
                expected = value
            continue
        values = unpack_words(part)
        last = 0
        for index in _breaks(values, keeps_zeros):
            value = values[index]
            expected = _after(expected, index - last)
            last = index
            if value == ZERO_BLOCK and not keeps_zeros:
                value = FREE
            if value != expected:
                starts.append(base + index)
                entries.append(value)
                expected = value
        expected = _after(expected, _PART_ENTRIES - last)
    return _Piece(starts, entries)


def _breaks(values: array[int], keeps_zeros: bool) -> Iterator[int]:
    """Where a value is not the one before it and one more. FREE is one more than ZERO_BLOCK, but another kind."""
    yield 0
    if keeps_zeros:
        pairs = zip(values, islice(values, 1, None))
        yield from (index for index, (one, two) in enumerate(pairs, 1) if two != one + 1 or two == FREE)
    else:
        yield from compress(count(1), map(ne, islice(values, 1, None), map(add, values, repeat(1))))


def _after(entry: int, count: int) -> int:
    """What the entry ``count`` places after ``entry`` is in the same run."""
    return entry if entry >= ZERO_BLOCK else entry + count

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The block table (BAT) and the sector bitmaps of a dynamic or differencing VHD image."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left
from functools import partial
from operator import sub
from typing import Dict, Iterator, Sequence, Tuple

from ..._core.units import SECTOR, ceil_div
from ..cache import Cache
from ..damage import DamagedImage
from ..mapping import ByteSource, StoredRun
from .layout import ENTRY_BYTES, NOT_STORED, DynamicHeader, runs_of_set_bits

_TABLE_PIECE = 64 << 10
_PIECE_ENTRIES = _TABLE_PIECE // ENTRY_BYTES
_CHUNK_ENTRIES = 1024
_NOTHING_STORED = b"\xff" * _TABLE_PIECE
_CACHED_PIECES = 16
_CACHED_BITMAPS = 64
# Blocks are sorted by the 2 GiB of the file that they begin in, so that no list of them grows large.
_BUCKET_SECTORS = 1 << 22


class BlockMap:
    """Where the blocks of a dynamic or differencing image lie.

    Table and bitmaps are read when they are needed; a few stay in memory.
    """

    def __init__(self, source: ByteSource, header: DynamicHeader, used_entries: int) -> None:
        self.header = header
        self.used_entries = used_entries
        self._source = source
        self._pieces: Cache[bytes] = Cache(_CACHED_PIECES)
        self._bitmaps: Cache[bytes] = Cache(_CACHED_BITMAPS)

    def blocks(self, first: int, end: int) -> Iterator[Tuple[int, int]]:
        """The stored blocks from ``first`` up to, not including, ``end``: ``(block, sector of its bitmap)``."""
        for start, entries in self.chunks(first, end):
            for block, sector in enumerate(entries, start):
                if sector != NOT_STORED:
                    yield block, sector

    def chunks(self, first: int, end: int) -> Iterator[Tuple[int, Tuple[int, ...]]]:
        """The entries of blocks ``first`` up to ``end`` in stretches ``(first block, entries)`` with a stored one."""
        end = min(end, self.used_entries)
        while first < end:
            number, index = divmod(first, _PIECE_ENTRIES)
            count = min(end - first, _PIECE_ENTRIES - index)
            before = number * _TABLE_PIECE
            piece_bytes = min(_TABLE_PIECE, self.used_entries * ENTRY_BYTES - before)
            offset = self.header.table_offset + before
            piece = self._pieces.of(number, partial(read_all, self._source, offset, piece_bytes, "table"))
            for start in range(index, index + count, _CHUNK_ENTRIES):
                length = min(_CHUNK_ENTRIES, index + count - start)
                if not piece.startswith(_NOTHING_STORED[: length * ENTRY_BYTES], start * ENTRY_BYTES):
                    yield number * _PIECE_ENTRIES + start, struct.unpack_from(f">{length}I", piece, start * ENTRY_BYTES)
            first += count

    def stored(self, start: int, end: int) -> Iterator[StoredRun]:
        """The stored parts of a guest range, ascending: ``(guest offset, length, file offset)``.

        Ends at whole sectors only where the range does.
        """
        block_bytes = self.header.block_bytes
        for block, sector in self.blocks(start // block_bytes, ceil_div(end, block_bytes)):
            guest = block * block_bytes
            begin, stop = max(guest, start) - guest, min(guest + block_bytes, end) - guest
            place, bitmap_bytes = sector * SECTOR, self.header.bitmap_bytes
            bitmap = self._bitmaps.of(sector, partial(read_all, self._source, place, bitmap_bytes, "bitmap"))
            shift = place + bitmap_bytes
            for first, last in runs_of_set_bits(bitmap, begin // SECTOR, ceil_div(stop, SECTOR)):
                low, high = max(first * SECTOR, begin), min(last * SECTOR, stop)
                yield guest + low, high - low, shift + low

    def damaged(self, message: str, block: int, expected: object, found: object) -> DamagedImage:
        """The error for the table entry of ``block``."""
        offset = self.header.table_offset + block * ENTRY_BYTES
        return DamagedImage(f"{message} (block {block})", self._source.path, offset, expected=expected, found=found)


def check_blocks(blocks: BlockMap, reserved: Sequence[Tuple[int, int]], data_end: int) -> None:
    """Raise Damaged unless each block is within the data, outside the ``reserved`` (start, length), and alone."""
    step = blocks.header.stored_bytes // SECTOR
    buckets = _collect(blocks, reserved, data_end)
    free = 0
    for number in sorted(buckets):
        ordered = sorted(buckets[number])
        if ordered[0] < free or min(map(sub, ordered[1:], ordered), default=step) < step:
            twin = next(sector for before, sector in zip([free - step, *ordered], ordered) if sector < before + step)
            owner = max(block for block, sector in blocks.blocks(0, blocks.used_entries) if sector == twin)
            raise blocks.damaged(
                "Two blocks of the image share one place in the file", owner, "every block alone", twin
            )
        free = ordered[-1] + step


def _collect(blocks: BlockMap, reserved: Sequence[Tuple[int, int]], data_end: int) -> Dict[int, array[int]]:
    """The sectors of all blocks by the stretch of the file they begin in, no more than show an overlap."""
    step = blocks.header.stored_bytes // SECTOR
    last = (data_end - blocks.header.stored_bytes) // SECTOR
    metadata_end = max(ceil_div(start + length, SECTOR) for start, length in reserved)
    buckets: Dict[int, array[int]] = {}
    for first, entries in blocks.chunks(0, blocks.used_entries):
        ordered = sorted(entry for entry in entries if entry != NOT_STORED)
        if ordered[0] < metadata_end or ordered[-1] > last:
            stored = [(block, sector) for block, sector in enumerate(entries, first) if sector != NOT_STORED]
            _check_places(blocks, reserved, last, stored)
        start = 0
        while start < len(ordered):
            number = ordered[start] // _BUCKET_SECTORS
            stop = bisect_left(ordered, (number + 1) * _BUCKET_SECTORS, start)
            bucket = buckets.get(number)
            if bucket is None:
                bucket = buckets[number] = array("I")
            bucket.extend(ordered[start:stop])
            if len(bucket) > _BUCKET_SECTORS // step + 1:
                return {number: bucket}
            start = stop
    return buckets


def _check_places(
    blocks: BlockMap, reserved: Sequence[Tuple[int, int]], last: int, stored: Sequence[Tuple[int, int]]
) -> None:
    for block, sector in stored:
        if sector > last:
            raise blocks.damaged("A block lies beyond the end of the data", block, f"at most sector {last}", sector)
        begin, end = sector * SECTOR, sector * SECTOR + blocks.header.stored_bytes
        for start, length in reserved:
            if begin < start + length and start < end:
                expected = f"outside {start}..{start + length}"
                raise blocks.damaged("A block lies on metadata of the image", block, expected, sector)


def read_some(source: ByteSource, offset: int, length: int) -> bytes:
    """Up to ``length`` bytes; fewer where the file ends."""
    raw = bytearray(length)
    got = source.pread_into(offset, raw) if offset < source.size() else 0
    return bytes(raw[:got])


def read_all(source: ByteSource, offset: int, length: int, what: str) -> bytes:
    """``length`` bytes of ``what``. Raises Damaged where the file ends before."""
    raw = read_some(source, offset, length)
    if len(raw) < length:
        raise DamagedImage(
            f"The file ends within its {what}", source.path, offset + len(raw), expected=length, found=len(raw)
        )
    return raw

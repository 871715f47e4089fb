# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The block table (BAT) of a VHDX file: where the payload blocks of the disk and their sector bits lie.

64 bits an entry: the state in bits 0 to 2, the file offset in bits 20 to 63. After the entries of each chunk of
payload blocks stands the entry of the block that holds their sector bits::

    payload 0 .. chunk-1 | bits of chunk 0 | payload chunk .. 2*chunk-1 | bits of chunk 1 | ...

The table may have 512 MiB, so it is read in pieces, each time anew; pieces of zeros and of one state are skipped by
comparing memory.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Iterator, NamedTuple, Optional, Sequence, Tuple

from ..._core.errors import Damaged, Unsupported
from ..._core.units import ceil_div
from ..._core.words import unpack_words
from ..cache import Cache
from ..damage import DamagedImage
from ..mapping import ByteSource
from .layout import UNIT, Region, VhdxDisk

ENTRY_BYTES = 8
NOT_PRESENT, UNDEFINED, ZERO_BLOCK, UNMAPPED, FULLY_PRESENT, PARTIALLY_PRESENT = 0, 1, 2, 3, 6, 7
_RESERVED_BITS = 0xFFFF8
_OFFSET_BITS = ~0xFFFFF
_PIECE_BYTES = 64 << 10
_PIECE_ENTRIES = _PIECE_BYTES // ENTRY_BYTES
_PIECES = 32
_ZERO_PIECE = bytes(_PIECE_BYTES)
# Up to so many runs are compared after sorting; more are marked in a map of one byte for each MiB of the file, if it is
# not too long.
_SORTED_RUNS = 1 << 18
_MARKED_UNITS = 48 << 20
# A run has at most as many units as the largest disk.
_LENGTH_BITS = 28
_LENGTH_MASK = (1 << _LENGTH_BITS) - 1


class Run(NamedTuple):
    """``count`` payload blocks from ``block`` on with one ``state``; if present, in the file from ``offset`` on."""

    block: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    state: int
    offset: int


class PieceCache:
    """The last used pieces of a file. Threads may share it."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._pieces: Cache[bytes] = Cache(_PIECES)

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset``, from as many pieces as it takes.

        Raises Damaged where the file ends before.
        """
        first, last = offset // _PIECE_BYTES, (offset + length - 1) // _PIECE_BYTES
        start = offset - first * _PIECE_BYTES
        pieces = [self._piece(index) for index in range(first, last + 1)]
        content = (pieces[0] if first == last else b"".join(pieces))[start : start + length]
        if len(content) < length:
            found = offset + len(content)
            raise DamagedImage(
                "The file ends within a table", self._source.path, found, expected=length, found=len(content)
            )
        return content

    def _piece(self, index: int) -> bytes:
        return self._pieces.of(index, partial(self._read, index))

    def _read(self, index: int) -> bytes:
        buffer = bytearray(_PIECE_BYTES)
        return bytes(memoryview(buffer)[: self._source.pread_into(index * _PIECE_BYTES, buffer)])


class BlockTable:
    """The table of one image. Every entry is judged whenever it is read."""

    def __init__(self, source: ByteSource, disk: VhdxDisk, region: Region) -> None:
        self._source = source
        self._disk = disk
        self._region = region
        self._cache = PieceCache(source)
        self._file_size = source.size()

    def runs(self, first: int = 0, end: Optional[int] = None) -> Iterator[Run]:
        """What blocks ``first`` up to, not including, ``end`` are: ascending and without gaps.

        Raises Damaged for an entry that cannot be.
        """
        pending: Optional[Run] = None
        for run in self._runs(first, self._disk.blocks if end is None else end):
            if pending is None:
                pending = run
            elif pending.state == run.state and (
                run.state < FULLY_PRESENT or pending.offset + pending.count * self._disk.block_bytes == run.offset
            ):
                pending = Run(pending.block, pending.count + run.count, pending.state, pending.offset)
            else:
                yield pending
                pending = run
        if pending is not None:
            yield pending

    def sector_bits(self, block: int, first: int, end: int) -> bytes:
        """Bytes ``first`` up to ``end`` of the bits of a block present in part, lowest first; 1 is a sector here."""
        chunk, number = divmod(block, self._disk.chunk_blocks)
        block_bytes = self._disk.block_bytes // self._disk.logical_sector // 8
        return self._cache.read(self._needed_bits(chunk) + number * block_bytes + first, end - first)

    def check(self, *, taken: Sequence[Region]) -> None:
        """Judge the whole table: no block may share bytes with another one, nor with a ``taken`` range of the file.

        Raises Damaged, or Unsupported for a table so scattered that this cannot be known.
        """
        spans = [_span(*region) for region in taken]
        for region in self._used():
            spans.append(_span(*region))
            if len(spans) > _SORTED_RUNS:
                spans.clear()
                self._check_by_marks(taken)
                return
        spans.sort()
        for lower, upper in zip(spans, spans[1:]):
            if (lower >> _LENGTH_BITS) + (lower & _LENGTH_MASK) > upper >> _LENGTH_BITS:
                raise self._shared((upper >> _LENGTH_BITS) * UNIT)

    def _check_by_marks(self, taken: Sequence[Region]) -> None:
        units = ceil_div(self._file_size, UNIT)
        if units > _MARKED_UNITS:
            hint = "Let Hyper-V optimise or convert the disk first."
            raise Unsupported(
                "The file is too long and too scattered",
                self._source.path,
                expected=_MARKED_UNITS * UNIT,
                found=self._file_size,
                hint=hint,
            )
        # The end of the last block may be past the end of the file.
        marks = bytearray(units + self._disk.block_bytes // UNIT)
        for region in chain(taken, self._used()):
            start, end = region.offset // UNIT, region.end // UNIT
            shared = marks.find(1, start, end)
            if shared >= 0:
                raise self._shared(shared * UNIT)
            marks[start:end] = b"\1" * (end - start)

    def _used(self) -> Iterator[Region]:
        """All that the table places in the file."""
        chunk_blocks = self._disk.chunk_blocks
        for run in self.runs():
            if run.state >= FULLY_PRESENT:
                yield Region(run.offset, run.count * self._disk.block_bytes)
            if run.state == PARTIALLY_PRESENT:
                for chunk in range(run.block // chunk_blocks, (run.block + run.count - 1) // chunk_blocks + 1):
                    self._needed_bits(chunk)
        if self._disk.locator is not None:
            for chunk in range(ceil_div(self._disk.blocks, chunk_blocks)):
                offset = self._bits_offset(chunk)
                if offset is not None:
                    yield Region(offset, UNIT)

    def _runs(self, first: int, end: int) -> Iterator[Run]:
        position = first
        for start, stop in self._stored(first, end):
            if start > position:
                yield Run(position, start - position, NOT_PRESENT, 0)
            position = max(position, start)
            while position < stop:
                index = self._index(position)
                following = min(self._index(stop - 1) + 1, (index // _PIECE_ENTRIES + 1) * _PIECE_ENTRIES)
                raw = self._cache.read(self._region.offset + index * ENTRY_BYTES, (following - index) * ENTRY_BYTES)
                yield from self._decode(raw, position, index)
                position = self._blocks_before(following)
        if position < end:
            yield Run(position, end - position, NOT_PRESENT, 0)

    def _stored(self, first: int, end: int) -> Iterator[Tuple[int, int]]:
        """The blocks among ``first`` to ``end`` whose entries do not lie in holes of the file."""
        if first >= end:
            return
        begin, stop = (
            self._region.offset + index * ENTRY_BYTES for index in (self._index(first), self._index(end - 1) + 1)
        )
        if stop - begin <= _PIECE_BYTES:
            yield first, end
            return
        for start, finish in self._source.data_ranges(begin, stop):
            # Holes need not end at an entry.
            start_index = (start - self._region.offset) // ENTRY_BYTES
            end_index = ceil_div(finish - self._region.offset, ENTRY_BYTES)
            yield max(first, self._blocks_before(start_index)), min(end, self._blocks_before(end_index))

    def _index(self, block: int) -> int:
        return block + block // self._disk.chunk_blocks

    def _blocks_before(self, index: int) -> int:
        return index - index // (self._disk.chunk_blocks + 1)

    def _decode(self, raw: bytes, block: int, index: int) -> Iterator[Run]:
        """The runs in a piece of the table that begins with the entry of ``block``."""
        if _ZERO_PIECE.startswith(raw):
            yield Run(block, self._blocks_before(index + len(raw) // ENTRY_BYTES) - block, NOT_PRESENT, 0)
            return
        entries = unpack_words(raw, "Q")
        chunk_blocks = self._disk.chunk_blocks
        del entries[(chunk_blocks - index) % (chunk_blocks + 1) :: chunk_blocks + 1]
        count = len(entries)
        if not entries[0] & 4 and entries.tobytes() == entries[:1].tobytes() * count:
            yield self._run(block, count, entries[0])
            return
        start = 0
        while start < count:
            entry = expected = entries[start]
            step = self._disk.block_bytes if entry & 4 else 0
            end = start
            while end < count and entries[end] == expected:
                end += 1
                expected += step
            yield self._run(block + start, end - start, entry)
            start = end

    def _run(self, block: int, count: int, entry: int) -> Run:
        state, offset = entry & 7, entry & _OFFSET_BITS
        if state in (4, 5) or entry & _RESERVED_BITS:
            raise self._damaged(
                self._index(block), f"Block {block} has an impossible entry", "a state of 0 to 3, 6 or 7", entry
            )
        if state < FULLY_PRESENT:
            return Run(block, count, state, 0)
        if state == PARTIALLY_PRESENT and self._disk.locator is None:
            raise self._damaged(
                self._index(block), f"Block {block} is present in part, but there is no parent", FULLY_PRESENT, state
            )
        # Of the last block only the part that the guest sees must be in the file.
        seen = min(count * self._disk.block_bytes, self._disk.size - block * self._disk.block_bytes)
        if offset < UNIT or offset + seen > self._file_size:
            inside = max(0, self._file_size - offset) // self._disk.block_bytes if offset >= UNIT else 0
            found = offset + inside * self._disk.block_bytes
            message = f"Block {block + inside} does not lie within the file"
            raise self._damaged(self._index(block + inside), message, f"{UNIT}..{self._file_size}", found)
        return Run(block, count, state, offset)

    def _bits_offset(self, chunk: int) -> Optional[int]:
        """Where the sector bits of a chunk lie, or None."""
        index = (chunk + 1) * self._disk.chunk_blocks + chunk
        entry = int.from_bytes(self._cache.read(self._region.offset + index * ENTRY_BYTES, ENTRY_BYTES), "little")
        state, offset = entry & 7, entry & _OFFSET_BITS
        if state not in (NOT_PRESENT, FULLY_PRESENT) or entry & _RESERVED_BITS:
            raise self._damaged(
                index, f"The sector bits of chunk {chunk} have an impossible entry", "a state of 0 or 6", entry
            )
        if state == NOT_PRESENT:
            return None
        if offset < UNIT or offset + UNIT > self._file_size:
            raise self._damaged(
                index,
                f"The sector bits of chunk {chunk} do not lie within the file",
                f"{UNIT}..{self._file_size}",
                offset,
            )
        return offset

    def _needed_bits(self, chunk: int) -> int:
        offset = self._bits_offset(chunk)
        if offset is None:
            index = (chunk + 1) * self._disk.chunk_blocks + chunk
            raise self._damaged(
                index,
                f"Blocks of chunk {chunk} are present in part, but their sector bits are missing",
                FULLY_PRESENT,
                NOT_PRESENT,
            )
        return offset

    def _damaged(self, index: int, message: str, expected: object, found: object) -> Damaged:
        offset = self._region.offset + index * ENTRY_BYTES
        return DamagedImage(message, self._source.path, offset, expected=expected, found=found)

    def _shared(self, offset: int) -> Damaged:
        message = "Two blocks, or a block and a table, share one place of the file"
        return DamagedImage(message, self._source.path, offset, expected="every place once", found=offset)


def _span(offset: int, length: int) -> int:
    """A range as one number that sorts by offset; both count units."""
    return offset // UNIT << _LENGTH_BITS | length // UNIT

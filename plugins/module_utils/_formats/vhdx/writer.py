# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a new VHDX image in one pass.

::

    0           1 MiB        2 MiB      3 MiB
    headers     log (empty)  metadata   block table ..   block  block  [sector bits]  block ...

Blocks lie in guest order, each with its full length; what is not written of them stays a hole. In an overlay the sector
bits of a chunk of blocks follow the first block of it that is present in part.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from typing import Mapping, Optional, Protocol

from ..._core.errors import BadRequest
from ..._core.guid import derive
from ..._core.units import MIB, round_up
from ..._core.words import pack_words
from ..._io.port import Buffer, File
from ..bounds import check_next
from ..image import ParentImage
from .bat import ENTRY_BYTES, FULLY_PRESENT, PARTIALLY_PRESENT, ZERO_BLOCK
from .layout import (
    HEADER_OFFSETS,
    MAX_BLOCK,
    REGION_OFFSETS,
    TABLE_BYTES,
    UNIT,
    Region,
    VhdxDisk,
    VhdxHeader,
    complaints,
    pack_header,
    pack_identifier,
    pack_locator,
    pack_metadata,
    pack_regions,
)

DYNAMIC, FIXED, DIFFERENCING = "dynamic", "fixed", "differencing"
_LOG = Region(UNIT, UNIT)
_METADATA = Region(2 * UNIT, UNIT)
_TABLE_START = 3 * UNIT
_ZERO_PIECE = bytes(64 << 10)
_PIECE_ENTRIES = len(_ZERO_PIECE) // ENTRY_BYTES
_BITS_PIECE = 4096
_ZERO_BITS = bytes(_BITS_PIECE)
_MOST_BLOCKS = 1 << 20
_NO_ID = "{00000000-0000-0000-0000-000000000000}"


def default_block_bytes(size_bytes: int) -> int:
    """The block size of a disk of ``size_bytes``: 1 MiB, and beyond 1 TiB as much as keeps the table at 8 MiB.

    Small blocks keep scattered data from growing the file; Microsoft advises 1 MiB for the file systems of Linux.
    """
    block = MIB
    while block < MAX_BLOCK and size_bytes > block * _MOST_BLOCKS:
        block *= 2
    return block


def data_identity(identity: str) -> str:
    """The GUID that overlays name, of an image whose ids are derived from ``identity``."""
    return derive(identity, "vhdx", "data")


class VhdxWriter:
    """Fills a new, empty file.

    ``block_bytes`` is ``default_block_bytes`` unless given. ``preallocate`` (fixed only) reserves the host's blocks. A
    differencing image needs its ``parent``; ``disk_identity`` is then the identity of the root of the chain, because
    all images of a chain carry the same disk id (SCSI page 83); without it the parent is taken for the root.

    Raises BadRequest for what the format does not allow and for options that do not fit each other.
    """

    def __init__(
        self,
        file: File,
        *,
        subformat: str,
        size_bytes: int,
        block_bytes: Optional[int] = None,
        logical_sector: int = 512,
        physical_sector: int = 4096,
        parent: Optional[ParentImage] = None,
        preallocate: bool = False,
        disk_identity: Optional[str] = None,
    ) -> None:
        self.file = file
        block = default_block_bytes(size_bytes) if block_bytes is None else block_bytes
        locator = None if parent is None else _locator(parent, path=file.path)
        self._disk = VhdxDisk(size_bytes, block, logical_sector, physical_sector, _NO_ID, subformat == FIXED, locator)
        _check_options(self._disk, subformat, preallocate=preallocate, path=file.path)
        self.grain = logical_sector
        sectors = {} if logical_sector == 512 else {"sector_size": logical_sector}
        self.properties: Mapping[str, object] = {"subformat": subformat, "cluster_size": block, **sectors}
        self._disk_identity = disk_identity or (None if parent is None else parent.identity)
        self._region = Region(_TABLE_START, round_up(self._disk.table_entries * ENTRY_BYTES, UNIT))
        self._position = 0
        if subformat == FIXED:
            self._blocks: _Blocks = _FixedBlocks(file, self._disk, self._region)
            if preallocate:
                file.allocate(0, self._region.end + self._disk.blocks * block)
        elif subformat == DYNAMIC:
            self._blocks = _DynamicBlocks(file, self._disk, self._region)
        else:
            self._blocks = _OverlayBlocks(file, self._disk, self._region)

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``. Raises BadRequest when that goes back or leaves the disk."""
        view = memoryview(buffer).cast("B")
        self._advance(offset, len(view))
        if len(view):
            self._blocks.write(offset, view)

    def write_zeros(self, offset: int, length: int) -> None:
        """Let the range read as zeros.

        In an overlay whole blocks of zeros take no space; without a parent nothing is stored.
        """
        self._advance(offset, length)
        if length:
            self._blocks.write_zeros(offset, length)

    def _advance(self, offset: int, length: int) -> None:
        check_next(self.file.path, self._position, self._disk.size, offset, length)
        self._position = offset + length

    def finish(self, identity: str) -> None:
        """Give the file its table, its length, its metadata and at last its headers."""
        disk_id = derive(self._disk_identity or identity, "vhdx", "disk")
        self.file.truncate(self._blocks.finish())
        disk = self._disk
        table, items = pack_metadata(
            VhdxDisk(
                disk.size,
                disk.block_bytes,
                disk.logical_sector,
                disk.physical_sector,
                disk_id,
                disk.is_fixed,
                disk.locator,
            )
        )
        self.file.pwrite(_METADATA.offset, table)
        self.file.pwrite(_METADATA.offset + TABLE_BYTES, items)
        regions = pack_regions(bat=self._region, metadata=_METADATA)
        for offset in REGION_OFFSETS:
            self.file.pwrite(offset, regions)
        for sequence, offset in enumerate(HEADER_OFFSETS, 1):
            header = VhdxHeader(
                sequence, derive(identity, "vhdx", "file"), data_identity(identity), None, 0, _LOG.offset, _LOG.length
            )
            self.file.pwrite(offset, pack_header(header))
        self.file.pwrite(0, pack_identifier())


def _locator(parent: ParentImage, *, path: str) -> Mapping[str, str]:
    if not parent.name or "\\" in parent.name or "\0" in parent.name:
        raise BadRequest(
            "The name of the parent cannot be written into the image",
            path,
            expected="a name without backslashes",
            found=parent.name,
        )
    pairs = {"parent_linkage": data_identity(parent.identity), "relative_path": ".\\" + parent.name.replace("/", "\\")}
    pack_locator(pairs)
    return pairs


def _check_options(disk: VhdxDisk, subformat: str, *, preallocate: bool, path: str) -> None:
    if subformat not in (DYNAMIC, FIXED, DIFFERENCING):
        raise BadRequest(
            "There is no such kind of VHDX image", path, expected="dynamic, fixed or differencing", found=subformat
        )
    if (subformat == DIFFERENCING) != (disk.locator is not None):
        raise BadRequest("A differencing image has a parent, and no other has", path, found=subformat)
    if preallocate and subformat != FIXED:
        raise BadRequest("Only a fixed image can be preallocated", path, expected=FIXED, found=subformat)
    for message, expected, found in complaints(disk):
        raise BadRequest(message, path, expected=expected, found=found)
    if disk.physical_sector < disk.logical_sector:
        found = disk.physical_sector
        raise BadRequest(
            "Physical sectors cannot be smaller than logical ones",
            path,
            expected=f"at least {disk.logical_sector}",
            found=found,
        )


class _Blocks(Protocol):
    """Places payload blocks in the file. Ranges ascend and are not empty."""

    def write(self, offset: int, view: memoryview) -> None:
        """Store bytes of the disk."""

    def write_zeros(self, offset: int, length: int) -> None:
        """Let a range of the disk read as zeros."""

    def finish(self) -> int:
        """Write what is left of the tables; the length that the file must have."""


class _TableStream:
    """Writes the block table from its beginning to its end, a piece at a time. Pieces of zeros are left out."""

    def __init__(self, file: File, disk: VhdxDisk, region: Region) -> None:
        self._file = file
        self._chunk_blocks = disk.chunk_blocks
        self._start = region.offset
        self._number = 0
        self._piece = array("Q", _ZERO_PIECE)

    def put_blocks(self, block: int, count: int, *, entry: int, step: int) -> None:
        """The entries of ``count`` payload blocks: ``entry``, ``entry + step`` and so on."""
        while count:
            index = block + block // self._chunk_blocks
            start = self._seek(index)
            some = min(count, self._chunk_blocks - block % self._chunk_blocks, _PIECE_ENTRIES - start)
            self._piece[start : start + some] = (
                array("Q", range(entry, entry + some * step, step)) if step else array("Q", (entry,)) * some
            )
            entry += some * step
            block += some
            count -= some

    def put_bits(self, chunk: int, entry: int) -> None:
        """The entry of the sector bits of a chunk."""
        start = self._seek((chunk + 1) * self._chunk_blocks + chunk)
        self._piece[start] = entry

    def _seek(self, index: int) -> int:
        number, start = divmod(index, _PIECE_ENTRIES)
        if number != self._number:
            self.flush()
            self._number = number
        return start

    def flush(self) -> None:
        """Write the current piece and begin a new one."""
        raw = pack_words(self._piece)
        if raw != _ZERO_PIECE:
            self._file.pwrite(self._start + self._number * len(raw), raw)
        self._piece = array("Q", _ZERO_PIECE)


class _FixedBlocks:
    """Every block has its place from the start."""

    def __init__(self, file: File, disk: VhdxDisk, region: Region) -> None:
        self._file = file
        self._disk = disk
        self._region = region

    def write(self, offset: int, view: memoryview) -> None:
        self._file.pwrite(self._region.end + offset, view)

    def write_zeros(self, offset: int, length: int) -> None:
        """What is not written is zeros already."""

    def finish(self) -> int:
        disk, table = self._disk, _TableStream(self._file, self._disk, self._region)
        table.put_blocks(0, disk.blocks, entry=self._region.end | FULLY_PRESENT, step=disk.block_bytes)
        table.flush()
        return self._region.end + disk.blocks * disk.block_bytes


class _DynamicBlocks:
    """A block gets its place with the first byte that is written to it."""

    def __init__(self, file: File, disk: VhdxDisk, region: Region) -> None:
        self._file = file
        self._block_bytes = disk.block_bytes
        self._table = _TableStream(file, disk, region)
        self._end = region.end
        self._next_block = 0

    def write(self, offset: int, view: memoryview) -> None:
        block_bytes = self._block_bytes
        first, last = offset // block_bytes, (offset + len(view) - 1) // block_bytes
        new = max(first, self._next_block)
        if new <= last:
            self._table.put_blocks(new, last - new + 1, entry=self._end | FULLY_PRESENT, step=block_bytes)
            self._end += (last - new + 1) * block_bytes
            self._next_block = last + 1
        # Neighbours in the guest are neighbours in the file, so one call writes them all.
        self._file.pwrite(self._end - (last - first + 1) * block_bytes + offset % block_bytes, view)

    def write_zeros(self, offset: int, length: int) -> None:
        """What has no place is zeros already."""

    def finish(self) -> int:
        self._table.flush()
        return self._end


class _OverlayBlocks:
    """Blocks over a parent, and the bits that say of each sector whether it is here or there.

    What becomes of a block is known when the stream leaves it: all of it zeros, all of it here, or a part of it.
    """

    def __init__(self, file: File, disk: VhdxDisk, region: Region) -> None:
        self._file = file
        self._disk = disk
        self._table = _TableStream(file, disk, region)
        self._end = region.end
        self._block: Optional[int] = None
        self._place: Optional[int] = None
        self._covered = 0
        self._next_sector = 0
        self._chunk = 0
        self._bits = bytearray(UNIT)
        self._bits_place: Optional[int] = None

    def write(self, offset: int, view: memoryview) -> None:
        """Neighbours in the file go out in one call."""
        block_bytes = self._disk.block_bytes
        sent = start = 0
        ready = -1
        while start < len(view):
            block, within = divmod(offset + start, block_bytes)
            length = min(len(view) - start, block_bytes - within)
            self._enter(block)
            self._cover(within, within + length)
            place = self._placed() + within
            if ready >= 0 and ready + start - sent != place:
                self._file.pwrite(ready, view[sent:start])
                ready = -1
            if ready < 0:
                ready, sent = place, start
            start += length
        self._file.pwrite(ready, view[sent:])

    def write_zeros(self, offset: int, length: int) -> None:
        block_bytes = self._disk.block_bytes
        end = offset + length
        while offset < end:
            block, within = divmod(offset, block_bytes)
            stop = min(end, (block + 1) * block_bytes)
            count = self._disk.blocks - block if end == self._disk.size else (end - offset) // block_bytes
            if within or not count:
                self._enter(block)
                self._cover(within, within + stop - offset)
                offset = stop
                continue
            self._zero_blocks(block, count)
            offset = min(end, (block + count) * block_bytes)

    def _zero_blocks(self, block: int, count: int) -> None:
        chunk_blocks = self._disk.chunk_blocks
        while count:
            some = min(count, chunk_blocks - block % chunk_blocks)
            self._leave(block // chunk_blocks)
            self._table.put_blocks(block, some, entry=ZERO_BLOCK, step=0)
            block += some
            count -= some

    def _enter(self, block: int) -> None:
        if block != self._block:
            self._leave(block // self._disk.chunk_blocks)
            self._block = block

    def _leave(self, chunk: int) -> None:
        """Close the current block, and its chunk unless that is ``chunk``."""
        self._close_block()
        if chunk != self._chunk:
            self._close_chunk()
            self._chunk = chunk

    def _cover(self, start: int, end: int) -> None:
        """Bytes ``start`` up to ``end`` of the current block are here; sectors count from the first byte on."""
        sector_bytes = self._disk.logical_sector
        first, last = max(start // sector_bytes, self._next_sector), -(-end // sector_bytes)
        if first < last:
            origin = self._first_bit()
            _set_bits(self._bits, origin + first, origin + last)
            self._covered += last - first
            self._next_sector = last

    def _first_bit(self) -> int:
        return (self._block or 0) % self._disk.chunk_blocks * (self._disk.block_bytes // self._disk.logical_sector)

    def _placed(self) -> int:
        """The place of the current block."""
        if self._place is None:
            self._place = self._end
            self._end += self._disk.block_bytes
        return self._place

    def _close_block(self) -> None:
        if self._block is None:
            return
        disk = self._disk
        sectors = min(disk.block_bytes, disk.size - self._block * disk.block_bytes) // disk.logical_sector
        if self._covered < sectors:
            entry = self._placed() | PARTIALLY_PRESENT
            if self._bits_place is None:
                self._bits_place = self._end
                self._end += UNIT
        elif self._place is not None:
            entry = self._place | FULLY_PRESENT
        else:
            entry = ZERO_BLOCK
            first = self._first_bit() // 8
            self._bits[first : first + -(-sectors // 8)] = bytes(-(-sectors // 8))
        self._table.put_blocks(self._block, 1, entry=entry, step=0)
        self._block = self._place = None
        self._covered = self._next_sector = 0

    def _close_chunk(self) -> None:
        if self._bits_place is not None:
            for start in range(0, UNIT, _BITS_PIECE):
                if not self._bits.startswith(_ZERO_BITS, start):
                    self._file.pwrite(self._bits_place + start, self._bits[start : start + _BITS_PIECE])
            self._table.put_bits(self._chunk, self._bits_place | FULLY_PRESENT)
            self._bits_place = None
        self._bits = bytearray(UNIT)

    def finish(self) -> int:
        self._close_block()
        self._close_chunk()
        self._table.flush()
        return self._end


def _set_bits(bits: bytearray, first: int, end: int) -> None:
    """Set bits ``first`` up to ``end``, the lowest of each byte first."""
    head, tail = min(end, -(-first // 8) * 8), max(first, end // 8 * 8)
    if first < head:
        bits[first // 8] |= ((1 << (head - first)) - 1) << (first % 8)
    if head < tail:
        bits[head // 8 : tail // 8] = b"\xff" * ((tail - head) // 8)
    if max(head, tail) < end:
        bits[tail // 8] |= (1 << (end - tail)) - 1

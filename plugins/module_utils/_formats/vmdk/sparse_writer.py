# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing the hosted sparse kinds of VMDK, in one file or in several.

::

    header | descriptor | redundant directory | its tables | directory | its tables | grains in the order of the disk

The room of the tables is known from the size of the disk, so they come first and data follows as it is written. A table
goes out when the stream has passed it; directory, descriptor and header come last.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from typing import Dict, Mapping, Sequence, Tuple

from ..._core.units import SECTOR
from ..._core.words import pack_words
from ..._io.port import Buffer, File
from .cursor import Cursor, split_range
from .descriptor import NewDescriptor
from .layout import DESCRIPTOR_SECTORS, TABLE_ENTRIES, TABLE_SECTORS, hosted_header, pack_sparse_header

_DIRECTORY_PIECE = 16384


class SparseWriter:
    """Writes monolithicSparse and twoGbMaxExtentSparse, and overlays of the first kind.

    Implements ``ForeignWriter``.
    """

    def __init__(self, files: Sequence[File], descriptor: NewDescriptor, *, grain_bytes: int) -> None:
        self.grain = grain_bytes
        self.properties: Mapping[str, object] = _properties(descriptor, grain_bytes)
        self._file = files[0]
        self._descriptor = descriptor
        self._cursor = Cursor(sum(extent.sectors for extent in descriptor.extents) * SECTOR, files[0].path)
        self._is_single = len(files) == 1
        pieces = files if self._is_single else files[1:]
        room = DESCRIPTOR_SECTORS if self._is_single else 0
        self._pieces = [
            _SparsePiece(file, extent.sectors, grain_bytes, room) for file, extent in zip(pieces, descriptor.extents)
        ]

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``. Raises BadRequest when that goes back or leaves the disk."""
        view = memoryview(buffer).cast("B")
        self._cursor.advance(offset, len(view))
        done = 0
        for index, start, length in split_range(self._descriptor.extents, offset, offset + len(view)):
            self._pieces[index].write(start, view[done : done + length])
            done += length

    def write_zeros(self, offset: int, length: int) -> None:
        """Let the range read as zeros.

        In an overlay its grains are stored: not every reader knows the entry for a grain of zeros.

        They are holes of the file where the host has holes. Raises BadRequest when the range goes back or leaves the
        disk.
        """
        self._cursor.advance(offset, length)
        if length and self._descriptor.parent is not None:
            self._pieces[0].reserve(offset // self.grain, (offset + length - 1) // self.grain)

    def finish(self, identity: str) -> None:
        """Write the directories, the headers and the descriptor."""
        text = self._descriptor.pack(identity)
        for piece in self._pieces:
            piece.finish(text if self._is_single else b"")
        if not self._is_single:
            self._file.pwrite(0, text)


def _properties(descriptor: NewDescriptor, grain_bytes: int) -> Dict[str, object]:
    return {
        "subformat": descriptor.create_type,
        "cluster_size": grain_bytes,
        "compression": "none",
        "adapter_type": descriptor.adapter_type,
    }


class _SparsePiece:
    """One hosted sparse extent. It holds the one table that the stream is in."""

    def __init__(self, file: File, capacity: int, grain_bytes: int, descriptor_sectors: int) -> None:
        self._file = file
        self._grain_bytes = grain_bytes
        self._grain_sectors = grain_bytes // SECTOR
        self._header = hosted_header(
            capacity=capacity, grain_sectors=self._grain_sectors, descriptor_sectors=descriptor_sectors
        )
        self._next_grain = 0
        self._next_sector = self._header.data_sector
        self._table = 0
        self._entries = array("I", bytes(4 * TABLE_ENTRIES))
        self._is_used = False

    def write(self, offset: int, view: memoryview) -> None:
        first, last = offset // self._grain_bytes, (offset + len(view) - 1) // self._grain_bytes
        self.reserve(first, last)
        # Neighbours in the guest are neighbours in the file, so one call writes them all.
        start = self._next_sector * SECTOR - (last - first + 1) * self._grain_bytes
        self._file.pwrite(start + offset % self._grain_bytes, view)

    def reserve(self, first: int, last: int) -> None:
        """Give places to the grains ``first`` to ``last`` that have none yet; none after them has one."""
        grain = max(first, self._next_grain)
        while grain <= last:
            table, low = divmod(grain, TABLE_ENTRIES)
            if table != self._table:
                self._flush(table)
            high = min(TABLE_ENTRIES, low + last + 1 - grain)
            end = self._next_sector + (high - low) * self._grain_sectors
            self._entries[low:high] = array("I", range(self._next_sector, end, self._grain_sectors))
            self._is_used = True
            self._next_sector = end
            grain += high - low
        self._next_grain = max(self._next_grain, last + 1)

    def _flush(self, table: int) -> None:
        """Write the table to both of its places and begin the next one; a table without entries stays a hole."""
        if self._is_used:
            packed = pack_words(self._entries)
            for start in self._table_starts():
                self._file.pwrite((start + self._table * TABLE_SECTORS) * SECTOR, packed)
            self._entries = array("I", bytes(4 * TABLE_ENTRIES))
        self._table = table
        self._is_used = False

    def _table_starts(self) -> Tuple[int, int]:
        """The sectors of the first table of the redundant directory and of the other one."""
        tables_end = self._header.gd_sector
        first = tables_end - self._header.tables * TABLE_SECTORS
        return first, self._header.gd_sector + first - self._header.rgd_sector

    def finish(self, text: bytes) -> None:
        self._flush(0)
        self._file.truncate(self._next_sector * SECTOR)
        for directory, start in zip((self._header.rgd_sector, self._header.gd_sector), self._table_starts()):
            for first in range(0, self._header.tables, _DIRECTORY_PIECE):
                count = min(_DIRECTORY_PIECE, self._header.tables - first)
                sectors = range(start + first * TABLE_SECTORS, start + (first + count) * TABLE_SECTORS, TABLE_SECTORS)
                self._file.pwrite(directory * SECTOR + 4 * first, pack_words(array("I", sectors)))
        padded = text.ljust(self._header.descriptor_sectors * SECTOR, b"\0")
        self._file.pwrite(0, pack_sparse_header(self._header) + padded)

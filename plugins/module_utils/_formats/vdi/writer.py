# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a new VirtualBox disk image (VDI) in one pass.

::

    write(...)   | (hole)       | map, as far as it is known .. | block | block | ...      the file is no image yet
    finish()     | header | ..  | map ......................... | block | block | ... |    header last
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from typing import Mapping

from ..._core.errors import BadRequest
from ..._core.units import MIB
from ..._core.words import pack_words
from ..._io.port import Buffer, File
from ..bounds import check_next
from .layout import DYNAMIC, ENTRY_BYTES, FIXED, FREE, new_header, pack_header

_PIECE_ENTRIES = 64 << 10


class VdiWriter:
    """Fills a new, empty file. There are no overlays. Implements ``ForeignWriter``.

    In a dynamic image the first byte written to a block stores it, in the order of the disk; a fixed one has all its
    blocks, of which those that are not written stay holes unless ``preallocate`` reserves them. Memory stays constant:
    of the map only the piece that the writing has come to is held.
    """

    def __init__(
        self, file: File, *, subformat: str, size_bytes: int, block_bytes: int = MIB, preallocate: bool = False
    ) -> None:
        self.file = file
        self.header = new_header(subformat=subformat, size_bytes=size_bytes, block_bytes=block_bytes)
        self.grain = block_bytes
        self.properties: Mapping[str, object] = {"subformat": subformat, "cluster_size": block_bytes}
        if preallocate and subformat != FIXED:
            raise BadRequest("Only a fixed VDI image can be reserved", file.path, expected=FIXED, found=subformat)
        self._allocated = self.header.blocks if subformat == FIXED else 0
        self._next_block = 0
        self._position = 0
        self._piece = array("I", (FREE,)) * min(_PIECE_ENTRIES, self.header.blocks)
        self._piece_base = 0
        if preallocate:
            file.allocate(0, self._length())

    def _length(self) -> int:
        return self.header.offset_data + self._allocated * self.header.block_bytes

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``. Raises BadRequest when that goes back or leaves the disk."""
        length = memoryview(buffer).nbytes
        if not length:
            return
        check_next(self.file.path, self._position, self.header.size_bytes, offset, length)
        block_bytes = self.header.block_bytes
        if self.header.subformat == FIXED:
            place = self.header.offset_data + offset
        else:
            first, last = offset // block_bytes, (offset + length - 1) // block_bytes
            self._store(max(first, self._next_block), last + 1)
            # Neighbours in the guest are neighbours in the file, so one call writes them all.
            place = (
                self.header.offset_data + (self._allocated - 1 - (last - first)) * block_bytes + offset % block_bytes
            )
        self.file.pwrite(place, buffer)
        self._position = offset + length

    def write_zeros(self, offset: int, length: int) -> None:
        """Nothing needs to be stored: there is no parent.

        Raises BadRequest when the range goes back or leaves the disk.
        """
        check_next(self.file.path, self._position, self.header.size_bytes, offset, length)

    def _store(self, block: int, end: int) -> None:
        """Give guest blocks ``block`` up to ``end`` the next places."""
        while block < end:
            self._flush_before(block)
            count = min(end, self._piece_base + len(self._piece)) - block
            index = block - self._piece_base
            self._piece[index : index + count] = array("I", range(self._allocated, self._allocated + count))
            self._allocated += count
            block += count
        self._next_block = max(self._next_block, end)

    def _flush_before(self, block: int) -> None:
        """Write all of the map that lies before the piece of ``block``, and go on with that piece."""
        while block >= self._piece_base + len(self._piece) and self._piece:
            self._flush()

    def _flush(self) -> None:
        """Write the piece that is held.

        A hole would be no entry of a free block, so pieces without a block are written, too.
        """
        self._write_map(self._piece_base, self._piece)
        self._piece_base += len(self._piece)
        self._piece = array("I", (FREE,)) * min(_PIECE_ENTRIES, self.header.blocks - self._piece_base)

    def _write_map(self, first: int, piece: array[int]) -> None:
        self.file.pwrite(self.header.offset_map + ENTRY_BYTES * first, pack_words(piece))

    def finish(self, identity: str) -> None:
        """Give the file its length, the rest of its map and at last its header; its UUIDs derive from ``identity``."""
        self.file.truncate(self._length())
        if self.header.subformat == DYNAMIC:
            self._flush_before(self.header.blocks)
        else:
            for first in range(0, self.header.blocks, _PIECE_ENTRIES):
                self._write_map(first, array("I", range(first, min(self.header.blocks, first + _PIECE_ENTRIES))))
        self.file.pwrite(0, pack_header(self.header, allocated=self._allocated, identity=identity))

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a new expanding image in one pass.

::

    write(...)   | (hole)            | cluster | cluster | ...      the file is no image yet
    finish()     | header | table .. | cluster | cluster | ... |    table first, header last
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from ..._io.port import Buffer, File
from ..bounds import check_next, check_range
from .bat import RunTable, TableBuilder, sequential_entries, table_pieces
from .header import ENTRY_BYTES, HEADER_BYTES, new_header, pack_header

_RESERVED_PIECE = 1 << 18


class HdsWriter:
    """Fills a new, empty file. Clusters are allocated in guest order by the first byte written to them.

    The rest of a cluster that is written in part stays a hole. Memory grows with the number of runs only.
    """

    def __init__(self, file: File, *, size_bytes: int, cluster_bytes: int, version: int) -> None:
        self.file = file
        self.header = new_header(size_bytes=size_bytes, cluster_bytes=cluster_bytes, version=version)
        self._builder = TableBuilder(self.header)
        self._first_entry = self.header.data_start // self.header.entry_bytes
        self._allocated = 0
        self._next_cluster = 0
        self._position = 0

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``. Raises BadRequest when that goes back or leaves the disk."""
        length = memoryview(buffer).nbytes
        if length > 0:
            self.file.pwrite(self.place(offset, length), buffer)

    def place(self, offset: int, length: int) -> int:
        """The place in the file, allocated now, for ``length`` bytes (at least 1) that the caller stores there himself.

        Raises BadRequest as ``write`` does.
        """
        check_next(self.file.path, self._position, self.header.size_bytes, offset, length)
        cluster_bytes = self.header.cluster_bytes
        first, last = offset // cluster_bytes, (offset + length - 1) // cluster_bytes
        self._allocate(max(first, self._next_cluster), last)
        # Neighbours in the guest are neighbours in the file, so one call writes them all.
        start = self.header.data_start + (self._allocated - 1 - (last - first)) * cluster_bytes
        self._position = offset + length
        return start + offset % cluster_bytes

    def write_zeros(self, offset: int, length: int) -> None:
        """Allocate the clusters that the range touches, so that it reads as zeros over any parent.

        Raises BadRequest as ``write`` does.
        """
        check_next(self.file.path, self._position, self.header.size_bytes, offset, length)
        if length > 0:
            first, last = offset // self.header.cluster_bytes, (offset + length - 1) // self.header.cluster_bytes
            self._allocate(max(first, self._next_cluster), last)
            self._position = offset + length

    def _allocate(self, first: int, last: int) -> None:
        count = last - first + 1
        if count > 0:
            self._builder.add(first, count, self._first_entry + self._allocated * self.header.entry_step)
            self._allocated += count
            self._next_cluster = last + 1

    def table(self) -> RunTable:
        """Where everything written so far lies."""
        return self._builder.build()

    def finish(self) -> None:
        """Give the file its length, its table and at last its header."""
        table = self.table()
        self.file.truncate(table.data_end)
        for offset, piece in table_pieces(table, self.header):
            self.file.pwrite(offset, piece)
        self.file.pwrite(0, pack_header(self.header))


class ReservedHdsWriter:
    """Fills a new, empty file whose clusters all have their places and the host's blocks from the start, in order."""

    def __init__(self, file: File, *, size_bytes: int, cluster_bytes: int, version: int) -> None:
        self.file = file
        self.header = new_header(size_bytes=size_bytes, cluster_bytes=cluster_bytes, version=version)
        self._length = self.header.data_start + self.header.used_entries * cluster_bytes
        file.allocate(0, self._length)

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``. Raises BadRequest when that leaves the disk."""
        self.file.pwrite(self.place(offset, memoryview(buffer).nbytes), buffer)

    def place(self, offset: int, length: int) -> int:
        """The place in the file for bytes that the caller stores there himself. Raises BadRequest as ``write`` does."""
        check_range(self.file.path, self.header.size_bytes, offset, length)
        return self.header.data_start + offset

    def table(self) -> RunTable:
        """Where all clusters lie."""
        builder = TableBuilder(self.header)
        builder.add(0, self.header.used_entries, self.header.data_start // self.header.entry_bytes)
        return builder.build()

    def finish(self) -> None:
        """Give the file its table and at last its header."""
        self.file.truncate(self._length)
        for first in range(0, self.header.used_entries, _RESERVED_PIECE):
            count = min(_RESERVED_PIECE, self.header.used_entries - first)
            self.file.pwrite(HEADER_BYTES + ENTRY_BYTES * first, sequential_entries(self.header, first, count))
        self.file.pwrite(0, pack_header(self.header))


def measure_hds(*, size_bytes: int, cluster_bytes: int, version: int, allocated_clusters: int) -> int:
    """The length in bytes of an image with this many clusters allocated. Raises BadRequest for an impossible image."""
    header = new_header(size_bytes=size_bytes, cluster_bytes=cluster_bytes, version=version)
    return header.data_start + allocated_clusters * cluster_bytes

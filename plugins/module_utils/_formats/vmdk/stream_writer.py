# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing streamOptimized VMDK, the compressed form that OVF packages hold.

::

    header, descriptor | grains of table 0 | marker, table 0 | ... | marker, directory | marker, footer | end
                         sector 128

Grains are deflated in threads and written in the order of the disk, each after the one before it. Only the first 64
KiB are written at the end, because the descriptor holds the id that the image gets then. Grains of zeros are left out,
and so are tables without grains. The same input gives the same bytes with any number of threads; another build of zlib
may give others.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import zlib
from array import array
from typing import List, Mapping, Optional, Tuple

from ..._core.errors import BadRequest
from ..._core.randomness import looks_random
from ..._core.records import replace
from ..._core.units import SECTOR, round_up
from ..._core.words import pack_words
from ..._io.pipeline import OrderedPool
from ..._io.port import Buffer, File
from ..._io.sparse import is_zero
from .cursor import Cursor
from .descriptor import NewDescriptor
from .layout import (
    DESCRIPTOR_SECTORS,
    GRAIN_HEADER,
    MARKER_DIRECTORY,
    MARKER_END,
    MARKER_FOOTER,
    MARKER_TABLE,
    TABLE_ENTRIES,
    TABLE_SECTORS,
    directory_sectors,
    pack_marker,
    pack_sparse_header,
    stream_header,
)

_GATHER_BYTES = 256 << 10

_Task = Tuple[int, bytes]


class StreamWriter:
    """Writes streamOptimized. Implements ``ForeignWriter``.

    Holds one table, one grain and a few grains for each thread.
    """

    def __init__(
        self,
        file: File,
        descriptor: NewDescriptor,
        *,
        size_bytes: int,
        grain_bytes: int,
        level: int,
        workers: Optional[int],
    ) -> None:
        self.grain = grain_bytes
        properties = {
            "subformat": descriptor.create_type,
            "cluster_size": grain_bytes,
            "compression": "zlib",
            "adapter_type": descriptor.adapter_type,
        }
        self.properties: Mapping[str, object] = properties
        self._file = file
        self._descriptor = descriptor
        self._header = stream_header(capacity=size_bytes // SECTOR, grain_sectors=grain_bytes // SECTOR)
        self._cursor = Cursor(size_bytes, file.path)
        self._level = level
        self._workers = workers
        self._pool: Optional[OrderedPool[_Task, _Task]] = None
        self._tail = _Tail(file, self._header.data_sector * SECTOR)
        # The grain that is being filled, and its number.
        self._open_grain = -1
        self._content = bytearray()
        self._table = 0
        self._entries = array("I", bytes(4 * TABLE_ENTRIES))
        self._directory = array("I", bytes(4 * self._header.tables))

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``.

        Raises BadRequest when that goes back or leaves the disk, or the file becomes too large.
        """
        view = memoryview(buffer).cast("B")
        self._cursor.advance(offset, len(view))
        try:
            done = 0
            while done < len(view):
                grain, inside = divmod(offset + done, self.grain)
                part = view[done : done + self.grain - inside]
                self._put(grain, inside, part)
                done += len(part)
        except BaseException:
            self._close_pool()
            raise

    def write_zeros(self, offset: int, length: int) -> None:
        """Nothing needs to be stored. Raises BadRequest when the range goes back or leaves the disk."""
        self._cursor.advance(offset, length)

    def finish(self, identity: str) -> None:
        """Write what is pending, the directory and the footer, and then the beginning of the file."""
        text = self._descriptor.pack(identity)
        try:
            self._end_grain()
            if self._pool is not None:
                for task in self._pool.drain():
                    self._take(task)
        finally:
            self._close_pool()
        self._end_table(0)
        self._end_file()
        head = pack_sparse_header(self._header) + text.ljust(DESCRIPTOR_SECTORS * SECTOR, b"\0")
        self._file.pwrite(0, head.ljust(self._header.data_sector * SECTOR, b"\0"))

    def _put(self, grain: int, inside: int, part: memoryview) -> None:
        if grain != self._open_grain:
            self._end_grain()
            if len(part) == self.grain:
                self._submit(grain, bytes(part))
                return
            self._open_grain = grain
            self._content = bytearray(self.grain)
        self._content[inside : inside + len(part)] = part

    def _end_grain(self) -> None:
        if self._open_grain >= 0:
            self._submit(self._open_grain, bytes(self._content))
            self._open_grain = -1

    def _submit(self, grain: int, content: bytes) -> None:
        if is_zero(content):
            return
        if self._pool is None:
            self._pool = OrderedPool(self._compressed, workers=self._workers)
        for task in self._pool.put((grain, content)):
            self._take(task)

    def _compressed(self, task: _Task) -> _Task:
        """The record of a grain: its first sector, the length, a zlib stream, zeros up to the next sector.

        Runs in threads.
        """
        grain, content = task
        # A stream holds compressed grains only; what would not shrink is stored in blocks that are not packed.
        packed = zlib.compress(content, 0 if looks_random(content) else self._level)
        record = GRAIN_HEADER.pack(grain * self._header.grain_sectors, len(packed)) + packed
        return grain, record.ljust(round_up(len(record), SECTOR), b"\0")

    def _take(self, task: _Task) -> None:
        grain, record = task
        table, index = divmod(grain, TABLE_ENTRIES)
        if table != self._table:
            self._end_table(table)
        self._entries[index] = self._tail.add(record)

    def _end_table(self, following: int) -> None:
        if any(self._entries):
            self._tail.add(pack_marker(TABLE_SECTORS, MARKER_TABLE))
            self._directory[self._table] = self._tail.add(pack_words(self._entries))
            self._entries = array("I", bytes(4 * TABLE_ENTRIES))
        self._table = following

    def _end_file(self) -> None:
        sectors = directory_sectors(self._header.tables)
        self._tail.add(pack_marker(sectors, MARKER_DIRECTORY))
        gd_sector = self._tail.add(pack_words(self._directory).ljust(sectors * SECTOR, b"\0"))
        self._tail.add(pack_marker(1, MARKER_FOOTER))
        self._tail.add(pack_sparse_header(replace(self._header, gd_sector=gd_sector)))
        self._tail.add(pack_marker(0, MARKER_END))
        self._tail.flush()

    def _close_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()


class _Tail:
    """The end of the file. Small pieces go out together."""

    def __init__(self, file: File, start: int) -> None:
        self._file = file
        self._written = start
        self._pending: List[bytes] = []
        self._pending_bytes = 0

    def add(self, piece: bytes) -> int:
        """Append whole sectors; returns the sector that they begin at.

        Raises BadRequest when an entry cannot hold it.
        """
        sector = (self._written + self._pending_bytes) // SECTOR
        if sector >= 1 << 32:
            hint = "Use a subformat of several files (twoGbMaxExtentSparse), or a flat one."
            raise BadRequest(
                "The compressed data is too large for one file",
                self._file.path,
                expected="below 2 TiB",
                found=sector * SECTOR,
                hint=hint,
            )
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        if self._pending_bytes >= _GATHER_BYTES:
            self.flush()
        return sector

    def flush(self) -> None:
        """Write what is pending."""
        content = b"".join(self._pending)
        if content:
            self._file.pwrite(self._written, content)
        self._written += len(content)
        self._pending = []
        self._pending_bytes = 0

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of a new qcow2 image: the clusters taken, the tables that lead to them, and how often each is used."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import zlib
from array import array
from itertools import groupby, repeat
from operator import add
from typing import Dict, Iterator, Tuple

from ..._core.errors import BadRequest
from ..._core.units import ceil_div, round_up
from ..._io.port import File
from .entries import COPIED, ZERO_BIT, compressed_entry, pack_entries
from .layout import ENTRY_BYTES, MOST_REFCOUNT_TABLE_BYTES, Qcow2Header

_PIECE_ENTRIES = 32 << 10
_COUNTS_PER_PIECE = 64 << 10
_COUNT_BYTES = 2


class _Counts:
    """How often the clusters of the file are used, where that is more than once.

    Ascending, so what has been passed is kept packed.
    """

    def __init__(self) -> None:
        self._packed: Dict[int, bytes] = {}
        self._piece = 0
        self._extra = array("H", bytes(_COUNT_BYTES * _COUNTS_PER_PIECE))

    def add(self, host: int) -> None:
        """Cluster ``host`` is used once more."""
        piece, index = divmod(host, _COUNTS_PER_PIECE)
        if piece != self._piece:
            self._packed[self._piece] = zlib.compress(self._extra.tobytes(), 1)
            self._extra = self._piece_of(piece)
            self._piece = piece
        self._extra[index] += 1

    def _piece_of(self, piece: int) -> array[int]:
        if piece == self._piece:
            return self._extra
        packed = self._packed.get(piece)
        return array("H", bytes(_COUNT_BYTES * _COUNTS_PER_PIECE) if packed is None else zlib.decompress(packed))

    def pieces(self, clusters: int) -> Iterator[bytes]:
        """The reference counts of so many clusters, at least 1 each, in pieces of one length but for the last."""
        for piece in range(ceil_div(clusters, _COUNTS_PER_PIECE)):
            count = min(_COUNTS_PER_PIECE, clusters - piece * _COUNTS_PER_PIECE)
            if piece == self._piece or piece in self._packed:
                yield pack_entries(array("H", map(add, self._piece_of(piece)[:count], repeat(1))))
            else:
                yield b"\0\1" * count


class Store:
    """The file: which clusters of it are taken, and the tables that lead to them.

    ``most_bytes`` limits the table of reference counts, and so the length of the file.
    """

    def __init__(self, file: File, header: Qcow2Header, *, most_bytes: int = MOST_REFCOUNT_TABLE_BYTES) -> None:
        self._file = file
        self._header = header
        self._cluster_bytes = header.cluster_bytes
        self._per_table = header.cluster_bytes // ENTRY_BYTES
        self._next_host = 1 + ceil_div(header.l1_entries * ENTRY_BYTES, header.cluster_bytes)
        self._slots, self._places = array("I"), array("Q")
        self._table = array("Q")
        self._table_number = -1
        self._counts = _Counts()
        self._next_guest = 0
        self._last_host = 0
        self._tail = self._tail_end = 0
        self.has_packed = False
        # The table of reference counts must be able to describe the whole file, itself included.
        blocks = most_bytes // ENTRY_BYTES
        counted = blocks * self._cluster_bytes // _COUNT_BYTES
        self._most_hosts = counted - blocks - ceil_div(most_bytes, self._cluster_bytes)

    def _allocate(self, count: int) -> int:
        """The first of so many neighbouring clusters of the file."""
        host = self._next_host
        if host + count > self._most_hosts:
            hint = "Choose a larger cluster_size."
            raise BadRequest(
                "The image becomes too large for its cluster size",
                self._file.path,
                expected=self._most_hosts,
                found=host + count,
                hint=hint,
            )
        self._next_host += count
        return host

    def _enter(self, guest: int) -> int:
        """Have the table of guest cluster ``guest`` at hand; gives the index of its entry."""
        number, index = divmod(guest, self._per_table)
        if number != self._table_number:
            self._leave()
            self._table = array("Q", bytes(self._cluster_bytes))
            self._table_number = number
            self._slots.append(number)
            self._places.append(self._allocate(1) * self._cluster_bytes)
        return index

    def _leave(self) -> None:
        if self._table_number >= 0:
            self._file.pwrite(self._places[-1], pack_entries(self._table))

    def _parts(self, guest: int, count: int) -> Iterator[Tuple[int, int, int]]:
        """``(guest cluster, count, index of the entry)`` for each table in turn; the table is at hand then."""
        while count:
            index = self._enter(guest)
            step = min(count, self._per_table - index)
            yield guest, step, index
            guest += step
            count -= step

    def plain(self, first: int, last: int) -> Iterator[Tuple[int, int, int]]:
        """Let guest clusters ``first`` to ``last`` have neighbouring clusters; ``first`` may have one already.

        Gives ``(guest cluster, count, file offset)``; the bytes are for the caller to write.
        """
        size = self._cluster_bytes
        for guest, count, index in self._parts(first, last - first + 1):
            fresh = max(guest, self._next_guest)
            new = guest + count - fresh
            if new:
                start = self._allocate(new) * size
                index += fresh - guest
                self._table[index : index + new] = array(
                    "Q", range(COPIED | start, (COPIED | start) + new * size, size)
                )
                self._last_host = start + (new - 1) * size
                self._next_guest = fresh + new
            yield guest, count, self._last_host - (count - 1) * size

    def zeros(self, guest: int, count: int) -> None:
        """Let guest clusters read as zeros: by a bit of their entries, or in version 2 by holes of the file."""
        if self._header.version < 3:
            for _part in self.plain(guest, guest + count - 1):
                pass
            return
        for _guest, step, index in self._parts(guest, count):
            self._table[index : index + step] = array("Q", repeat(ZERO_BIT, step))

    def packed(self, guest: int, packed: bytes) -> None:
        """Store a packed guest cluster from an even byte on: libqcow takes an odd offset for the zero bit."""
        index = self._enter(guest)
        size = self._cluster_bytes
        offset = round_up(self._tail, 2)
        if self._tail_end == self._next_host * size:
            need = max(0, ceil_div(offset + len(packed) - self._tail_end, size))
            self._tail_end += need * size
            if need:
                self._allocate(need)
            is_shared = offset < self._tail_end - need * size
        elif offset + len(packed) <= self._tail_end:
            is_shared = True
        else:
            need = ceil_div(len(packed), size)
            offset = self._allocate(need) * size
            self._tail_end = offset + need * size
            is_shared = False
        if is_shared:
            self._counts.add(offset // size)
        self._table[index] = compressed_entry(offset, len(packed), self._header.cluster_bits)
        self._file.pwrite(offset, packed)
        self._tail = offset + len(packed)
        self.has_packed = True

    def finish(self) -> Tuple[int, int]:
        """Write all tables and give the file its length. Gives offset and bytes of the table of reference counts."""
        self._leave()
        size, used = self._cluster_bytes, self._next_host
        total, blocks, table_clusters = 0, 0, 0
        while total != used + blocks + table_clusters:
            total = used + blocks + table_clusters
            blocks = ceil_div(total * _COUNT_BYTES, size)
            table_clusters = ceil_div(blocks * ENTRY_BYTES, size)
        offset = used * size
        self._file.truncate(total * size)
        for piece in self._counts.pieces(total):
            self._file.pwrite(offset, piece)
            offset += len(piece)
        table_offset = (used + blocks) * size
        self._file.pwrite(table_offset, pack_entries(array("Q", range(used * size, table_offset, size))))
        self._write_l1()
        return table_offset, table_clusters * size

    def _write_l1(self) -> None:
        """Only the pieces of the L1 table that have an entry; the rest stays a hole."""
        for base, group in groupby(
            zip(self._slots, self._places), lambda entry: entry[0] // _PIECE_ENTRIES * _PIECE_ENTRIES
        ):
            piece = array("Q", bytes(ENTRY_BYTES * min(_PIECE_ENTRIES, self._header.l1_entries - base)))
            for slot, place in group:
                piece[slot - base] = COPIED | place
            self._file.pwrite(self._header.l1_offset + base * ENTRY_BYTES, pack_entries(piece))

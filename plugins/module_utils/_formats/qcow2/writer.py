# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a new qcow2 image in one pass.

::

    write(...)   | (hole)      | L2 | data .......... | L2 | data ...      an L2 table lies before the data of its range
    finish()     | header | L1 | L2 | data .......... | L2 | data ... | reference counts    header last

An L2 table is written when the guest leaves its range. Compressed clusters are packed one behind the other; several
share a cluster of the file, and one may reach into the next.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import zlib
from array import array
from itertools import groupby, repeat
from operator import add
from typing import Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

from ..._core.errors import BadRequest
from ..._core.records import replace
from ..._core.units import KIB, MIB, SECTOR, ceil_div, round_up
from ..._io.pipeline import OrderedPool, worker_count
from ..._io.port import Buffer, File
from ..image import ParentImage
from .codec import Pack, packer
from .layout import (
    COMPRESSION_TYPE,
    COMPRESSIONS,
    COPIED,
    ENTRY_BYTES,
    LEAST_CLUSTER_BITS,
    MOST_CLUSTER_BITS,
    MOST_L1_BYTES,
    MOST_REFCOUNT_TABLE_BYTES,
    ZERO_BIT,
    Qcow2Header,
    compressed_entry,
    pack_entries,
    pack_header,
)

_PIECE_ENTRIES = 32 << 10
_COUNTS_PER_PIECE = 64 << 10
_COUNT_BYTES = 2
# Threads get at least so much at once, and what they hold stays within the other.
_TASK_BYTES = 64 * KIB
_BYTES_PER_WORKER = 8 * MIB


class _Counts:
    """How often the clusters of the file are used, where that is more than once.

    Ascending, so what lies behind is kept packed.
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
        """The reference counts of so many clusters, each used at least once, in pieces of one length; the last may
        be shorter.
        """
        for piece in range(ceil_div(clusters, _COUNTS_PER_PIECE)):
            count = min(_COUNTS_PER_PIECE, clusters - piece * _COUNTS_PER_PIECE)
            if piece == self._piece or piece in self._packed:
                yield pack_entries(array("H", map(add, self._piece_of(piece)[:count], repeat(1))))
            else:
                yield b"\0\1" * count


class _Store:
    """The file: which clusters of it are taken, and the tables that lead to them."""

    def __init__(self, file: File, header: Qcow2Header) -> None:
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
        blocks = MOST_REFCOUNT_TABLE_BYTES // ENTRY_BYTES
        self._most_hosts = (
            blocks * self._cluster_bytes // _COUNT_BYTES - blocks - MOST_REFCOUNT_TABLE_BYTES // self._cluster_bytes
        )

    def _allocate(self, count: int) -> int:
        """The first of so many neighbouring clusters of the file."""
        host = self._next_host
        if host + count > self._most_hosts:
            hint = "Choose a larger cluster_size."
            raise BadRequest(
                "The image becomes too large for its cluster size",
                path=self._file.path,
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
        """Let guest clusters ``first`` to ``last`` have neighbouring clusters of the file, but for ``first`` if it has
        one already.

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
        """Store the packed bytes of a guest cluster, from an even byte on: libqcow takes an odd offset for the zero
        bit.
        """
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


class _Piece(NamedTuple):
    """Guest clusters on their way into the file: one with ``content`` or ``packed`` bytes, or, with neither,
    ``count`` of zeros.
    """

    guest: int
    clusters: int
    content: Optional[bytes] = None
    packed: Optional[bytes] = None


class _Packing:
    """Gathers whole clusters and has them packed in threads, in order."""

    def __init__(self, store: _Store, file: File, cluster_bytes: int, pack: Pack, workers: Optional[int]) -> None:
        self._store = store
        self._file = file
        self._cluster_bytes = cluster_bytes
        self._pack = pack
        self._workers = min(workers or worker_count(), max(1, _BYTES_PER_WORKER // cluster_bytes))
        self._pool: Optional[OrderedPool[List[_Piece], List[_Piece]]] = None
        self._batch: List[_Piece] = []
        self._most = max(1, _TASK_BYTES // cluster_bytes)
        self._gathered: Optional[bytearray] = None
        self._guest = -1

    def write(self, offset: int, view: memoryview) -> None:
        """Take guest bytes of any range, ascending."""
        size = self._cluster_bytes
        position = 0
        while position < len(view):
            guest, within = divmod(offset + position, size)
            count = min(size - within, len(view) - position)
            part = view[position : position + count]
            if guest != self._guest:
                self.flush()
            if count == size:
                self._put(_Piece(guest, 1, bytes(part)))
            else:
                if self._gathered is None:
                    self._gathered, self._guest = bytearray(size), guest
                self._gathered[within : within + count] = part
            position += count

    def zeros(self, guest: int, count: int) -> None:
        """Take whole clusters of zeros."""
        self.flush()
        self._put(_Piece(guest, count))

    def flush(self) -> None:
        """Hand on the cluster that is being gathered."""
        if self._gathered is not None:
            self._put(_Piece(self._guest, 1, bytes(self._gathered)))
            self._gathered, self._guest = None, -1

    def _put(self, piece: _Piece) -> None:
        self._batch.append(piece)
        if len(self._batch) >= self._most:
            self._submit()

    def _submit(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            if self._pool is None:
                self._pool = OrderedPool(self._packed, workers=self._workers)
            self._take(self._pool.put(batch))

    def _packed(self, batch: List[_Piece]) -> List[_Piece]:
        done = []
        for piece in batch:
            packed = None if piece.content is None else self._pack(piece.content)
            done.append(piece if packed is None else _Piece(piece.guest, 1, None, packed))
        return done

    def _take(self, batches: Iterable[List[_Piece]]) -> None:
        for batch in batches:
            for guest, count, content, packed in batch:
                if packed is not None:
                    self._store.packed(guest, packed)
                elif content is None:
                    self._store.zeros(guest, count)
                else:
                    for _guest, _count, offset in self._store.plain(guest, guest):
                        self._file.pwrite(offset, content)

    def finish(self) -> None:
        """Store all that is still on its way."""
        self.flush()
        self._submit()
        if self._pool is not None:
            try:
                self._take(self._pool.drain())
            finally:
                self._pool.close()


class Qcow2Writer:
    """Fills a new, empty file with an image of ``size_bytes``, rounded up to sectors as QEMU does.

    ``compression`` is none, zlib or zstd, ``level`` that of the library. ``parent`` makes it an overlay. Clusters that
    hardly become smaller are stored as they are. The bytes of the file depend on the content and the version of the
    library, not on ``workers``. Raises BadRequest for what does not go together and Unsupported where zstd is not
    installed.
    """

    def __init__(
        self,
        file: File,
        *,
        size_bytes: int,
        cluster_bytes: int = 65536,
        version: int = 3,
        compression: str = "none",
        level: Optional[int] = None,
        parent: Optional[ParentImage] = None,
        parent_format: str = "qcow2",
        workers: Optional[int] = None,
    ) -> None:
        self.file = file
        self.grain = cluster_bytes
        self._header = _new_header(size_bytes, cluster_bytes, version, compression, parent, parent_format)
        self._store = _Store(file, self._header)
        self._packing: Optional[_Packing] = None
        if compression != "none":
            self._packing = _Packing(
                self._store, file, cluster_bytes, packer(compression, level, path=file.path), workers
            )
        elif level is not None:
            raise BadRequest(
                "compression_level: there is nothing to compress",
                path=file.path,
                found=level,
                hint="Choose a compression, too.",
            )
        self._size_bytes = size_bytes
        self._position = 0
        self._next_cluster = 0

    @property
    def properties(self) -> Mapping[str, object]:
        """What a reader will find; whether anything is compressed shows when all is written."""
        compression = self._header.compression if self._store.has_packed else "none"
        return {"format_version": str(self._header.version), "cluster_size": self.grain, "compression": compression}

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``.

        Raises BadRequest when that goes back, leaves the disk or tears a cluster of an overlay.
        """
        view = memoryview(buffer).cast("B")
        end = offset + len(view)
        self._check(offset, end)
        if not len(view):
            return
        if self._packing is not None:
            self._packing.write(offset, view)
        else:
            first, last = offset // self.grain, (end - 1) // self.grain
            for guest, count, host in self._store.plain(first, last):
                start, stop = max(offset, guest * self.grain), min(end, (guest + count) * self.grain)
                self.file.pwrite(host + start - guest * self.grain, view[start - offset : stop - offset])
        self._position = end
        self._next_cluster = ceil_div(end, self.grain)

    def write_zeros(self, offset: int, length: int) -> None:
        """Let the range read as zeros whatever the parent has there; without a parent nothing is stored.

        Raises BadRequest like ``write``.
        """
        end = offset + length
        self._check(offset, end)
        if length <= 0:
            return
        if self._header.backing_name is not None:
            # A cluster that has data is there already; one that the range ends in is for the next call.
            first = max(offset // self.grain, self._next_cluster)
            behind = ceil_div(end, self.grain) if end >= self._size_bytes else end // self.grain
            if first < behind and self._packing is not None:
                self._packing.zeros(first, behind - first)
            elif first < behind:
                self._store.zeros(first, behind - first)
        self._position = end

    def _check(self, offset: int, end: int) -> None:
        size = self._header.size_bytes
        if not self._position <= offset <= end <= size:
            expected = f"{self._position}..{size}"
            raise BadRequest(
                "The range goes back or leaves the disk",
                path=self.file.path,
                expected=expected,
                found=f"{offset}..{end}",
            )
        if self._header.backing_name is not None and offset > self._position:
            self._check_grain(self._position)
            self._check_grain(offset)

    def _check_grain(self, position: int) -> None:
        if position % self.grain and position < self._size_bytes:
            raise BadRequest(
                "A range of an overlay does not cover whole clusters",
                path=self.file.path,
                expected=f"multiples of {self.grain}",
                found=position,
            )

    def finish(self, identity: str) -> None:
        """Give the file its tables and at last its header. The format has no place for an ``identity``."""
        if self._header.backing_name is not None:
            self._check_grain(self._position)
        if self._packing is not None:
            self._packing.finish()
        offset, length = self._store.finish()
        self.file.pwrite(
            0, pack_header(replace(self._header, refcount_table_offset=offset, refcount_table_bytes=length))
        )


def _new_header(
    size_bytes: int,
    cluster_bytes: int,
    version: int,
    compression: str,
    parent: Optional[ParentImage],
    parent_format: str,
) -> Qcow2Header:
    """The header, all but the place of the reference counts. Raises BadRequest with the name of the option."""
    bits = cluster_bytes.bit_length() - 1
    if version not in (2, 3):
        raise BadRequest(f"format_version: there is no version {version} of qcow2", expected="2 or 3", found=version)
    if not LEAST_CLUSTER_BITS <= bits <= MOST_CLUSTER_BITS or cluster_bytes != 1 << bits:
        raise BadRequest(
            "cluster_size: this is no cluster size of qcow2",
            expected="a power of two from 512 bytes to 2 MiB",
            found=cluster_bytes,
        )
    if compression not in ("none", *COMPRESSIONS):
        raise BadRequest(
            f"compression: qcow2 has no compression {compression!r}", expected="none, zlib or zstd", found=compression
        )
    if compression == "zstd" and version < 3:
        raise BadRequest("compression: zstd needs format_version 3", expected="zlib", found=compression)
    if size_bytes < 0:
        raise BadRequest("size: a disk cannot be smaller than nothing", expected="0 or more", found=size_bytes)
    header = Qcow2Header(
        version=version,
        cluster_bits=bits,
        size_bytes=round_up(size_bytes, SECTOR),
        l1_offset=cluster_bytes,
        l1_entries=max(1, ceil_div(size_bytes, cluster_bytes * cluster_bytes // ENTRY_BYTES)),
        refcount_table_offset=0,
        refcount_table_bytes=0,
        incompatible=COMPRESSION_TYPE if compression == "zstd" else 0,
        compression="zlib" if compression == "none" else compression,
        backing_name=None if parent is None else _backing_name(parent.name),
        backing_format=None if parent is None else parent_format,
    )
    if header.l1_entries * ENTRY_BYTES > MOST_L1_BYTES:
        most = MOST_L1_BYTES // ENTRY_BYTES * header.table_span
        raise BadRequest(
            "cluster_size: the disk is too large for clusters of this size",
            expected=f"a disk of at most {most} bytes",
            found=size_bytes,
        )
    pack_header(header)
    return header


def _backing_name(name: str) -> str:
    """``name`` as it must be written: QEMU takes what stands before a colon for a protocol unless a slash comes
    first.
    """
    return f"./{name}" if ":" in name.partition("/")[0] else name

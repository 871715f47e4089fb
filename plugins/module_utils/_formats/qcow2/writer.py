# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a new qcow2 image in one pass.

::

    write(...)   | (hole)      | L2 | data .......... | L2 | data ...      an L2 table lies before the data of its range
    finish()     | header | L1 | L2 | data .......... | L2 | data ... | reference counts    header last

An L2 table is written when the guest leaves its range. Compressed clusters are packed one after the other; several
share a cluster of the file, and one may reach into the next.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, List, Mapping, NamedTuple, Optional

from ..._core.errors import BadRequest
from ..._core.records import replace
from ..._core.units import KIB, MIB, SECTOR, ceil_div, round_up
from ..._io.port import Buffer, File
from ..bounds import check_next
from ..image import ParentImage
from .codec import Pack, packer
from .layout import (
    COMPRESSION_TYPE,
    COMPRESSIONS,
    ENTRY_BYTES,
    LEAST_CLUSTER_BITS,
    MOST_CLUSTER_BITS,
    MOST_L1_BYTES,
    Qcow2Header,
    pack_header,
)
from .store import Store

if TYPE_CHECKING:
    from ..._io.pipeline import OrderedPool

# Threads get at least so much at once, and what they hold stays within the other.
_TASK_BYTES = 64 * KIB
_BYTES_PER_WORKER = 8 * MIB


class _Piece(NamedTuple):
    """Guest clusters on their way: one with ``content`` or ``packed`` bytes, else ``clusters`` of zeros."""

    guest: int
    clusters: int
    content: Optional[bytes] = None
    packed: Optional[bytes] = None


class _Packing:
    """Gathers whole clusters and has them packed in threads, in order."""

    def __init__(self, store: Store, file: File, cluster_bytes: int, pack: Pack, workers: Optional[int]) -> None:
        self._store = store
        self._file = file
        self._cluster_bytes = cluster_bytes
        self._pack = pack
        from ..._io.pipeline import worker_count

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
                from ..._io.pipeline import OrderedPool

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
        self._store = Store(file, self._header)
        self._packing: Optional[_Packing] = None
        if compression != "none":
            self._packing = _Packing(
                self._store, file, cluster_bytes, packer(compression, level, path=file.path), workers
            )
        elif level is not None:
            raise BadRequest(
                "compression_level: there is nothing to compress",
                file.path,
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
            last = ceil_div(end, self.grain) if end >= self._size_bytes else end // self.grain
            if first < last and self._packing is not None:
                self._packing.zeros(first, last - first)
            elif first < last:
                self._store.zeros(first, last - first)
        self._position = end

    def _check(self, offset: int, end: int) -> None:
        check_next(self.file.path, self._position, self._header.size_bytes, offset, end - offset)
        if self._header.backing_name is not None and offset > self._position:
            self._check_grain(self._position)
            self._check_grain(offset)

    def _check_grain(self, position: int) -> None:
        if position % self.grain and position < self._size_bytes:
            raise BadRequest(
                "A range of an overlay does not cover whole clusters",
                self.file.path,
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
    _check_options(size_bytes, cluster_bytes, version, compression)
    header = Qcow2Header(
        version=version,
        cluster_bits=cluster_bytes.bit_length() - 1,
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


def _check_options(size_bytes: int, cluster_bytes: int, version: int, compression: str) -> None:
    bits = cluster_bytes.bit_length() - 1
    if version not in (2, 3):
        raise BadRequest(f"format_version: there is no version {version} of qcow2", expected="2 or 3", found=version)
    if not LEAST_CLUSTER_BITS <= bits <= MOST_CLUSTER_BITS or cluster_bytes != 1 << bits:
        message, expected = "cluster_size: this is no cluster size of qcow2", "a power of two from 512 bytes to 2 MiB"
        raise BadRequest(message, expected=expected, found=cluster_bytes)
    if compression not in ("none", *COMPRESSIONS):
        raise BadRequest(
            f"compression: qcow2 has no compression {compression!r}", expected="none, zlib or zstd", found=compression
        )
    if compression == "zstd" and version < 3:
        raise BadRequest("compression: zstd needs format_version 3", expected="zlib", found=compression)
    if size_bytes < 0:
        raise BadRequest("size: a disk cannot be smaller than nothing", expected="0 or more", found=size_bytes)


def _backing_name(name: str) -> str:
    """``name`` as QEMU wants it: without a slash first, what stands before a colon is a protocol."""
    return f"./{name}" if ":" in name.partition("/")[0] else name

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading one qcow2 image, version 2 or 3. What lies in its backing file is not its business.

The header and the L1 table are read and judged when the image is opened, an L2 table when something is asked of its
range. Reference counts are not needed for reading, so that an image which was not closed cleanly reads as well as any
other; only the places of their blocks are looked at, because no data may lie there.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from bisect import bisect_left
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Iterator, Mapping, Optional, Tuple, Union

from ..._core.extents import ABSENT, DATA, ZERO, Extent, coalesce
from ..._core.units import MIB, ceil_div
from ..._io.buffers import clear
from ..._io.port import File, Port
from ..bounds import check_range
from ..cache import Cache
from ..image import SUSPENDED, OpenBeside, ParentLink
from ..mapping import read_stored, run_extents
from ..place import Place
from .entries import (
    BROKEN,
    COMPRESSED,
    OFFSET_MASK,
    STORED,
    UNALLOCATED,
    Run,
    compressed_place,
    extended_runs,
    has_compressed,
    has_reserved_bits,
    table_runs,
)
from .layout import (
    DIRTY,
    ENTRY_BYTES,
    HEADER_BYTES,
    DamagedTables,
    Qcow2Header,
    cluster_bits_of,
    parse_header,
    snapshots_offset,
)
from .tables import Tables, read_tables

if TYPE_CHECKING:
    from .codec import Unpack

_CACHED_TABLE_BYTES = 4 * MIB
_LEAST_CACHED_TABLES = 4
_CACHED_CLUSTERS = 8


class _Cell:
    """One unpacked cluster, and who unpacks it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.content: Optional[bytes] = None


class Qcow2Image:
    """An open qcow2 image of ``size`` guest bytes. Threads may share it."""

    identity: Optional[str] = None

    def __init__(self, file: File, header: Qcow2Header, tables: Tables, *, file_size: int, real_path: str) -> None:
        self.path = file.path
        self.file = file
        self._external: Optional[File] = None
        self.header = header
        self.size = header.size_bytes
        self.files: Tuple[str, ...] = (real_path,)
        self.parent = None if header.backing_name is None else ParentLink((header.backing_name,), header.backing_format)
        self.snapshots = header.snapshots
        self.warnings = tuple(_warnings(header))
        self._tables = tables
        self._file_size = self._data_size = file_size
        self._compression: Optional[str] = None
        self._unpacker: Optional[Unpack] = None
        self._cache: Cache[bytes] = Cache(max(_LEAST_CACHED_TABLES, _CACHED_TABLE_BYTES // header.cluster_bytes))
        self._cells: Cache[_Cell] = Cache(_CACHED_CLUSTERS)

    def keep_data_in(self, file: File) -> None:
        """Let ``file`` be the external data file; it is closed with the image."""
        self._external = file
        self._data_size = file.size()
        self.files += (file.path,)

    @property
    def data(self) -> File:
        """The file that the clusters are in."""
        return self.file if self._external is None else self._external

    @property
    def properties(self) -> Mapping[str, object]:
        """What the image is like apart from its content.

        ``compression`` says what its clusters use, so all tables are looked through, once. Raises Damaged.
        """
        if self._compression is None:
            tables = (self._read_table(host) for host in self._tables.hosts)
            any_compressed = any(has_compressed(table, self.header.l2_entry_bytes) for table in tables)
            self._compression = self.header.compression if any_compressed else "none"
        return {
            "format_version": str(self.header.version),
            "cluster_size": self.header.cluster_bytes,
            "compression": self._compression,
        }

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of; ZERO also for zeroed clusters and for holes of the host file.

        What is not stored is ABSENT with a parent, else ZERO. Raises BadRequest beyond ``size``, and Damaged on the
        way.
        """
        check_range(self.path, self.size, start, length)
        return coalesce(self._extents(start, start + length))

    def _extents(self, start: int, end: int) -> Iterator[Extent]:
        unallocated = ZERO if self.parent is None else ABSENT
        for run in _joined(self.runs(start, end)):
            if run.kind == STORED:
                stored = (run.start, run.length, run.host)
                yield from run_extents(self.data, (stored,), run.start, run.start + run.length, ZERO)
            else:
                kind = DATA if run.kind == COMPRESSED else unallocated if run.kind == UNALLOCATED else ZERO
                yield Extent(run.start, run.length, kind)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``; what is not stored reads as zeros.

        Raises BadRequest beyond ``size``, Damaged for what contradicts itself, and Unsupported when a cluster is packed
        in a way that this host cannot unpack.
        """
        view = memoryview(buffer)
        check_range(self.path, self.size, offset, len(view))
        for run in _joined(self.runs(offset, offset + len(view))):
            begin = run.start - offset
            part = view[begin : begin + run.length]
            if run.kind == STORED:
                read_stored(self.data, run.host, part)
            elif run.kind == COMPRESSED:
                self._unpack_into(run.start, part)
            else:
                clear(part)

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The stored parts of the range; compressed clusters have no place.

        Raises BadRequest beyond ``size``, and Damaged on the way.
        """
        check_range(self.path, self.size, start, length)
        runs = _joined(self.runs(start, start + length))
        return (Place(run.start, run.length, self.data, run.host) for run in runs if run.kind == STORED)

    def close(self) -> None:
        """Release the files."""
        self.file.close()
        if self._external is not None:
            self._external.close()

    def runs(self, position: int, end: int) -> Iterator[Run]:
        """The runs of the range, clipped to it, by the tables that have to do with it. Raises Damaged."""
        span = self.header.table_span
        slots, hosts = self._tables.slots, self._tables.hosts
        for index in range(bisect_left(slots, position // span), len(slots)):
            base = slots[index] * span
            if base >= end:
                break
            if base > position:
                yield Run(position, base - position, UNALLOCATED)
                position = base
            stop = min(end, base + span)
            if position < stop:
                yield from self._table_runs(hosts[index], base, position, stop)
            position = stop
        if position < end:
            yield Run(position, end - position, UNALLOCATED)

    def _table_runs(self, host: int, base: int, position: int, end: int) -> Iterator[Run]:
        cluster_bytes = self.header.cluster_bytes
        table = self._table(host)
        if not table:
            yield Run(position, end - position, UNALLOCATED)
            return
        first, last = (position - base) // cluster_bytes, ceil_div(end - base, cluster_bytes)
        for run in self._found(table, base, first, last):
            run = run._replace(start=base + run.start)
            self._check_run(
                run,
                (host << self.header.cluster_bits) + (run.start - base) // cluster_bytes * self.header.l2_entry_bytes,
            )
            begin, stop = max(run.start, position), min(run.start + run.length, end)
            if begin < stop:
                yield Run(begin, stop - begin, run.kind, run.host + begin - run.start if run.kind == STORED else 0)

    def _found(self, table: bytes, base: int, first: int, end: int) -> Iterator[Run]:
        if self.header.is_external:
            from .external import external_runs

            return external_runs(self.header, table, base, first, end)
        find = extended_runs if self.header.is_extended else table_runs
        return find(table, first, end, self.header.cluster_bytes)

    def _check_run(self, run: Run, entry_offset: int) -> None:
        header = self.header
        if run.kind == COMPRESSED:
            if header.is_extended and run.entry:
                raise DamagedTables(
                    "A compressed cluster has subclusters", self.path, entry_offset, expected=0, found=hex(run.entry)
                )
            return
        if run.kind == BROKEN:
            message = "The subclusters of a cluster contradict each other"
            if header.is_external:
                message = "A cluster is not where the data file has it, or its subclusters contradict each other"
            raise DamagedTables(message, self.path, entry_offset)
        if not run.entry:
            return
        if has_reserved_bits(run.entry, zero_bit_allowed=header.version > 2 and not header.is_extended):
            raise DamagedTables("A table entry has unknown bits", self.path, entry_offset, found=hex(run.entry))
        if run.entry & OFFSET_MASK & header.cluster_bytes - 1:
            raise DamagedTables(
                "A cluster does not lie on the grid of clusters", self.path, entry_offset, found=run.entry & OFFSET_MASK
            )
        if run.kind == STORED:
            self._check_stored(run, entry_offset)

    def _check_stored(self, run: Run, entry_offset: int) -> None:
        # Of the last guest cluster only the part that the guest sees must be in the file.
        length = min(run.length, self.header.size_bytes - run.start)
        if run.host + length > self._data_size:
            message, expected = f"A cluster lies beyond the end of {self._end_of()}", f"below {self._data_size}"
            raise DamagedTables(message, self.path, entry_offset, expected=expected, found=run.host)
        if self._external is None:
            self._check_place(run.host, length, entry_offset)

    def _end_of(self) -> str:
        return "the file" if self._external is None else f"the data file {self._external.path}"

    def _check_place(self, host: int, length: int, entry_offset: int) -> None:
        """Raise Damaged when bytes of the file are not only data."""
        bits = self.header.cluster_bits
        first, end = host >> bits, ceil_div(host + length, self.header.cluster_bytes)
        pinned = self._tables.pinned
        index = bisect_left(pinned, first)
        if (index < len(pinned) and pinned[index] < end) or any(
            first < stop and begin < end for begin, stop in self._tables.areas
        ):
            raise DamagedTables(
                "A cluster of the disk lies in the tables of the image", self.path, entry_offset, found=host
            )

    def _table(self, host: int) -> bytes:
        return self._cache.of(host, partial(self._read_table, host))

    def _read_table(self, host: int) -> bytes:
        """An L2 table; nothing stands for one that is a hole of the file."""
        offset, length = host << self.header.cluster_bits, self.header.cluster_bytes
        if next(iter(self.file.data_ranges(offset, offset + length)), None) is None:
            return b""
        table = bytearray(length)
        got = self.file.pread_into(offset, table)
        if got < length:
            raise DamagedTables("The file ends within an L2 table", self.path, offset + got, expected=length, found=got)
        return bytes(table)

    def _unpack_into(self, start: int, view: memoryview) -> None:
        """Fill ``view`` from compressed clusters."""
        cluster_bytes = self.header.cluster_bytes
        position = 0
        while position < len(view):
            cluster, within = divmod(start + position, cluster_bytes)
            count = min(cluster_bytes - within, len(view) - position)
            content = self._unpack(cluster) if count == cluster_bytes else self._unpacked(cluster)
            view[position : position + count] = content[within : within + count]
            position += count

    def _unpacked(self, cluster: int) -> bytes:
        """A whole compressed cluster; the last ones are kept, so that reading one in parts unpacks it once."""
        cell = self._cells.of(cluster, _Cell)
        with cell.lock:
            if cell.content is None:
                cell.content = self._unpack(cluster)
            return cell.content

    def _unpack(self, cluster: int) -> bytes:
        header = self.header
        offset, length = self.packed_place(cluster)
        packed = bytearray(length)
        got = self.file.pread_into(offset, packed)
        content = self._codec()(bytes(packed[:got]), header.cluster_bytes)
        if content is None:
            message, found = "A compressed cluster cannot be unpacked", f"guest cluster {cluster}"
            expected = f"{header.cluster_bytes} bytes packed with {header.compression}"
            raise DamagedTables(message, self.path, offset, expected=expected, found=found)
        return content

    def packed_place(self, cluster: int) -> Tuple[int, int]:
        """File offset of a compressed cluster, and at most how many bytes it has there."""
        header = self.header
        slot, index = divmod(cluster, header.table_span // header.cluster_bytes)
        host = self._tables.hosts[bisect_left(self._tables.slots, slot)]
        at = index * header.l2_entry_bytes
        entry = int.from_bytes(self._table(host)[at : at + ENTRY_BYTES], "big")
        entry_offset = (host << header.cluster_bits) + at
        offset, length = compressed_place(entry, header.cluster_bits)
        # The last sector may be cut off where the packed bytes end.
        length = min(length, self._file_size - offset)
        if length <= 0:
            message = "A compressed cluster lies beyond the end of the file"
            raise DamagedTables(message, self.path, entry_offset, expected=self._file_size, found=offset)
        self._check_place(offset, length, entry_offset)
        return offset, length

    def _codec(self) -> Unpack:
        if self._unpacker is None:
            from .codec import unpacker

            self._unpacker = unpacker(self.header.compression, path=self.path)
        return self._unpacker


def open_qcow2(
    port: Port, path: str, snapshot: Optional[str] = None, *, open_beside: Optional[OpenBeside] = None
) -> Qcow2Image:
    """Open an image, in its current state or at an internal ``snapshot``, and judge its header and L1 table.

    ``open_beside`` opens an external data file. Raises Damaged, Unsupported, Encrypted, NoSuchSnapshot, and what
    ``open_beside`` raises; the file is closed then.
    """
    file = port.open_read(path)
    try:
        file_size = file.size()
        start = bytearray(HEADER_BYTES[3])
        start = start[: file.pread_into(0, start)]
        raw = bytearray(min(file_size, 1 << cluster_bits_of(bytes(start), path=path)))
        raw = raw[: file.pread_into(0, raw)]
        header = parse_header(bytes(raw), path=path, file_size=file_size)
        if snapshot is not None:
            from .snapshots import at_snapshot

            header = at_snapshot(file, header, snapshots_offset(bytes(raw)), snapshot)
        tables = read_tables(file, header, file_size)
        image = Qcow2Image(file, header, tables, file_size=file_size, real_path=port.real_path(path))
        if header.is_external:
            from .external import open_data

            image.keep_data_in(open_data(path, image.files[0], header, open_beside))
        return image
    except BaseException:
        file.close()
        raise


def _warnings(header: Qcow2Header) -> Iterator[str]:
    if header.incompatible & DIRTY:
        yield "The image was not closed cleanly; what its last user had not written out is missing."
    if header.snapshots:
        yield f"The image has internal snapshots ({header.snapshots}); only its current state is read."
    if header.has_saved_state:
        yield SUSPENDED
    if header.has_bitmaps:
        yield "The image has persistent dirty bitmaps; they are left out."


def _joined(runs: Iterator[Run]) -> Iterator[Run]:
    """Neighbours of one kind as one run; stored ones only where they are neighbours in the file, too."""
    pending = None
    for run in runs:
        if (
            pending is not None
            and pending.kind == run.kind
            and (run.kind != STORED or pending.host + pending.length == run.host)
        ):
            pending = pending._replace(length=pending.length + run.length)
            continue
        if pending is not None:
            yield pending
        pending = run
    if pending is not None:
        yield pending

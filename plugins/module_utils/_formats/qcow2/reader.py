# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading one qcow2 image, version 2 or 3. What lies in its backing file is not its business.

The header and the L1 table are read and judged when the image is opened, an L2 table when something is asked of its
range. Reference counts are not needed for reading, so that an image which was not closed cleanly reads as well as any
other; only the places of their blocks are looked at, because no data may lie there.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import OrderedDict
from itertools import compress, islice
from operator import eq
from threading import Lock
from typing import TYPE_CHECKING, Iterator, Mapping, NamedTuple, NoReturn, Optional, Tuple, Union

from ..._core.errors import BadRequest, Damaged
from ..._core.extents import ABSENT, DATA, ZERO, Extent, coalesce
from ..._core.units import MIB, ceil_div
from ..._io.buffers import clear
from ..._io.port import File, Port
from ..image import ParentLink
from .layout import (
    BROKEN,
    COMPRESSED,
    DIRTY,
    ENTRY_BYTES,
    HEADER_BYTES,
    L1_RESERVED,
    OFFSET_MASK,
    STORED,
    UNALLOCATED,
    Qcow2Header,
    Run,
    cluster_bits_of,
    compressed_place,
    extended_runs,
    has_compressed,
    has_reserved_bits,
    parse_header,
    refuse,
    sorted_entries,
    table_runs,
    unpack_entries,
)

if TYPE_CHECKING:
    from .codec import Unpack

_READ_BYTES = 256 << 10
_PIECE_BYTES = 4 << 10
_ZERO_PIECE = bytes(_PIECE_BYTES)
_CACHED_TABLE_BYTES = 4 * MIB
_LEAST_CACHED_TABLES = 4
_CACHED_CLUSTERS = 8


class Tables(NamedTuple):
    """Where the metadata lie, in clusters of the file.

    L1 entry ``slots[i]`` leads to the L2 table at ``hosts[i]``; entries that lead nowhere are left out. ``pinned`` are
    all L2 tables and blocks of reference counts in order, ``areas`` the other places that no data may lie in.
    """

    slots: array[int]
    hosts: array[int]
    pinned: array[int]
    areas: Tuple[Tuple[int, int], ...]


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
        self.header = header
        self.size = header.size_bytes
        self.files: Tuple[str, ...] = (real_path,)
        self.parent = None if header.backing_name is None else ParentLink((header.backing_name,), header.backing_format)
        self.snapshots = header.snapshots
        self.warnings = tuple(_warnings(header))
        self._tables = tables
        self._file_size = file_size
        self._compression: Optional[str] = None
        self._unpacker: Optional[Unpack] = None
        self._lock = Lock()
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached_tables = max(_LEAST_CACHED_TABLES, _CACHED_TABLE_BYTES // header.cluster_bytes)
        self._cells: OrderedDict[int, _Cell] = OrderedDict()

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
        """What the range is made of: ZERO for what is not stored, for clusters that say so and for holes of the host
        file.

        What is not stored is ABSENT in an image with a parent. Raises BadRequest behind ``size``, and Damaged on the
        way.
        """
        self._check_range(start, length)
        return coalesce(self._extents(start, start + length))

    def _extents(self, start: int, end: int) -> Iterator[Extent]:
        unallocated = ZERO if self.parent is None else ABSENT
        for run in _joined(self._runs(start, end)):
            if run.kind == STORED:
                yield from self._stored_extents(run)
            else:
                kind = DATA if run.kind == COMPRESSED else unallocated if run.kind == UNALLOCATED else ZERO
                yield Extent(run.start, run.length, kind)

    def _stored_extents(self, run: Run) -> Iterator[Extent]:
        position, shift = run.start, run.start - run.host
        for begin, stop in self.file.data_ranges(run.host, run.host + run.length):
            yield Extent(position, begin + shift - position, ZERO)
            yield Extent(begin + shift, stop - begin, DATA)
            position = stop + shift
        yield Extent(position, run.start + run.length - position, ZERO)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``; what is not stored reads as zeros.

        Raises BadRequest behind ``size``, Damaged for what contradicts itself, and Unsupported when a cluster is packed
        in a way that this host cannot unpack.
        """
        view = memoryview(buffer)
        self._check_range(offset, len(view))
        for run in _joined(self._runs(offset, offset + len(view))):
            begin = run.start - offset
            part = view[begin : begin + run.length]
            if run.kind == STORED:
                got = self.file.pread_into(run.host, part)
                if got < run.length:
                    raise Damaged(
                        "The file ends within a cluster",
                        path=self.path,
                        offset=run.host + got,
                        expected=run.length,
                        found=got,
                    )
            elif run.kind == COMPRESSED:
                self._unpack_into(run.start, part)
            else:
                clear(part)

    def close(self) -> None:
        """Release the file."""
        self.file.close()

    def _check_range(self, start: int, length: int) -> None:
        if start < 0 or length < 0 or start + length > self.size:
            raise BadRequest(
                "The range leaves the disk",
                path=self.path,
                expected=f"0..{self.size}",
                found=f"{start}..{start + length}",
            )

    def _runs(self, position: int, end: int) -> Iterator[Run]:
        """The runs of the range, clipped to it, by the tables that have to do with it."""
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
        first, behind = (position - base) // cluster_bytes, ceil_div(end - base, cluster_bytes)
        find = extended_runs if self.header.is_extended else table_runs
        for run in find(table, first, behind, cluster_bytes):
            run = run._replace(start=base + run.start)
            self._check_run(
                run,
                (host << self.header.cluster_bits) + (run.start - base) // cluster_bytes * self.header.l2_entry_bytes,
            )
            begin, stop = max(run.start, position), min(run.start + run.length, end)
            if begin < stop:
                yield Run(begin, stop - begin, run.kind, run.host + begin - run.start if run.kind == STORED else 0)

    def _check_run(self, run: Run, entry_offset: int) -> None:
        header = self.header
        if run.kind == COMPRESSED:
            if header.is_extended and run.entry:
                refuse(
                    "A compressed cluster has subclusters",
                    self.path,
                    offset=entry_offset,
                    expected=0,
                    found=hex(run.entry),
                )
            return
        if run.kind == BROKEN:
            refuse("The subclusters of a cluster contradict each other", self.path, offset=entry_offset)
        if not run.entry:
            return
        if has_reserved_bits(run.entry, zero_bit_allowed=header.version > 2 and not header.is_extended):
            refuse("A table entry has unknown bits", self.path, offset=entry_offset, found=hex(run.entry))
        if run.entry & OFFSET_MASK & header.cluster_bytes - 1:
            refuse(
                "A cluster does not lie on the grid of clusters",
                self.path,
                offset=entry_offset,
                found=run.entry & OFFSET_MASK,
            )
        if run.kind == STORED:
            # Of the last guest cluster only the part that the guest sees must be in the file.
            length = min(run.length, header.size_bytes - run.start)
            if run.host + length > self._file_size:
                refuse(
                    "A cluster lies beyond the end of the file",
                    self.path,
                    offset=entry_offset,
                    expected=f"below {self._file_size}",
                    found=run.host,
                )
            self._check_place(run.host, length, entry_offset)

    def _check_place(self, host: int, length: int, entry_offset: int) -> None:
        """Raise Damaged when bytes of the file are not only data."""
        bits = self.header.cluster_bits
        first, end = host >> bits, ceil_div(host + length, self.header.cluster_bytes)
        pinned = self._tables.pinned
        index = bisect_left(pinned, first)
        if (index < len(pinned) and pinned[index] < end) or any(
            first < behind and begin < end for begin, behind in self._tables.areas
        ):
            refuse("A cluster of the disk lies in the tables of the image", self.path, offset=entry_offset, found=host)

    def _table(self, host: int) -> bytes:
        with self._lock:
            table = self._cache.get(host)
            if table is not None:
                self._cache.move_to_end(host)
                return table
        table = self._read_table(host)
        with self._lock:
            self._cache[host] = table
            if len(self._cache) > self._cached_tables:
                self._cache.popitem(last=False)
        return table

    def _read_table(self, host: int) -> bytes:
        """An L2 table; nothing stands for one that is a hole of the file."""
        offset, length = host << self.header.cluster_bits, self.header.cluster_bytes
        if next(iter(self.file.data_ranges(offset, offset + length)), None) is None:
            return b""
        table = bytearray(length)
        got = self.file.pread_into(offset, table)
        if got < length:
            refuse("The file ends within an L2 table", self.path, offset=offset + got, expected=length, found=got)
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
        with self._lock:
            cell = self._cells.get(cluster)
            if cell is None:
                cell = self._cells[cluster] = _Cell()
                if len(self._cells) > _CACHED_CLUSTERS:
                    self._cells.popitem(last=False)
            else:
                self._cells.move_to_end(cluster)
        with cell.lock:
            if cell.content is None:
                cell.content = self._unpack(cluster)
            return cell.content

    def _unpack(self, cluster: int) -> bytes:
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
            refuse(
                "A compressed cluster lies beyond the end of the file",
                self.path,
                offset=entry_offset,
                expected=self._file_size,
                found=offset,
            )
        self._check_place(offset, length, entry_offset)
        packed = bytearray(length)
        got = self.file.pread_into(offset, packed)
        content = self._codec()(bytes(packed[:got]), header.cluster_bytes)
        if content is None:
            expected = f"{header.cluster_bytes} bytes packed with {header.compression}"
            refuse(
                "A compressed cluster cannot be unpacked",
                self.path,
                offset=offset,
                expected=expected,
                found=f"guest cluster {cluster}",
            )
        return content

    def _codec(self) -> Unpack:
        if self._unpacker is None:
            from .codec import unpacker

            self._unpacker = unpacker(self.header.compression, path=self.path)
        return self._unpacker


def open_qcow2(port: Port, path: str) -> Qcow2Image:
    """Open an image and judge its header and L1 table.

    Raises Damaged, Unsupported or Encrypted; the file is closed then.
    """
    file = port.open_read(path)
    try:
        file_size = file.size()
        start = bytearray(HEADER_BYTES[3])
        start = start[: file.pread_into(0, start)]
        raw = bytearray(min(file_size, 1 << cluster_bits_of(bytes(start), path=path)))
        raw = raw[: file.pread_into(0, raw)]
        header = parse_header(bytes(raw), path=path, file_size=file_size)
        tables = _read_tables(file, header, file_size)
        return Qcow2Image(file, header, tables, file_size=file_size, real_path=port.real_path(path))
    except BaseException:
        file.close()
        raise


def _warnings(header: Qcow2Header) -> Iterator[str]:
    if header.incompatible & DIRTY:
        yield "The image was not closed cleanly; what its last user had not written out is missing."
    if header.snapshots:
        yield f"The image has internal snapshots ({header.snapshots}); only its current state is read."
    if header.has_bitmaps:
        yield "The image has persistent dirty bitmaps; they are left out."


def _read_tables(file: File, header: Qcow2Header, file_size: int) -> Tables:
    """The L1 table, judged, and the places of all other metadata. Raises Damaged."""
    bits = header.cluster_bits
    # A number of clusters mostly fits into 32 bits, which halves the memory.
    typecode = "I" if file_size >> bits < 1 << 32 else "Q"
    slots, hosts = array("I"), array(typecode)
    most = file_size >> bits
    bad = L1_RESERVED | header.cluster_bytes - 1
    for first, entries in _read_pieces(file, header.l1_offset, header.used_l1_entries):
        offsets = [entry & OFFSET_MASK for entry in entries]
        if max(offsets) >> bits >= most or any(entry & bad for entry in entries):
            _refuse_l1_entry(header, first, entries, file)
        slots.extend(compress(range(first, first + len(offsets)), offsets))
        hosts.extend([offset >> bits for offset in offsets if offset])
    areas = _areas(header)
    tables = sorted_entries(hosts)
    blocks = array(typecode, _refcount_blocks(file, header, most))
    if any(map(eq, tables, memoryview(tables)[1:])):
        _refuse_shared(header, slots, hosts, tables, file.path)
    for begin, behind in [*areas, *((block, block + 1) for block in blocks)]:
        index = bisect_left(tables, begin)
        if index < len(tables) and tables[index] < behind:
            place = header.l1_offset + slots[hosts.index(tables[index])] * ENTRY_BYTES
            refuse(
                "An L2 table lies in other tables of the image", file.path, offset=place, found=tables[index] << bits
            )
    return Tables(slots, hosts, sorted_entries(tables + blocks) if blocks else tables, areas)


def _areas(header: Qcow2Header) -> Tuple[Tuple[int, int], ...]:
    places = [
        (0, 1),
        (header.l1_offset, header.l1_entries * ENTRY_BYTES),
        (header.refcount_table_offset, header.refcount_table_bytes),
    ]
    size = header.cluster_bytes
    return tuple((offset // size, ceil_div(offset + length, size)) for offset, length in places)


def _refcount_blocks(file: File, header: Qcow2Header, most: int) -> Iterator[int]:
    """The clusters of the blocks of reference counts, none in an image that says they may be stale.

    Senseless entries do not matter.
    """
    if header.incompatible & DIRTY:
        return iter(())
    pieces = _read_pieces(file, header.refcount_table_offset, header.refcount_table_bytes // ENTRY_BYTES)
    entries = (entry for _first, piece in pieces for entry in piece if entry and not entry & header.cluster_bytes - 1)
    return (entry >> header.cluster_bits for entry in entries if entry >> header.cluster_bits < most)


def _refuse_l1_entry(header: Qcow2Header, first: int, entries: array[int], file: File) -> NoReturn:
    """Say what is wrong with the first of these entries that is wrong."""
    size = header.cluster_bytes
    end = file.size() // size * size
    index, entry = next((i, e) for i, e in enumerate(entries) if e & (L1_RESERVED | size - 1) or e & OFFSET_MASK >= end)
    place, offset = header.l1_offset + (first + index) * ENTRY_BYTES, entry & OFFSET_MASK
    if entry & L1_RESERVED:
        refuse("An L1 entry has unknown bits", file.path, offset=place, found=hex(entry))
    if entry & size - 1:
        refuse("An L2 table does not lie on the grid of clusters", file.path, offset=place, found=offset)
    refuse(
        "An L2 table lies beyond the end of the file", file.path, offset=place, expected=f"below {end}", found=offset
    )


def _refuse_shared(
    header: Qcow2Header, slots: array[int], hosts: array[int], tables: array[int], path: str
) -> NoReturn:
    shared = next(one for one, other in zip(tables, memoryview(tables)[1:]) if one == other)
    one, other = islice((slot for slot, host in zip(slots, hosts) if host == shared), 2)
    found = shared << header.cluster_bits
    refuse(
        f"L1 entries {one} and {other} lead to one L2 table",
        path,
        offset=header.l1_offset + other * ENTRY_BYTES,
        found=found,
    )


def _read_pieces(file: File, offset: int, count: int) -> Iterator[Tuple[int, array[int]]]:
    """A table in pieces, each with the index of its first entry; those without any entry are left out.

    What lies behind the end of the table or of the file counts as zero.
    """
    buffer = bytearray(min(_READ_BYTES, ceil_div(count * ENTRY_BYTES, _PIECE_BYTES) * _PIECE_BYTES))
    position = offset
    for start, end in file.data_ranges(offset, offset + count * ENTRY_BYTES):
        # Holes need not end at an entry, so two ranges may share one.
        position = max(position, offset + (start - offset) // ENTRY_BYTES * ENTRY_BYTES)
        end = offset + ceil_div(end - offset, ENTRY_BYTES) * ENTRY_BYTES
        while position < end:
            length = min(len(buffer), end - position)
            got = file.pread_into(position, memoryview(buffer)[:length])
            buffer[got:] = bytes(len(buffer) - got)
            for begin in range(0, length, _PIECE_BYTES):
                if not buffer.startswith(_ZERO_PIECE, begin):
                    yield (
                        (position + begin - offset) // ENTRY_BYTES,
                        unpack_entries(bytes(buffer[begin : begin + _PIECE_BYTES])),
                    )
            position += length


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

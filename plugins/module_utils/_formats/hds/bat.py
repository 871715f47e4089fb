# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table (BAT) of an expanding image as runs: guest clusters and their places (format reference, 1.3 and 1.4).

One entry of 32 bits per guest cluster; 0 means that the cluster is not allocated::

    guest cluster    0   1   2   3   4   5
    entry (v2)       0   7   8   9   0   3     ->  Run(1, 3, 7 clusters), Run(5, 1, 3 clusters)

A table may have millions of entries, so nothing here looks at them one by one: pieces of zeros are skipped by comparing
memory, runs are found by arithmetic on a whole piece as one large integer. Cost follows what is allocated.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from itertools import chain, compress, repeat
from operator import add, eq, floordiv, gt, mod, ne, sub
from typing import Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..._core.errors import BadRequest, Damaged, Unsupported
from ..._core.records import dataclass
from ..._core.units import ceil_div
from ..._core.words import pack_words, unpack_words
from ..._io.port import File
from .header import ENTRY_BYTES, HEADER_BYTES, HdsHeader

_READ_BYTES = 256 << 10
_PIECE_BYTES = 4 << 10
_PIECE_ENTRIES = _PIECE_BYTES // ENTRY_BYTES
# A table is looked at in blocks first. Of the entries of a block some are a sample: when most of these are zero, few
# entries are expected.
_BLOCK_BYTES = 4 * _PIECE_BYTES
_SAMPLE_STEP = 61
_ZEROS = bytes(_READ_BYTES)
_ZERO_PIECE = bytes(_PIECE_BYTES)
_ZERO_ENTRY = bytes(ENTRY_BYTES)
_WRITE_ENTRIES = _READ_BYTES // ENTRY_BYTES
_ONES = int.from_bytes(b"\1\0\0\0" * (_PIECE_ENTRIES - 1), "little")
_HIGH_BITS = _ONES << 31
_INDEXES = tuple(range(_BLOCK_BYTES // ENTRY_BYTES))
_FOLLOWING = _INDEXES[1:]
_FOLLOWERS = _INDEXES[1:_PIECE_ENTRIES]
_EACH_ONE = array("I", [1]) * _PIECE_ENTRIES
_MANY_STARTS = 16
_FEW = 8
_IS_NOT_ONE = bytes([1, 0, *repeat(1, 254)])
_RUNS_AT_ONCE = 4096


class Run(NamedTuple):
    """``count`` guest clusters from ``cluster`` on that follow one another in the file from byte ``offset`` on."""

    cluster: int
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    offset: int


@dataclass(frozen=True, eq=False)
class RunTable:
    """The allocated clusters of one image, ascending by guest cluster, as three parallel arrays of 32-bit numbers.

    ``entries`` holds the table entry of the first cluster of each run. ``data_end`` is the file offset after the last
    allocated cluster, or the start of the data area when there is none.
    """

    entry_bytes: int
    cluster_bytes: int
    first_clusters: array[int]
    counts: array[int]
    entries: array[int]
    clusters_used: int
    data_end: int

    def __len__(self) -> int:
        """The number of runs."""
        return len(self.first_clusters)

    def runs(self, first_cluster: int = 0, end_cluster: Optional[int] = None) -> Iterator[Run]:
        """The runs of guest clusters ``first_cluster`` up to, not including, ``end_cluster``, clipped to them."""
        starts, counts, entries = self.first_clusters, self.counts, self.entries
        first = max(0, bisect_right(starts, first_cluster) - 1)
        for index in range(first, len(starts)):
            start = starts[index]
            end = start + counts[index]
            if end_cluster is not None:
                if start >= end_cluster:
                    return
                end = min(end, end_cluster)
            offset = entries[index] * self.entry_bytes
            if start < first_cluster:
                offset += (first_cluster - start) * self.cluster_bytes
                start = first_cluster
            if start < end:
                yield Run(start, end - start, offset)

    def has_any(self, first_cluster: int, end_cluster: int) -> bool:
        """Whether any of the guest clusters ``first_cluster`` up to ``end_cluster``, at least one, is allocated."""
        last = bisect_left(self.first_clusters, end_cluster) - 1
        return last >= 0 and self.first_clusters[last] + self.counts[last] > first_cluster

    def count_runs(self, first_cluster: int, end_cluster: int) -> int:
        """About how many runs touch these clusters: at most one too many."""
        return bisect_left(self.first_clusters, end_cluster) - max(
            0, bisect_right(self.first_clusters, first_cluster) - 1
        )

    def allocated_ranges(self, first_cluster: int, end_cluster: int) -> Iterator[Tuple[int, int]]:
        """The allocated guest clusters (first, after the last) in this range, wherever they are in the file.

        Neighbours are joined, but for every few thousandth.
        """
        begin = max(0, bisect_right(self.first_clusters, first_cluster) - 1)
        end = bisect_left(self.first_clusters, end_cluster)
        for index in range(begin, end, _RUNS_AT_ONCE):
            starts = self.first_clusters[index : min(end, index + _RUNS_AT_ONCE)]
            ends = array("Q", map(add, starts, self.counts[index : index + len(starts)]))
            breaks = list(map(ne, ends, starts[1:]))
            for first, last in zip(compress(starts, [True, *breaks]), compress(ends, [*breaks, True])):
                first, last = max(first, first_cluster), min(last, end_cluster)
                if first < last:
                    yield first, last


_MOST_ENTRY = (1 << 32) - 1


class TableBuilder:
    """Collects allocations in ascending guest order and joins those that continue one another."""

    def __init__(self, header: HdsHeader) -> None:
        self._header = header
        self.step = header.entry_step
        self._starts = array("I")
        self._counts = array("I")
        self._entries = array("I")
        self._next_cluster = 0
        self._next_entry = 0

    def add(self, cluster: int, count: int, entry: int) -> None:
        """``count`` clusters from ``cluster`` on, ascending, the first with table entry ``entry``.

        Raises BadRequest for a place that no table entry can name.
        """
        if entry + (count - 1) * self.step > _MOST_ENTRY:
            raise BadRequest(
                "The file would become too long for its table",
                found=entry,
                hint="Compact the disk first, or choose format_version: 2.",
            )
        if cluster == self._next_cluster and entry == self._next_entry and self._counts:
            self._counts[-1] += count
        else:
            self._starts.append(cluster)
            self._counts.append(count)
            self._entries.append(entry)
        self._next_cluster = cluster + count
        self._next_entry = entry + count * self.step

    def extend(self, clusters: Sequence[int], counts: Sequence[int], entries: Sequence[int]) -> None:
        """Add many runs at once, none of which continues another one of them."""
        is_joined = bool(self._counts) and (clusters[0], entries[0]) == (self._next_cluster, self._next_entry)
        self._next_cluster = clusters[-1] + counts[-1]
        self._next_entry = entries[-1] + counts[-1] * self.step
        if is_joined:
            self._counts[-1] += counts[0]
            clusters, counts, entries = clusters[1:], counts[1:], entries[1:]
        self._starts.extend(array("I", clusters))
        self._counts.extend(array("I", counts))
        self._entries.extend(array("I", entries))

    def build(self) -> RunTable:
        """The table of everything added so far."""
        unit, cluster, used = self._header.entry_bytes, self._header.cluster_bytes, sum(self._counts)
        data_end = self._end() * unit if used else self._header.data_start
        return RunTable(unit, cluster, self._starts, self._counts, self._entries, used, data_end)

    def _end(self) -> int:
        """The entry after the last cluster. Most runs of a scattered table are of one cluster."""
        last = max(self._entries) + self.step
        ends = (self._entries[index] + self._counts[index] * self.step for index in long_runs(self._counts))
        return max(chain((last,), ends))


def long_runs(counts: array[int]) -> Iterator[int]:
    """Where the counts, none of which is 0, are more than 1."""
    for first in range(0, len(counts), _RUNS_AT_ONCE):
        some = counts[first : first + _RUNS_AT_ONCE]
        raw = pack_words(some)
        # A scattered table hardly has a run of 256 clusters, so that the lowest byte of each count says it.
        is_short = raw.count(0) == (ENTRY_BYTES - 1) * len(some)
        are_long = raw[::ENTRY_BYTES].translate(_IS_NOT_ONE) if is_short else map(gt, some, repeat(1))
        yield from compress(range(first, first + len(some)), are_long)


def read_table(file: File, header: HdsHeader) -> RunTable:
    """The table of ``file``, entries past the guest size left out. Nothing is judged yet, see ``check_table``.

    Raises Damaged when the file ends within the table.
    """
    builder = TableBuilder(header)
    table_bytes = header.used_entries * ENTRY_BYTES
    buffer = bytearray(min(_READ_BYTES, ceil_div(table_bytes, _PIECE_BYTES) * _PIECE_BYTES))
    position = 0
    for start, end in file.data_ranges(HEADER_BYTES, HEADER_BYTES + table_bytes):
        # Holes need not end at an entry, so two ranges may share one.
        position = max(position, (start - HEADER_BYTES) // ENTRY_BYTES * ENTRY_BYTES)
        range_end = ceil_div(end - HEADER_BYTES, ENTRY_BYTES) * ENTRY_BYTES
        while position < range_end:
            length = min(len(buffer), range_end - position)
            _read_piece(file, HEADER_BYTES + position, buffer, length)
            _scan(buffer, length, position // ENTRY_BYTES, builder)
            position += length
    return builder.build()


def _read_piece(file: File, offset: int, buffer: bytearray, length: int) -> None:
    """Fill ``length`` bytes of ``buffer`` and clear the rest of the piece that they end in."""
    got = file.pread_into(offset, memoryview(buffer)[:length])
    if got < length:
        raise Damaged("The file ends within its table", file.path, offset + got, expected=length, found=got)
    rest = -length % _PIECE_BYTES
    buffer[length : length + rest] = bytes(rest)


def _scan(buffer: bytearray, length: int, first_cluster: int, builder: TableBuilder) -> None:
    """Add the runs among the entries in ``buffer``; the first entry belongs to ``first_cluster``."""
    if buffer.startswith(_ZEROS[:length]):
        return
    whole = memoryview(buffer)
    for base in range(0, length, _BLOCK_BYTES):
        block = bytes(whole[base : min(base + _BLOCK_BYTES, ceil_div(length, _PIECE_BYTES) * _PIECE_BYTES)])
        if block.count(0) == len(block) or _add_few(block, first_cluster + base // ENTRY_BYTES, builder):
            continue
        for start in range(0, len(block), _PIECE_BYTES):
            if not block.startswith(_ZERO_PIECE, start):
                piece = block[start : start + _PIECE_BYTES]
                _scan_piece(piece, first_cluster + (base + start) // ENTRY_BYTES, builder)


def _scan_piece(piece: bytes, first_cluster: int, builder: TableBuilder) -> None:
    entries, step = unpack_words(piece), builder.step
    following = _following(piece, step)
    if following is None:
        starts = [0, *_breaks_one_by_one(entries, step)]
    elif _ZERO_ENTRY not in following or 0 not in array("I", following):
        # Nothing continues anything, so every cluster is a run.
        _add_each(entries, first_cluster, builder)
        return
    else:
        breaks = compress(_FOLLOWERS, array("I", following))
        starts = [0, *(index for index in breaks if entries[index] or entries[index - 1])]
    ends = [*starts[1:], _PIECE_ENTRIES]
    firsts = [entries[start] for start in starts]
    if len(starts) > _MANY_STARTS and step not in entries:
        counts = list(compress(map(sub, ends, starts), firsts))
        builder.extend(
            list(map(add, compress(starts, firsts), repeat(first_cluster))), counts, list(compress(firsts, firsts))
        )
        return
    for start, end, entry in zip(starts, ends, firsts):
        if not entry and entries[end - 1]:
            # Zeros, then step, 2 * step and so on: the last one says how many there are.
            entry, start = step, end - entries[end - 1] // step
        if entry:
            builder.add(first_cluster + start, end - start, entry)


def _add_few(block: bytes, first_cluster: int, builder: TableBuilder) -> bool:
    """Add a block with few entries, at the cost of those alone; False, and nothing is added, when they are many."""
    words = unpack_words(block)
    sample = words[::_SAMPLE_STEP]
    if sample.count(0) * 2 < len(sample):
        return False
    indexes = list(compress(_INDEXES, words))
    if len(indexes) * 2 > len(words):
        return False
    entries = list(map(words.__getitem__, indexes))
    clusters = list(map(add, indexes, repeat(first_cluster)))
    neighbours = list(compress(_INDEXES, map(eq, map(sub, indexes[1:], indexes), repeat(1))))
    continued = [index for index in neighbours if entries[index + 1] - entries[index] == builder.step]
    if len(continued) * _FEW < len(indexes):
        # To take out a few costs less than to choose all others.
        counts = [1] * len(indexes)
        for index in reversed(continued):
            counts[index] += counts.pop(index + 1)
            del clusters[index + 1], entries[index + 1]
        builder.extend(clusters, counts, entries)
        return True
    begins = bytearray(b"\1") * len(indexes)
    for index in continued:
        begins[index + 1] = 0
    counts = list(map(sub, [*compress(_FOLLOWING, begins[1:]), len(indexes)], compress(_INDEXES, begins)))
    builder.extend(list(compress(clusters, begins)), counts, list(compress(entries, begins)))
    return True


def _add_each(entries: array[int], first_cluster: int, builder: TableBuilder) -> None:
    """Add a piece in which nothing continues anything."""
    if 0 not in entries:
        builder.extend(range(first_cluster, first_cluster + len(entries)), _EACH_ONE[: len(entries)], entries)
        return
    clusters = list(map(add, compress(_INDEXES, entries), repeat(first_cluster)))
    builder.extend(clusters, [1] * len(clusters), list(filter(None, entries)))


def _following(piece: bytes, step: int) -> Optional[bytes]:
    """For each entry but the first a word, 0 exactly when it is the one before plus ``step``; two zeros give ``step``.

    Both sides of the comparison are one integer with 32 bits per entry. The highest bit of each entry is kept out of
    the sum, so that nothing is carried into a neighbour. None for a piece with an entry so high that the sum exceeds 32
    bits.
    """
    this = int.from_bytes(piece[:-ENTRY_BYTES], "little")
    following = int.from_bytes(piece[ENTRY_BYTES:], "little")
    high = this & _HIGH_BITS
    continued = (this ^ high) + _ONES * step
    if high & continued:
        return None
    return (continued ^ high ^ following).to_bytes(_PIECE_BYTES - ENTRY_BYTES, "little")


def _breaks_one_by_one(entries: Sequence[int], step: int) -> List[int]:
    """The indexes of entries that neither continue the one before them nor are, like it, zero."""
    pairs = zip(entries, entries[1:])
    return [
        index for index, (this, following) in enumerate(pairs, 1) if following != this + step and (this or following)
    ]


def pack_entries(header: HdsHeader, offsets: Sequence[int]) -> bytes:
    """Table bytes for clusters at these file ``offsets`` (0: not allocated).

    Raises Unsupported when the format version cannot express one of them.
    """
    unit = header.entry_bytes
    try:
        entries = array("I", map(floordiv, offsets, repeat(unit)))
    except OverflowError:
        entries = None
    if entries is None or any(map(mod, offsets, repeat(unit))):
        raise Unsupported(
            f"A cluster offset does not fit into a table of version {header.version}",
            expected=f"a multiple of {unit} below {unit << 32}",
        )
    return pack_words(entries)


def sequential_entries(header: HdsHeader, first: int, count: int) -> bytes:
    """Table bytes of ``count`` guest clusters from ``first`` on in an image that has all its clusters, in order."""
    start = header.data_start // header.entry_bytes + first * header.entry_step
    return pack_words(array("I", range(start, start + count * header.entry_step, header.entry_step)))


def table_pieces(table: RunTable, header: HdsHeader) -> Iterator[Tuple[int, bytes]]:
    """``table`` as the bytes of a file: ascending ``(file offset, bytes)`` of bounded length.

    Pieces without an entry are left out, and so are clusters past the end of the table that ``header`` describes.
    """
    step, unit = header.entry_step, header.entry_bytes
    base, piece = 0, array("I")
    for run in table.runs(0, header.bat_entries):
        cluster, end = run.cluster, run.cluster + run.count
        entry = run.offset // unit
        while cluster < end:
            if cluster >= base + len(piece):
                if piece:
                    yield HEADER_BYTES + ENTRY_BYTES * base, pack_words(piece)
                base = cluster // _WRITE_ENTRIES * _WRITE_ENTRIES
                piece = array("I", bytes(ENTRY_BYTES * min(_WRITE_ENTRIES, header.bat_entries - base)))
            count = min(end, base + len(piece)) - cluster
            piece[cluster - base : cluster - base + count] = array("I", range(entry, entry + count * step, step))
            cluster += count
            entry += count * step
    if piece:
        yield HEADER_BYTES + ENTRY_BYTES * base, pack_words(piece)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The clusters of a table in the order of the file, in memory that the table bounds: no objects, a number for each run
or a byte for each slot. Loops over them stay in C.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from collections import deque
from itertools import compress, repeat
from operator import and_, floordiv, gt, mod, ne, rshift, sub
from typing import Dict, Iterable, Iterator, List, Optional, Sequence

from ..._core.ranges import Range, complement, joined
from ..._core.units import ceil_div
from ..._core.words import pack_words
from .bat import RunTable
from .header import HdsHeader

# Up to so many runs are sorted as objects, which is faster and takes some 10 MiB.
_FEW_RUNS = 256 << 10
_ENTRIES_AT_ONCE = 4096
_DIGIT = 11
_MASK = (1 << _DIGIT) - 1
# Slots are marked, a byte for each, if there are no more than so many for a run.
_MARKS_PER_RUN = 16


def in_file_order(table: RunTable, least: int = 0) -> array[int]:
    """The indexes of the runs by their entry, the first in guest order first among equals; entries below ``least``
    count as that.
    """
    entries = table.entries
    if not entries:
        return array("I")
    if min(entries) < least:
        entries = array("I", map(max, entries, repeat(least)))
    if len(entries) <= _FEW_RUNS:
        return array("I", sorted(range(len(entries)), key=entries.__getitem__))
    order: Sequence[int] = range(len(entries))
    for shift in (0, _DIGIT, 2 * _DIGIT):
        digits = map(and_, map(rshift, map(entries.__getitem__, order), repeat(shift)), repeat(_MASK))
        order = _dealt(order, digits)
    return array("I", order)


def _dealt(indexes: Iterable[int], digits: Iterable[int]) -> array[int]:
    """``indexes`` by their digits, in the order that they had among equals."""
    piles: Dict[int, array[int]] = {}
    for index, digit in zip(indexes, digits):
        if digit in piles:
            piles[digit].append(index)
        else:
            piles[digit] = array("I", (index,))
    order = array("I")
    for digit in sorted(piles):
        order.extend(piles.pop(digit))
    return order


def is_on_grid(table: RunTable, header: HdsHeader) -> bool:
    """Whether each cluster lies a whole number of clusters after the start of the data area, or before it."""
    # That of version 2 starts at a cluster, as its entries do.
    step = header.entry_step
    residue = header.data_start // header.entry_bytes % step
    if header.version == 2:
        return True
    if step & (step - 1):
        return not any(map(ne, map(mod, table.entries, repeat(step)), repeat(residue)))
    return all(
        _has_low_bits(table.entries[at : at + _ENTRIES_AT_ONCE], step - 1, residue)
        for at in range(0, len(table), _ENTRIES_AT_ONCE)
    )


def _has_low_bits(entries: array[int], mask: int, bits: int) -> bool:
    """Whether all entries have these bits under the mask, looked at as one large number."""
    ones = int.from_bytes(b"\1\0\0\0" * len(entries), "little")
    return int.from_bytes(pack_words(entries), "little") & ones * mask == ones * bits


def marked_slots(table: RunTable, header: HdsHeader, end: int) -> Optional[bytearray]:
    """A byte for each slot from the start of the data area up to byte ``end`` of the file, 1 where a cluster is.

    All clusters lie there, on the grid. None for a file with so many slots that sorting the runs is cheaper.
    """
    step, first = header.entry_step, header.data_start // header.entry_bytes
    count = ceil_div(end - header.data_start, header.cluster_bytes)
    if count > len(table) * _MARKS_PER_RUN:
        return None
    marks = bytearray(count)
    slots: Iterable[int] = map(sub, table.entries, repeat(first))
    slots = slots if step == 1 else map(floordiv, slots, repeat(step))
    if table.clusters_used == len(table):
        # Each run is one cluster.
        deque(map(marks.__setitem__, slots, repeat(1)), 0)
        return marks
    slots = list(slots)
    deque(map(marks.__setitem__, slots, repeat(1)), 0)
    is_long = list(map(gt, table.counts, repeat(1)))
    for slot, length in zip(compress(slots, is_long), compress(table.counts, is_long)):
        marks[slot : slot + length] = b"\1" * length
    return marks


def unused_ranges(table: RunTable, header: HdsHeader, *, file_size: int, pinned: Iterable[Range] = ()) -> List[Range]:
    """The byte ranges of the data area that no entry uses: whole clusters, joined; only the last may end with the file.

    ``pinned`` are byte ranges that are in use although no entry says so, such as those of the format extension.
    """
    origin, cluster = header.data_start, header.cluster_bytes
    held = [
        (origin + (start - origin) // cluster * cluster, origin + ceil_div(end - origin, cluster) * cluster)
        for start, end in pinned
    ]
    marks = None
    if len(table) and min(table.entries) * header.entry_bytes >= origin and is_on_grid(table, header):
        marks = marked_slots(table, header, max(table.data_end, file_size))
    if marks is None:
        used = [(run.offset, run.offset + run.count * cluster) for run in table.runs()]
        return list(complement(sorted(used + held), origin, file_size))
    gaps = ((origin + first * cluster, origin + end * cluster) for first, end in _gaps(marks))
    free = [(start, min(end, file_size)) for start, end in gaps if start < file_size]
    if not held:
        return free
    held = list(joined(sorted(held)))
    return [part for start, end in free for part in complement(held, start, end)]


def _gaps(marks: bytearray) -> Iterator[Range]:
    """Where there are zeros, ascending."""
    first = marks.find(0)
    while first >= 0:
        end = marks.find(1, first)
        if end < 0:
            yield first, len(marks)
            return
        yield first, end
        first = marks.find(0, end)

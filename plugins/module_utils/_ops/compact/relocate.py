# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the clusters of an image are when some are dropped, and where they go so that the file can be cut.

::

    0 A B . C D E    the slots before the new end that are dropped or unused
    D A B E C        get the clusters after it, the first one the first

All of it is counted in runs, and what there is one of for each run is kept in arrays.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import heapq
from array import array
from itertools import islice
from operator import le
from typing import Iterator, List, Tuple

from ..._bundle.bundle import ImageState
from ..._core.plan import Move
from ..._core.ranges import Range, rounded
from ..._formats.hds.bat import Run, RunTable
from ..._formats.hds.bat_order import in_file_order
from ..._formats.hds.header import HdsHeader
from .clusters import Clusters


def kept_runs(image: ImageState, header: HdsHeader, dropped: Clusters) -> Iterator[Run]:
    """The clusters that stay, in the order of the guest disk."""
    if image.table is not None:
        yield from _kept(image.table.runs(), header.cluster_bytes, dropped)


def dropped_places(image: ImageState, header: HdsHeader, dropped: Clusters) -> Iterator[Range]:
    """The byte ranges of the file in which the dropped clusters are, ascending."""
    if image.table is None or not dropped:
        return
    step = header.cluster_bytes
    for run in _in_file_order(image.table):
        for first, end in dropped.within(run.cluster, run.cluster + run.count):
            offset = run.offset + (first - run.cluster) * step
            yield offset, offset + (end - first) * step


def _kept(runs: Iterator[Run], step: int, dropped: Clusters) -> Iterator[Run]:
    if not dropped:
        yield from runs
        return
    for run in runs:
        for first, end in dropped.missing(run.cluster, run.cluster + run.count):
            yield Run(first, end - first, run.offset + (first - run.cluster) * step)


def _in_file_order(table: RunTable) -> Iterator[Run]:
    entries, unit = table.entries, table.entry_bytes
    if all(map(le, entries, islice(entries, 1, None))):
        yield from table.runs()
        return
    for index in in_file_order(table):
        yield Run(table.first_clusters[index], table.counts[index], entries[index] * unit)


class Relocated:
    """The clusters that move, in the order of the file: runs at their old places, and the first slot that each gets.

    All slots lie before all old places, so that no move overwrites what another one reads.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._clusters, self._counts, self._offsets, self._slots = array("Q"), array("Q"), array("Q"), array("Q")

    def __len__(self) -> int:
        """The number of runs."""
        return len(self._slots)

    def append(self, run: Run, slot: int) -> None:
        """Add a run; it comes after the others in both places."""
        self._clusters.append(run.cluster)
        self._counts.append(run.count)
        self._offsets.append(run.offset)
        self._slots.append(slot)

    def moves(self, path: str, file_size: int) -> Iterator[Move]:
        """The moves, ascending; what follows one another in both places moves at once.

        The last cluster of a disk may be cut short in the file: only what the guest sees need move.
        """
        source = target = length = 0
        for offset, slot, count in zip(self._offsets, self._slots, self._counts):
            if offset != source + length or slot != target + length:
                if length:
                    yield Move(path, source, target, length)
                source, target, length = offset, slot, 0
            length += count * self._step
        if length:
            yield Move(path, source, target, min(length, file_size - source))

    def entries(self) -> Iterator[Tuple[int, range]]:
        """The new offsets in the order of the guest disk: a cluster, and those of it and the ones after it."""
        step = self._step
        for index in sorted(range(len(self)), key=self._clusters.__getitem__):
            slot = self._slots[index]
            yield self._clusters[index], range(slot, slot + self._counts[index] * step, step)


def pinned_slots(image: ImageState, header: HdsHeader) -> List[Range]:
    """The slots that the format extension uses, as byte ranges."""
    start = header.data_start
    pinned = sorted((max(0, low - start), high - start) for low, high in image.pinned if high > start)
    return [(start + low, start + high) for low, high in rounded(pinned, header.cluster_bytes)]


def packed_end(image: ImageState, header: HdsHeader, dropped: Clusters) -> int:
    """Where the clusters that stay end when they lie in the first slots that nothing pins, wherever they are now."""
    end = header.data_start + (image.used_clusters - len(dropped)) * header.cluster_bytes
    for low, high in pinned_slots(image, header):
        if low < end:
            end += high - low
    return end


def relocate(image: ImageState, header: HdsHeader, dropped: Clusters) -> Relocated:
    """Where clusters go when ``dropped`` ones are forgotten: those after ``packed_end`` into the free slots before it.

    There are as many of both, and they are paired ascending, so that runs stay runs.
    """
    step, end = header.cluster_bytes, packed_end(image, header, dropped)
    relocated = Relocated(step)
    slots = heapq.merge(dropped_places(image, header, dropped), image.unused)
    slot = free = 0
    for run in _kept(_in_file_order(image.table), step, dropped) if image.table is not None else ():
        done = min(run.count, max(0, end - run.offset) // step)
        while done < run.count:
            if not free:
                slot, stop = next(slots)
                free = (stop - slot) // step
            count = min(free, run.count - done)
            relocated.append(Run(run.cluster + done, count, run.offset + done * step), slot)
            done, slot, free = done + count, slot + count * step, free - count
    return relocated

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the clusters of an image lie when some are dropped, and where they go so that the file can be cut.

All of it is reckoned in runs, and what there is one of for each run is kept in arrays.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import heapq
from array import array
from itertools import islice
from operator import le
from typing import Iterator, Sequence, Tuple

from ..._bundle.bundle import ImageState
from ..._core.plan import Move
from ..._formats.hds.bat import Run, RunTable
from ..._formats.hds.header import HdsHeader
from .clusters import Clusters


def kept_runs(image: ImageState, header: HdsHeader, dropped: Clusters) -> Iterator[Run]:
    """The clusters that stay, in the order of the guest disk."""
    if image.table is not None:
        yield from _kept(image.table.runs(), header.cluster_bytes, dropped)


def dropped_places(image: ImageState, header: HdsHeader, dropped: Clusters) -> Iterator[Tuple[int, int]]:
    """The byte ranges of the file in which the dropped clusters lie, ascending."""
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
    entries = table.entries
    order: Sequence[int] = range(len(entries))
    if not all(map(le, entries, islice(entries, 1, None))):
        order = sorted(order, key=entries.__getitem__)
    for index in order:
        yield Run(table.first_clusters[index], table.counts[index], entries[index] * table.entry_bytes)


class Runs:
    """Runs of clusters as parallel arrays."""

    def __init__(self) -> None:
        self._clusters, self._counts, self._offsets = array("Q"), array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self._clusters)

    def __getitem__(self, index: int) -> Run:
        return Run(self._clusters[index], self._counts[index], self._offsets[index])

    def append(self, run: Run) -> None:
        """Add one at the end."""
        self._clusters.append(run.cluster)
        self._counts.append(run.count)
        self._offsets.append(run.offset)

    def by_cluster(self) -> Sequence[int]:
        """Their indexes in the order of the guest disk."""
        return sorted(range(len(self)), key=self._clusters.__getitem__)


class Relocated:
    """The clusters that move: runs at their old places, and the first of the slots that each run gets, ascending.

    Within a run the order turns round: its last cluster gets the first slot.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._runs = Runs()
        self._slots = array("Q")

    def __len__(self) -> int:
        """The number of runs."""
        return len(self._slots)

    def append(self, run: Run, slot: int) -> None:
        """Add a run; its slots come after those of the others."""
        self._runs.append(run)
        self._slots.append(slot)

    def moves(self, path: str, file_size: int) -> Iterator[Move]:
        """The moves, in the order of the slots.

        The last cluster of a disk may be cut short in the file: only what the guest sees need move.
        """
        step = self._step
        for index, slot in enumerate(self._slots):
            run = self._runs[index]
            sources = range(run.offset + (run.count - 1) * step, run.offset - step, -step)
            for source, target in zip(sources, range(slot, slot + run.count * step, step)):
                yield Move(path, source, target, min(step, file_size - source))

    def entries(self) -> Iterator[Tuple[int, range]]:
        """The new offsets in the order of the guest disk: a cluster, and those of it and the ones after it."""
        step = self._step
        for index in self._runs.by_cluster():
            run, slot = self._runs[index], self._slots[index]
            yield run.cluster, range(slot + (run.count - 1) * step, slot - step, -step)


def relocate(image: ImageState, header: HdsHeader, dropped: Clusters) -> Relocated:
    """Where clusters go when those in ``dropped`` are forgotten: the last one of the file into the first free slot,
    and so on, until all free slots lie after all clusters.
    """
    step = header.cluster_bytes
    relocated = Relocated(step)
    if image.table is None:
        return relocated
    kept = Runs()
    for run in _kept(_in_file_order(image.table), step, dropped):
        kept.append(run)
    index, left = len(kept), 0
    last = Run(0, 0, 0)
    for start, end in heapq.merge(dropped_places(image, header, dropped), image.unused):
        free = (end - start) // step
        while free:
            if not left:
                if not index:
                    return relocated
                index -= 1
                last = kept[index]
                left = last.count
            # A run that ends before a free place lies before it as a whole.
            if last.offset < start:
                return relocated
            count = min(free, left)
            left -= count
            relocated.append(Run(last.cluster + left, count, last.offset + left * step), start)
            start += count * step
            free -= count
    return relocated

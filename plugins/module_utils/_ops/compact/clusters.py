# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets of guest clusters, kept as ranges: a disk may have millions of them, and most come in rows."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right
from typing import Iterable, Iterator, Tuple

Range = Tuple[int, int]
"""The first cluster, and the one after the last."""


class Clusters:
    """Guest clusters of one image, ascending; neighbours are joined. It grows at its end."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._firsts = array("Q")
        self._ends = array("Q")
        for first, end in ranges:
            self.add(first, end)

    def add(self, first: int, end: int) -> None:
        """Add a range that begins no earlier than the last one; they may overlap."""
        if not self._ends or first > self._ends[-1]:
            self._firsts.append(first)
            self._ends.append(end)
        elif end > self._ends[-1]:
            self._ends[-1] = end

    def __len__(self) -> int:
        """The number of clusters."""
        return sum(self._ends) - sum(self._firsts)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def ranges(self) -> Iterator[Range]:
        """All of them."""
        return zip(self._firsts, self._ends)

    def within(self, first: int, end: int) -> Iterator[Range]:
        """Those from ``first`` up to ``end``, clipped."""
        for index in range(bisect_right(self._ends, first), bisect_left(self._firsts, end)):
            yield max(first, self._firsts[index]), min(end, self._ends[index])

    def missing(self, first: int, end: int) -> Iterator[Range]:
        """What of ``first`` up to ``end`` does not belong to them."""
        for low, high in self.within(first, end):
            if first < low:
                yield first, low
            first = high
        if first < end:
            yield first, end


def union(*sets: Clusters) -> Clusters:
    """The clusters of all of them."""
    return Clusters(heapq.merge(*(one.ranges() for one in sets)))


def without(one: Clusters, other: Clusters) -> Clusters:
    """The clusters of ``one`` that ``other`` does not have."""
    return Clusters(part for first, end in one.ranges() for part in other.missing(first, end))

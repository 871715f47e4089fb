# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ascending byte ranges in little memory: two numbers a range in an array, and never more than MOST ranges.

When more are added, the shortest are forgotten: what is said to be free only becomes less.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Iterable, Iterator, List, Tuple

MOST = 1 << 20


class Runs:
    """Half-open ranges (start, end), ascending, disjoint, not touching, none empty. ``total`` counts all ever added."""

    def __init__(self, ranges: Iterable[Tuple[int, int]] = (), most: int = MOST) -> None:
        self.total = 0
        self._most = most
        self._shortest = 1
        self._bounds = array("Q")
        self.extend(ranges)

    def extend(self, ranges: Iterable[Tuple[int, int]]) -> None:
        """Add ranges, each at or after the end of the one before; those that touch become one.

        Raises ValueError when they do not ascend.
        """
        for start, end in ranges:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Add one range at or after the end of the last."""
        bounds = self._bounds
        if end <= start:
            return
        last = bounds[-1] if bounds else -1
        if start < last:
            raise ValueError(f"the range from {start} begins before {last}")
        self.total += end - start
        if start == last:
            bounds[-1] = end
            return
        if bounds and last - bounds[-2] < self._shortest:
            del bounds[-2:]
        bounds.extend((start, end))
        if len(bounds) > 2 * self._most:
            self._forget()

    def _forget(self) -> None:
        """Double the shortest length until at most half of the ranges are left; the last one may still grow."""
        kept = self._bounds
        while len(kept) > max(self._most, 2):
            self._shortest *= 2
            few = array("Q")
            for index in range(0, len(kept), 2):
                if kept[index + 1] - kept[index] >= self._shortest or index == len(kept) - 2:
                    few.extend(kept[index : index + 2])
            kept = few
        self._bounds = kept

    def __iter__(self) -> Iterator[Tuple[int, int]]:
        bounds = self._bounds
        return ((bounds[index], bounds[index + 1]) for index in range(0, len(bounds), 2))

    def __len__(self) -> int:
        return len(self._bounds) // 2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and self._bounds == other._bounds

    __hash__ = None  # type: ignore[assignment]

    def between(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The parts of the ranges from ``start`` up to ``end``, ascending."""
        bounds = self._bounds
        index = bisect_right(bounds, start) // 2 * 2
        while index < len(bounds) and bounds[index] < end:
            low, high = max(start, bounds[index]), min(end, bounds[index + 1])
            if low < high:
                yield low, high
            index += 2

    def within(self, start: int, end: int) -> List[Tuple[int, int]]:
        """The same as a list."""
        return list(self.between(start, end))

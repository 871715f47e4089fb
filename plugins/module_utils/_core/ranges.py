# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ranges of numbers, half-open: ``(start, end)`` has ``start`` and all up to, not including, ``end``.

::

    ranges       ##..####......##
    complement   ..##....######..
    rounded      ####.###.....###     out to a grid

A sequence of ranges ascends by ``start``; what is said of empty ones and of overlaps stands at each function.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from bisect import bisect_right
from typing import Iterable, Iterator, List, Optional, Sequence, Tuple

Range = Tuple[int, int]


def joined(ranges: Iterable[Range], longest: Optional[int] = None) -> Iterator[Range]:
    """What the ranges cover: those that touch or overlap as one, empty ones left out.

    With ``longest``, for ranges that do not overlap, only as far as the whole is no longer than that; no range is cut.
    """
    first = last = 0
    for start, end in ranges:
        if start <= last and (longest is None or (start == last and end - first <= longest)) and first < last:
            if end > last:
                last = end
            continue
        if first < last:
            yield first, last
        first, last = start, end
    if first < last:
        yield first, last


def rounded(ranges: Iterable[Range], step: int, end: Optional[int] = None) -> Iterator[Range]:
    """What the ranges cover, each rounded out to multiples of ``step``, but for what lies after ``end``."""
    grid = ((start // step * step, -(-stop // step) * step) for start, stop in ranges if start < stop)
    return joined(grid if end is None else ((start, min(stop, end)) for start, stop in grid))


def complement(ranges: Iterable[Range], start: int, end: int) -> Iterator[Range]:
    """What the ranges, which may overlap, leave of ``start`` up to ``end``; none is taken that cannot matter."""
    for begin, stop in ranges:
        if begin >= end:
            break
        if start < begin:
            yield start, begin
        if stop > start:
            start = stop
    if start < end:
        yield start, end


def clipped(ranges: Sequence[Range], start: int, end: int) -> List[Range]:
    """The parts of the ranges, of which no two overlap and none is empty, within ``start`` up to ``end``."""
    found: List[Range] = []
    if start >= end:
        return found
    index = bisect_right(ranges, (start, start))
    if index and ranges[index - 1][1] > start:
        index -= 1
    while index < len(ranges) and ranges[index][0] < end:
        low, high = ranges[index]
        found.append((low if low > start else start, high if high < end else end))
        index += 1
    return found

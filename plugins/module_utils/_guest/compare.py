# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare two guest disks by content: extents first, bytes only where one of them has data, no further than the
first difference.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from heapq import merge
from typing import Any, Iterator, Optional, Sequence, Tuple

from .._core.extents import ABSENT, ZERO
from .._formats.image import GuestView
from .._io.copy import WINDOW
from .._ops.copy.sharing import SharedRanges, common
from .first_difference import Search
from .view import ComposedView


def first_difference(one: GuestView, other: GuestView, shared: Optional[SharedRanges] = None) -> Optional[int]:
    """The first guest offset at which the disks differ, None when they are the same.

    A shorter disk differs where it ends.

    Where ``other`` has blocks of ``one``, as ``shared`` says, nothing is read.
    """
    size = min(one.size, other.size)
    ranges = _pairs(one, other, 0, size)
    difference = _first_in(one, other, ranges if shared is None else _unshared(one, other, ranges, shared))
    return difference if difference is not None or one.size == other.size else size


def chain_difference(
    one: ComposedView, other: ComposedView, depths: Sequence[int], shared: Optional[SharedRanges] = None
) -> Optional[Tuple[int, int]]:
    """Where the first layer differs of those ``depths`` layers below the top of ``one``, which ``other`` should have
    from its top down.

    Returns how many layers below the top of ``other`` and the guest offset, None when all are the same. Where neither
    disk's layer has anything of its own, those below answer; so nothing is compared twice. ``shared`` are blocks of
    ``one`` that ``other`` has.
    """
    lowest = len(depths) - 1
    difference = first_difference(one.below(depths[lowest]), other.below(lowest), shared)
    if difference is not None:
        return lowest, difference
    for number in range(lowest - 1, -1, -1):
        above, below = one.below(depths[number]), other.below(number)
        ranges = _joined(_own(one, depths[number]), _own(other, number))
        pairs = (pair for start, end in ranges for pair in _pairs(above, below, start, end))
        difference = _first_in(above, below, pairs if shared is None else _unshared(above, below, pairs, shared))
        if difference is not None:
            return number, difference
    return None


def _own(view: ComposedView, depth: int) -> Iterator[Tuple[int, int]]:
    return ((extent.start, extent.end) for extent in view.own_extents(depth) if extent.kind != ABSENT)


def _joined(one: Iterator[Tuple[int, int]], other: Iterator[Tuple[int, int]]) -> Iterator[Tuple[int, int]]:
    """What either of two ascending sequences of ranges covers."""
    first = last = 0
    for start, end in merge(one, other):
        if start <= last:
            last = max(last, end)
            continue
        if first < last:
            yield first, last
        first, last = start, end
    if first < last:
        yield first, last


def _first_in(one: GuestView, other: GuestView, ranges: Iterator[Tuple[int, int]]) -> Optional[int]:
    return Search(one, other, _slices(ranges)).run()


def _pairs(one: GuestView, other: GuestView, start: int, end: int) -> Iterator[Tuple[int, int]]:
    """The parts (start, end) of the range in which at least one disk has data."""
    left, right = one.extents(start, end - start), other.extents(start, end - start)
    a, b = next(left, None), next(right, None)
    position = start
    while a is not None and b is not None:
        stop = min(a.end, b.end)
        if (a.kind, b.kind) != (ZERO, ZERO):
            yield position, stop
        position = stop
        a = next(left, None) if a.end == stop else a
        b = next(right, None) if b.end == stop else b


def _unshared(
    one: Any, other: Any, ranges: Iterator[Tuple[int, int]], shared: SharedRanges
) -> Iterator[Tuple[int, int]]:
    """The ranges without what the disks have in common."""
    for start, end in ranges:
        for guest, length, file, offset, copy, place in common(
            one.sources(start, end - start), other.sources(start, end - start)
        ):
            held = shared.held(file, offset, copy, place, length)
            if held:
                if start < guest:
                    yield start, guest
                start = guest + held
        if start < end:
            yield start, end


def _slices(ranges: Iterator[Tuple[int, int]]) -> Iterator[Tuple[int, int]]:
    for start, end in ranges:
        for offset in range(start, end, WINDOW):
            yield offset, min(WINDOW, end - offset)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compare two guest disks by content, up to the first difference: extents first, bytes only where one has data."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from heapq import merge
from typing import Iterator, Optional, Sequence, Tuple

from .._core.extents import ABSENT, ZERO
from .._core.pairs import paired
from .._core.ranges import Range, complement, joined
from .._formats.image import GuestView
from .._io.copy import WINDOW
from .first_difference import Search
from .places import Common, SharedRanges, common
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
    """Where layers ``depths`` below the top of ``one`` first differ from those that ``other`` has from its top down.

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
        ranges = joined(merge(_own(one, depths[number]), _own(other, number)))
        pairs = (pair for start, end in ranges for pair in _pairs(above, below, start, end))
        difference = _first_in(above, below, pairs if shared is None else _unshared(above, below, pairs, shared))
        if difference is not None:
            return number, difference
    return None


def _own(view: ComposedView, depth: int) -> Iterator[Range]:
    return ((extent.start, extent.end) for extent in view.own_extents(depth) if extent.kind != ABSENT)


def _first_in(one: GuestView, other: GuestView, ranges: Iterator[Range]) -> Optional[int]:
    return Search(one, other, _slices(ranges)).run()


def _pairs(one: GuestView, other: GuestView, start: int, end: int) -> Iterator[Range]:
    """The parts of the range in which at least one disk has data."""
    for low, high, a, b in paired(one.extents(start, end - start), other.extents(start, end - start)):
        if (a.kind, b.kind) != (ZERO, ZERO):
            yield low, high


def _unshared(one: GuestView, other: GuestView, ranges: Iterator[Range], shared: SharedRanges) -> Iterator[Range]:
    """The ranges without what the disks have in common."""
    for start, end in ranges:
        both = common(one.places(start, end - start), other.places(start, end - start))
        yield from complement(_shared(both, shared), start, end)


def _shared(both: Iterator[Common], shared: SharedRanges) -> Iterator[Range]:
    for guest, length, file, offset, copy, place in both:
        held = shared.held(file, offset, copy, place, length)
        if held:
            yield guest, guest + held


def _slices(ranges: Iterator[Range]) -> Iterator[Tuple[int, int]]:
    for start, end in ranges:
        for offset in range(start, end, WINDOW):
            yield offset, min(WINDOW, end - offset)

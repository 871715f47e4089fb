# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Guest disks cut into pieces of a size that suits the cache: whole disks on a grid, layers in whole grains."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterable, Iterator, Tuple

from .._core.extents import ABSENT, DATA, ZERO, Extent
from .._core.ranges import rounded
from .._formats.image import GuestView
from .._io.copy import SLICE, WINDOW


def data_slices(extents: Iterable[Extent], size: int) -> Iterator[Tuple[int, int]]:
    """Slices (offset, length) on a fixed grid that touch data, ascending, each once."""
    done = 0
    for extent in extents:
        if extent.kind != DATA:
            continue
        start = max(done, extent.start // SLICE * SLICE)
        for offset in range(start, extent.end, SLICE):
            yield offset, min(SLICE, size - offset)
            done = offset + SLICE


def layer_slices(
    view: GuestView, own: Iterable[Extent], grain: int, longest: int = WINDOW
) -> Iterator[Tuple[int, int, str]]:
    """Slices (offset, length, kind) in whole grains that touch ``own``, a layer's extents; ascending, each grain once.

    ``view`` is the disk seen through the layer. What reads as zeros there comes as one ZERO slice, however long it is;
    a DATA slice is at least a grain and else about as long as ``longest``. The last one ends with the disk.
    """
    longest = max(longest // grain * grain, grain)
    touched = ((extent.start, extent.end) for extent in own if extent.kind != ABSENT)
    for start, end in rounded(touched, grain, view.size):
        for first, last, kind in _kinds(view, start, end, grain):
            if kind == ZERO:
                yield first, last - first, ZERO
            else:
                for offset in range(first, last, longest):
                    yield offset, min(longest, last - offset), DATA


def _kinds(view: GuestView, start: int, end: int, grain: int) -> Iterator[Tuple[int, int, str]]:
    """The range (start, end, kind), cut where whole grains are known to be zero."""
    position = start
    for extent in view.extents(start, end - start):
        if extent.kind != ZERO:
            continue
        first = -(-extent.start // grain) * grain
        last = end if extent.end == end else extent.end // grain * grain
        if last <= first:
            continue
        if position < first:
            yield position, first, DATA
        yield first, last, ZERO
        position = last
    if position < end:
        yield position, end, DATA

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Guest disks cut into pieces of a size that suits the cache: whole disks on a grid, layers in whole grains."""

from __future__ import annotations

from typing import Iterable, Iterator, Tuple

from .._core.extents import ABSENT, DATA, Extent
from .._io.copy import SLICE


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


def layer_slices(extents: Iterable[Extent], size: int, grain: int) -> Iterator[Tuple[int, int]]:
    """Slices (offset, length) in whole grains that touch what is not ABSENT, ascending, each grain once.

    A slice is at least a grain and else about as long as SLICE; the last one ends with the disk.
    """
    longest = max(SLICE // grain * grain, grain)
    for start, end in _rounded(extents, size, grain):
        for offset in range(start, end, longest):
            yield offset, min(longest, end - offset)


def _rounded(extents: Iterable[Extent], size: int, grain: int) -> Iterator[Tuple[int, int]]:
    """The ranges (start, end) that are not ABSENT, rounded out to grains and joined."""
    first = last = 0
    for extent in extents:
        if extent.kind == ABSENT:
            continue
        start, end = extent.start // grain * grain, min(size, -(-extent.end // grain) * grain)
        if start <= last:
            last = max(last, end)
            continue
        if first < last:
            yield first, last
        first, last = start, end
    if first < last:
        yield first, last

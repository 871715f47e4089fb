# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Compare two guest disks by content: extents first, bytes only where one of them has data, no further than the first difference."""

from __future__ import annotations

from typing import Iterator, Optional, Tuple

from .._core.extents import ZERO
from .._io.copy import SLICE
from .views import GuestView


def first_difference(one: GuestView, other: GuestView) -> Optional[int]:
    """The first guest offset at which the disks differ, None when they are the same. A shorter disk differs where it ends."""
    size = min(one.size, other.size)
    buffers = bytearray(SLICE), bytearray(SLICE)
    for start, length in _slices(_pairs(one, other, size)):
        difference = _compare_slice(one, other, start, length, buffers)
        if difference is not None:
            return difference
    return None if one.size == other.size else size


def _pairs(one: GuestView, other: GuestView, size: int) -> Iterator[Tuple[int, int]]:
    """The ranges (start, end) in which at least one disk has data."""
    left, right = one.extents(0, size), other.extents(0, size)
    a, b = next(left, None), next(right, None)
    position = 0
    while a is not None and b is not None:
        end = min(a.end, b.end)
        if (a.kind, b.kind) != (ZERO, ZERO):
            yield position, end
        position = end
        a = next(left, None) if a.end == end else a
        b = next(right, None) if b.end == end else b


def _slices(ranges: Iterator[Tuple[int, int]]) -> Iterator[Tuple[int, int]]:
    for start, end in ranges:
        for offset in range(start, end, SLICE):
            yield offset, min(SLICE, end - offset)


def _compare_slice(one: GuestView, other: GuestView, start: int, length: int, buffers: Tuple[bytearray, bytearray]) -> Optional[int]:
    left, right = buffers
    if length != SLICE:
        left, right = bytearray(length), bytearray(length)
    one.pread_into(start, left)
    other.pread_into(start, right)
    if left == right:
        return None
    return start + next(index for index in range(length) if left[index] != right[index])

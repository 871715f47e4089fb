# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Extents: what a range of guest bytes is made of. The only currency between layers.

::

    child    DATA....  ABSENT..........  ZERO..
    parent   ABSENT..........  DATA............
    overlay  DATA....  ABSENT  DATA....  ZERO..

A sequence of extents is ascending and gap-free, covers exactly the range that was asked for, and no two neighbours
could be written as one.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterable, Iterator, NamedTuple, Sequence

DATA = "data"
ZERO = "zero"
ABSENT = "absent"


class Extent(NamedTuple):
    """``length`` bytes from guest offset ``start``.

    DATA must be read, ZERO reads as zeros, ABSENT is answered by the parent. ``layer`` tells which layer of a chain
    answers, counted from the top; it is 0 in a single image.
    """

    start: int
    length: int
    kind: str
    layer: int = 0

    @property
    def end(self) -> int:
        """The guest offset just after the extent."""
        return self.start + self.length


def coalesce(extents: Iterable[Extent]) -> Iterator[Extent]:
    """The same ranges with like neighbours joined and empty ones left out. ``extents`` are ascending and gap-free."""
    pending, pending_kind, pending_layer, total = None, "", 0, 0
    for extent in extents:
        _start, length, kind, layer = extent
        if not length:
            continue
        if kind == pending_kind and layer == pending_layer:
            total += length
            continue
        if pending is not None:
            yield pending if pending.length == total else Extent(pending.start, total, pending_kind, pending_layer)
        pending, pending_kind, pending_layer, total = extent, kind, layer, length
    if pending is not None:
        yield pending if pending.length == total else Extent(pending.start, total, pending_kind, pending_layer)


def overlay(upper: Iterable[Extent], lower: Iterable[Extent]) -> Iterator[Extent]:
    """What is seen when ``upper`` lies on ``lower``: ABSENT parts of ``upper`` are answered by ``lower``.

    Both cover the same range. The fold is associative, so a chain may be folded in any order.
    """
    return coalesce(_overlay(iter(upper), iter(lower)))


def _overlay(upper: Iterator[Extent], lower: Iterator[Extent]) -> Iterator[Extent]:
    below = next(lower, None)
    for above in upper:
        if above.kind != ABSENT:
            yield above
            continue
        position = above.start
        while position < above.end:
            while below is not None and below.end <= position:
                below = next(lower, None)
            if below is None:
                yield Extent(position, above.end - position, ABSENT, above.layer)
                break
            end = min(above.end, below.end)
            yield Extent(position, end - position, below.kind, below.layer)
            position = end


def overlay_all(layers: Sequence[Iterable[Extent]]) -> Iterator[Extent]:
    """The overlay of ``layers``, topmost first, as a balanced fold: an extent passes O(log depth) steps."""
    if len(layers) == 1:
        return coalesce(layers[0])
    middle = len(layers) // 2
    return overlay(overlay_all(layers[:middle]), overlay_all(layers[middle:]))


def zero_absent(extents: Iterable[Extent]) -> Iterator[Extent]:
    """``extents`` with nothing below them: what is still ABSENT reads as zeros."""
    return coalesce(Extent(e.start, e.length, ZERO) if e.kind == ABSENT else e for e in extents)


def shifted(extents: Iterable[Extent], by: int) -> Iterator[Extent]:
    """``extents`` moved by ``by`` bytes."""
    return (Extent(e.start + by, e.length, e.kind, e.layer) for e in extents) if by else iter(extents)

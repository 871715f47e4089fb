# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest disk without what is free in its file systems: free bytes read as zeros, and no layer has them as its own.

::

    layer k + 1   | own .. |   |   |        free in every view from k on that reads k:
    layer k       | own ........ own |      free in k, and above either free again or covered
    dropped in k      ##   ##

So no view above k loses a byte that is not free in it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from heapq import merge
from typing import Iterable, Iterator, Sequence, Tuple, Union

from ..._core.extents import ABSENT, ZERO, Extent, coalesce
from ..._core.pairs import paired
from ..._core.ranges import Range, complement, joined
from ..._formats.place import Place
from ..._io.buffers import clear
from ..view import ComposedView
from .runs import Runs


class FreedView(ComposedView):
    """``view`` with zeros where ``free[0]`` is; ``free[n]`` are the ranges dropped in the layer n below the top."""

    def __init__(self, view: ComposedView, free: Sequence[Runs]) -> None:
        super().__init__(view.size, view.parts)
        self._free = tuple(free)

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """DATA and ZERO parts of the range."""
        return coalesce(_marked(super().extents(start, length), self._free[0].between(start, start + length), ZERO))

    def below(self, depth: int) -> FreedView:
        """The view without its topmost layers, freed of what is dropped there."""
        return FreedView(super().below(depth), self._free[depth:])

    def own_extents(self, depth: int) -> Iterator[Extent]:
        """What the one layer says; ABSENT where its bytes are dropped."""
        return coalesce(_marked(super().own_extents(depth), iter(self._free[depth]), ABSENT))

    def grown(self, size: int) -> FreedView:
        """The same disk with zeros after its end."""
        return FreedView(super().grown(size), self._free)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` with guest bytes from ``offset``."""
        view = memoryview(buffer)
        super().pread_into(offset, view)
        for start, end in self._free[0].between(offset, offset + len(view)):
            clear(view[start - offset : end - offset])

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The parts of the range that lie in a file as they are, hold data and are not free."""
        for place in super().places(start, length):
            for low, high in complement(self._free[0].between(place.start, place.end), place.start, place.end):
                yield Place(low, high - low, place.file, place.offset + low - place.start)


def _marked(extents: Iterable[Extent], free: Iterator[Range], kind: str) -> Iterator[Extent]:
    """The extents, with ``kind`` where ``free`` is. Both ascend."""
    low, high = next(free, (-1, -1))
    for extent in extents:
        position = extent.start
        while position < extent.end:
            while 0 <= high <= position:
                low, high = next(free, (-1, -1))
            if high < 0 or low >= extent.end:
                yield Extent(position, extent.end - position, extent.kind, extent.layer)
                break
            if low > position:
                yield Extent(position, low - position, extent.kind, extent.layer)
                position = low
            end = min(high, extent.end)
            yield Extent(position, end - position, kind, extent.layer)
            position = end


def dropped_ranges(view: ComposedView, free: Sequence[Runs]) -> Tuple[Runs, ...]:
    """What each layer may lose, given what is free in the view at each layer, topmost first."""
    found = [free[0]]
    for depth in range(1, len(free)):
        own = (extent for extent in view.own_extents(depth - 1) if extent.kind != ABSENT)
        covered = joined(merge(((extent.start, extent.end) for extent in own), iter(found[-1])))
        found.append(Runs(common_ranges(free[depth], covered)))
    return tuple(found)


def common_ranges(one: Iterable[Range], other: Iterable[Range]) -> Iterator[Range]:
    """What both have; the ranges of each ascend and do not overlap."""
    for start, end, _left, _right in paired(_extents(one), _extents(other)):
        yield start, end


def _extents(ranges: Iterable[Range]) -> Iterator[Extent]:
    return (Extent(start, end - start, ZERO) for start, end in ranges)

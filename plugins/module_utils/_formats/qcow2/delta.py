# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What one internal snapshot of a qcow2 file has that the one below it has not, as a layer on that one.

Two snapshots share the clusters that neither has written since; where both lead to the same place, the lower answers.
::

    then     | A | B | C |   |
    now      | A | D |   |   |        ->  absent, data, zeros, absent

Over a backing file, what neither has is absent, too. Where only the lower one has something, that would hide the
backing file; what is seen of it there is data of the layer.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Optional, Tuple, Union

from ..._core.extents import ABSENT, DATA, ZERO, Extent, coalesce
from ..bounds import check_range
from ..image import GuestView
from ..place import Place
from .entries import COMPRESSED, STORED, UNALLOCATED, ZEROED, Run
from .reader import Qcow2Image


class SnapshotDelta:
    """The open image ``upper`` as a layer on ``lower``, both of one file; ``backing`` is seen below both, if at all.

    It belongs to the caller, as ``lower`` does.
    """

    def __init__(self, upper: Qcow2Image, lower: Qcow2Image, backing: Optional[GuestView] = None) -> None:
        self.path = upper.path
        self.size = upper.size
        self._upper = upper
        self._lower = lower
        self._backing = backing

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: ABSENT where the layer below has the same."""
        check_range(self.path, self.size, start, length)
        return coalesce(self._extents(start, start + length))

    def _extents(self, start: int, end: int) -> Iterator[Extent]:
        for begin, stop, one, other in _paired(self._upper.runs(start, end), self._below(start, end)):
            if one.kind == COMPRESSED and other.kind == COMPRESSED:
                yield from self._packed(begin, stop)
            elif one.kind == STORED:
                is_same = other.kind == STORED and one.host - one.start == other.host - other.start
                yield Extent(begin, stop - begin, ABSENT if is_same else DATA)
            elif one.kind == COMPRESSED:
                yield Extent(begin, stop - begin, DATA)
            else:
                yield from self._unstored(begin, stop, one, other)

    def _unstored(self, start: int, end: int, one: Run, other: Run) -> Iterator[Extent]:
        """Where the upper image has nothing of its own, or zeros."""
        if self._backing is None:
            yield Extent(start, end - start, ZERO if other.kind in (STORED, COMPRESSED) else ABSENT)
        elif one.kind == other.kind:
            yield Extent(start, end - start, ABSENT)
        elif one.kind == ZEROED:
            yield Extent(start, end - start, ZERO)
        else:
            yield from (Extent(e.start, e.length, e.kind) for e in self._backing.extents(start, end - start))

    def _below(self, start: int, end: int) -> Iterator[Run]:
        """The runs of the layer below, which reads as zeros past its end, whatever the backing file has."""
        last = min(end, self._lower.size)
        if start < last:
            yield from self._lower.runs(start, last)
        if max(start, last) < end:
            kind = UNALLOCATED if self._backing is None else ZEROED
            yield Run(max(start, last), end - max(start, last), kind)

    def _packed(self, start: int, end: int) -> Iterator[Extent]:
        size = self._upper.header.cluster_bytes
        for cluster in range(start // size, -(-end // size)):
            begin, stop = max(start, cluster * size), min(end, (cluster + 1) * size)
            is_same = self._upper.packed_place(cluster) == self._lower.packed_place(cluster)
            yield Extent(begin, stop - begin, ABSENT if is_same else DATA)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` with what the guest sees at the snapshot."""
        self._upper.pread_into(offset, buffer)
        if self._backing is not None:
            view = memoryview(buffer)
            for run in self._upper.runs(offset, offset + len(view)):
                if run.kind == UNALLOCATED:
                    begin = run.start - offset
                    self._backing.pread_into(run.start, view[begin : begin + run.length])

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The stored parts of the range."""
        return self._upper.places(start, length)

    def close(self) -> None:
        """Release the upper image; the lower one is a layer of its own."""
        self._upper.close()


def _paired(upper: Iterator[Run], lower: Iterator[Run]) -> Iterator[Tuple[int, int, Run, Run]]:
    """The parts of a range in which each of both has one run: start, end and the runs."""
    other = next(lower, None)
    for one in upper:
        position, end = one.start, one.start + one.length
        while position < end and other is not None:
            stop = min(end, other.start + other.length)
            if position < stop:
                yield position, stop, one, other
                position = stop
            if other.start + other.length <= position:
                other = next(lower, None)

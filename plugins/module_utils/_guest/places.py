# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which bytes two disks have in common: the same place of the guest in two files, and the blocks that they share."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Callable, Dict, Iterable, Iterator, Tuple

from .._core.pairs import paired
from .._formats.image import Place
from .._io.port import File

BLOCK = 4096
"""What the host shares lies on multiples of it."""

LONGEST = 256 << 20
"""What the host shares in a moment."""


Common = Tuple[int, int, File, int, File, int]
"""Guest offset, length, file and offset of one disk, file and offset of the other."""


class SharedRanges:
    """Which ranges of new files have the blocks of which ranges of others; each file is filled in ascending order."""

    def __init__(self) -> None:
        # By the paths of source and target: where ranges begin in the target, where in the source, how long they are.
        self._ranges: Dict[Tuple[str, str], Tuple[array[int], array[int], array[int]]] = {}

    def add(self, source: File, source_offset: int, target: File, offset: int, length: int) -> None:
        """The host has let the target have these blocks."""
        columns = self._ranges.setdefault((source.path, target.path), (array("Q"), array("Q"), array("Q")))
        for column, value in zip(columns, (offset, source_offset, length)):
            column.append(value)

    def held(self, source: File, source_offset: int, target: File, offset: int, length: int) -> int:
        """How much of the range of the target, from its start on, has the blocks of that range of the source."""
        columns = self._ranges.get((source.path, target.path))
        if columns is None:
            return 0
        offsets, sources, lengths = columns
        position, end, shift = offset, offset + length, source_offset - offset
        while position < end:
            index = bisect_right(offsets, position) - 1
            if index < 0 or sources[index] - offsets[index] != shift or position >= offsets[index] + lengths[index]:
                break
            position = min(end, offsets[index] + lengths[index])
        return position - offset

    def resolved(self, real_path: Callable[[str], str]) -> SharedRanges:
        """The same with the targets called as those know them who look them up."""
        found = SharedRanges()
        found._ranges = {(source, real_path(target)): columns for (source, target), columns in self._ranges.items()}
        return found


def common(one: Iterable[Place], other: Iterable[Place]) -> Iterator[Common]:
    """The guest ranges that both have, ascending."""
    for start, end, left, right in paired(one, other):
        one_offset, other_offset = left.offset + start - left.start, right.offset + start - right.start
        yield start, end - start, left.file, one_offset, right.file, other_offset


def whole_blocks(places: Iterable[Place]) -> Iterator[Place]:
    """Of each place the part that consists of whole blocks, in pieces that the host shares in a moment."""
    for guest, length, file, offset in places:
        if guest % BLOCK == 0 and offset % BLOCK == 0:
            for done in range(0, length - length % BLOCK, LONGEST):
                yield Place(guest + done, min(LONGEST, length - length % BLOCK - done), file, offset + done)

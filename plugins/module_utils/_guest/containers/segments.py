# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file made of stretches of another one, such as a member of an archive; between them are zeros.

::

    archive   | head | A1 | A2 | head | B |         (0, 512, A1), (8192, 512, A2): the member A with a hole in it
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from bisect import bisect_right
from typing import Iterator, NoReturn, Sequence, Tuple, Union

from ..._core.errors import Unsupported
from ..._formats.mapping import ByteSource
from ..._io.buffers import clear
from ..._io.port import Buffer, File

Stretch = Tuple[int, int, int]
"""Offset in the file, length, and offset in the archive; ascending."""


class SegmentedFile:
    """``size`` bytes of ``source``, read-only. Implements ``File``; closing it closes ``source``."""

    def __init__(self, path: str, source: ByteSource, stretches: Sequence[Stretch], size: int) -> None:
        self.path = path
        self._source = source
        self._stretches = tuple(stretches)
        self._starts = [start for start, _length, _place in self._stretches]
        self._size = size

    def size(self) -> int:
        """The length of the member."""
        return self._size

    def _parts(self, start: int, end: int) -> Iterator[Stretch]:
        index = max(0, bisect_right(self._starts, start) - 1)
        for begin, length, place in self._stretches[index:]:
            if begin >= end:
                return
            first, last = max(start, begin), min(end, begin + length)
            if first < last:
                yield first, last - first, place + first - begin

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; fewer bytes only at the end, and where the archive has become shorter."""
        view = memoryview(buffer)[: max(0, self._size - offset)]
        position = offset
        for start, length, place in self._parts(offset, offset + len(view)):
            clear(view[position - offset : start - offset])
            got = self._source.pread_into(place, view[start - offset : start - offset + length])
            if got < length:
                return start - offset + got
            position = start + length
        clear(view[position - offset :])
        return len(view)

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The parts of the range that are stored and no holes of the archive."""
        for begin, length, place in self._parts(start, min(end, self._size)):
            for first, last in self._source.data_ranges(place, place + length):
                yield begin + first - place, begin + last - place

    def will_need(self, offset: int, length: int) -> None:
        """Nothing: a hint."""

    def start_writeback(self, offset: int, length: int) -> None:
        """Nothing: a hint."""

    def close(self) -> None:
        """Release the archive."""
        self._source.close()

    def pwrite(self, offset: int, buffer: Buffer) -> None:
        """Refused, as all that changes."""
        self._refuse()

    def truncate(self, size: int) -> None:
        """Refused."""
        self._refuse()

    def allocate(self, offset: int, length: int) -> None:
        """Refused."""
        self._refuse()

    def punch_hole(self, offset: int, length: int) -> bool:
        """Refused."""
        self._refuse()

    def copy_from(self, source: File, source_offset: int, offset: int, length: int) -> int:
        """Refused."""
        self._refuse()

    def share_from(self, source: File, source_offset: int, offset: int, length: int) -> bool:
        """Refused."""
        self._refuse()

    def copy_on_server(self, source: File, source_offset: int, offset: int, length: int) -> bool:
        """Refused."""
        self._refuse()

    def take_attributes(self, source: File) -> None:
        """Refused."""
        self._refuse()

    def sync(self) -> None:
        """Refused."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise Unsupported("A member of an archive is only read", path=self.path)

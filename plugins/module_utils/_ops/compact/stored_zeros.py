# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a host file could be a hole and is none: zeros that are stored, and bytes that nobody refers to.

All of it is whole blocks of the host, so that a hole gives back exactly what was counted, and is not found again.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterable, Iterator, List

from ..._core.ranges import Range, complement, joined
from ..._core.units import round_up
from ..._io.buffers import new_buffer
from ..._io.copy import SLICE
from ..._io.port import File
from ..._io.sparse import data_parts

SMALLEST = 64 << 10
"""Shorter runs of zeros are left: each hole costs an entry in the host's tables, and a call."""

_LARGEST_BLOCK = 1 << 20


class ZeroScan:
    """Looks for stored zeros in one file whose host gives back blocks of ``block`` bytes.

    ``bytes_read`` counts what was looked at.
    """

    def __init__(self, file: File, block: int) -> None:
        self._file = file
        self._block = grain_of(block)
        # A whole number of blocks, whatever their size.
        self._buffer = new_buffer(SLICE // self._block * self._block or self._block)
        self.bytes_read = 0

    def ranges(self, parts: Iterable[Range], smallest: int) -> List[Range]:
        """Stored zeros of at least ``smallest`` bytes within ``parts`` (ascending)."""
        return [(start, end) for start, end in joined(self._zeros(parts)) if end - start >= smallest]

    def _zeros(self, parts: Iterable[Range]) -> Iterator[Range]:
        for start, end in data_within(self._file, parts, self._block):
            for offset in range(start, end, len(self._buffer)):
                length = self._file.pread_into(offset, self._buffer[: end - offset])
                self.bytes_read += length
                length -= length % self._block
                for low, high in complement(data_parts(self._buffer, length, self._block), 0, length):
                    yield offset + low, offset + high


def data_within(file: File, parts: Iterable[Range], block: int) -> Iterator[Range]:
    """The stored parts of ``parts``, cut to whole blocks."""
    grain = grain_of(block)
    for start, end in parts:
        for low, high in file.data_ranges(start, end):
            low, high = round_up(low, grain), high - high % grain
            if low < high:
                yield low, high


def grain_of(block: int) -> int:
    """The block to reckon with. A host that names a huge one means the size of its transfers."""
    return min(block, _LARGEST_BLOCK)

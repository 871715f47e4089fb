# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A window of a guest disk that a reader of a file system sees: bounded, positional, its reads counted."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Protocol, Sequence, Tuple, Union

from .answer import Uncertain

# A reader may read each byte once, and this much more: enough for any sane file system, an end for one with loops.
_MORE_BYTES = 64 << 20
_LONGEST_READ = 4 << 20


class Disk(Protocol):
    """What is needed of a guest disk."""

    size: int

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from ``offset``."""


class Volume:
    """``size`` bytes in pieces of a disk, (offset on the disk, length) each in order; a partition has one piece."""

    def __init__(self, disk: Disk, pieces: Sequence[Tuple[int, int]]) -> None:
        self.disk = disk
        self.pieces = tuple(pieces)
        self.size = sum(length for _offset, length in pieces)
        self._left = self.size + _MORE_BYTES

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes from ``offset``.

        Raises Uncertain: damaged outside of the volume or beyond 4 MiB at once, costly when all reads are too many.
        """
        if offset < 0 or not 0 <= length <= _LONGEST_READ or offset + length > self.size:
            raise Uncertain("damaged")
        self._left -= length
        if self._left < 0:
            raise Uncertain("costly")
        buffer = bytearray(length)
        view, done = memoryview(buffer), 0
        for start, count in self.on_disk(offset, offset + length):
            self.disk.pread_into(start, view[done : done + count])
            done += count
        return bytes(buffer)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from ``offset``. Raises as ``read`` does."""
        buffer[:] = self.read(offset, len(buffer))

    def on_disk(self, start: int, end: int) -> Sequence[Tuple[int, int]]:
        """The range of the volume as (offset on the disk, length), in the order of the volume."""
        found, base = [], 0
        for offset, length in self.pieces:
            low, high = max(start, base), min(end, base + length)
            if low < high:
                found.append((offset + low - base, high - low))
            base += length
        return found

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way of the writers of VMDK through the disk and through the files that it is cut into."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Sequence, Tuple

from ..._core.units import SECTOR
from ..bounds import check_next
from .descriptor import ExtentLine


class Cursor:
    """How far a writer has come on its way through the disk."""

    def __init__(self, size_bytes: int, path: str) -> None:
        self.size_bytes = size_bytes
        self._path = path
        self._position = 0

    def advance(self, offset: int, length: int) -> None:
        """Go past the range.

        Raises BadRequest when that goes back or leaves the disk; an empty range may lie anywhere in it.
        """
        check_next(self._path, self._position if length else 0, self.size_bytes, offset, length)
        if length:
            self._position = offset + length


def split_range(pieces: Sequence[ExtentLine], start: int, end: int) -> Iterator[Tuple[int, int, int]]:
    """The parts of a guest range as ``(piece, start in it, length)``; all pieces but the last have one size."""
    piece_bytes = pieces[0].sectors * SECTOR
    while start < end:
        index, inside = divmod(start, piece_bytes)
        length = min(end - start, piece_bytes - inside)
        yield index, inside, length
        start += length

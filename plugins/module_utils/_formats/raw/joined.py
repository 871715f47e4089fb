# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plain image in pieces that were cut by size."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Sequence, Union

from ..._core.extents import ZERO, Extent, coalesce
from ..._io.port import Port
from ..bounds import check_range
from ..mapping import read_stored, run_extents
from ..pieces import JoinedPieces, open_pieces
from ..place import Place


class JoinedImage:
    """An open plain image of ``size`` bytes in several files. Holes of the host files read as zeros."""

    def __init__(self, pieces: JoinedPieces) -> None:
        self.path = pieces.path
        self._pieces = pieces
        self.size = pieces.size()

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: DATA, and ZERO for holes of the host files."""
        check_range(self.path, self.size, start, length)
        return coalesce(run_extents(self._pieces, ((start, length, start),), start, start + length, ZERO))

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``. Raises Damaged when a file has become shorter."""
        view = memoryview(buffer)
        check_range(self.path, self.size, offset, len(view))
        read_stored(self._pieces, offset, view)

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The range, in the pieces that hold it."""
        check_range(self.path, self.size, start, length)
        return self._pieces.places(((start, length, start),))

    def close(self) -> None:
        """Release the files."""
        self._pieces.close()


def open_joined(port: Port, paths: Sequence[str]) -> JoinedImage:
    """Open the pieces at ``paths``, in their order. Raises as ``open_pieces`` does."""
    return JoinedImage(open_pieces(port, paths[0], paths))

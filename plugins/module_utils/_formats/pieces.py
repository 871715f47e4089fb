# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pieces of what was cut by size, such as a split VHD image, read as if they were one file."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Iterable, Iterator, List, Sequence, Tuple, Union

from .._core.errors import Unsupported
from .._io.port import File, Port
from .mapping import StoredRun
from .place import Place

MOST_PIECES = 512
"""So many files may be open at once on most hosts, with others beside them."""


class JoinedPieces:
    """The pieces of a split image one after the other. Their lengths are those at the time of opening.

    Implements ``ByteSource``.
    """

    def __init__(self, path: str, pieces: Sequence[File]) -> None:
        self.path = path
        self._pieces = tuple(pieces)
        self._ends = list(accumulate(piece.size() for piece in pieces))

    def size(self) -> int:
        """The length of all pieces together."""
        return self._ends[-1]

    def _parts(self, start: int, end: int) -> Iterator[Tuple[File, int, int, int]]:
        """For each piece that the range touches: piece, its offset in the whole, start and end of the part there."""
        while start < min(end, self._ends[-1]):
            index = bisect_right(self._ends, start)
            stop = min(end, self._ends[index])
            yield self._pieces[index], self._ends[index - 1] if index else 0, start, stop
            start = stop

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; gives fewer bytes only at the end, or when a piece has become shorter."""
        view = memoryview(buffer)
        done = 0
        for piece, base, start, stop in self._parts(offset, offset + len(view)):
            got = piece.pread_into(start - base, view[start - offset : stop - offset])
            done += got
            if got < stop - start:
                break
        return done

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The parts of the range that are no holes, ascending."""
        for piece, base, begin, stop in self._parts(start, end):
            for data_start, data_end in piece.data_ranges(begin - base, stop - base):
                yield base + data_start, base + data_end

    def places(self, runs: Iterable[StoredRun]) -> Iterator[Place]:
        """The places of runs of the image, each in its piece."""
        for guest, length, offset in runs:
            for piece, base, start, stop in self._parts(offset, offset + length):
                yield Place(guest + start - offset, stop - start, piece, start - base)

    def close(self) -> None:
        """Release all pieces."""
        for piece in self._pieces:
            piece.close()


def open_pieces(port: Port, path: str, paths: Sequence[str]) -> JoinedPieces:
    """The pieces at ``paths``, in their order, as one called ``path``; all are closed again when one cannot be opened.

    Raises Unsupported for more than can be open at once.
    """
    if len(paths) > MOST_PIECES:
        hint = "Join them yourself, with cat, and name the result."
        raise Unsupported("The disk is in too many pieces", path, expected=MOST_PIECES, found=len(paths), hint=hint)
    files: List[File] = []
    try:
        for one in paths:
            files.append(port.open_read(one))
    except BaseException:
        for file in files:
            file.close()
        raise
    return JoinedPieces(path, files)

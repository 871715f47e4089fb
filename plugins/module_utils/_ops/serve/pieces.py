# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where each byte of a guest disk that does not change comes from: a file, nowhere (zeros), or the reader of its image.

The answer is found region by region and remembered, so that a request costs one search in a short list.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from bisect import bisect_right
from threading import Lock
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..._core.extents import ZERO, Extent
from ..._formats.image import GuestView
from ..._io.port import File

STORED, PACKED, ZEROS = "stored", "packed", "zeros"

_REGION = 8 << 20
_MOST_PIECES = 1 << 16
# What a region takes besides its pieces, in pieces.
_REGION_COST = 8


class Piece(NamedTuple):
    """Guest bytes ``start`` to ``end``: STORED in ``file`` from ``offset`` on, PACKED in an image, or ZEROS."""

    start: int
    end: int
    kind: str
    file: Optional[File] = None
    offset: int = 0


_Region = Tuple[List[int], List[Piece]]


def _trust() -> None:
    """Nobody looks."""


class GuestMap:
    """The pieces of a view, for several threads; of a large disk those that were found last are kept.

    ``check`` raises when the files of the disk are no longer what they were: the end of a file that somebody has cut
    looks like a hole.
    """

    def __init__(self, view: GuestView, check: Callable[[], None] = _trust) -> None:
        self.check = check
        self._view = view
        self._regions: Dict[int, _Region] = {}
        self._held = 0
        self._lock = Lock()

    def pieces(self, start: int, end: int) -> Iterator[Piece]:
        """The pieces of a range within the disk, ascending, without gaps, cut to the range."""
        while start < end:
            starts, pieces = self._region(start // _REGION)
            for index in range(bisect_right(starts, start) - 1, len(pieces)):
                piece = pieces[index]
                if piece.start < start or piece.end > end:
                    piece = _cut(piece, max(start, piece.start), min(end, piece.end))
                yield piece
                start = piece.end
                if start >= end:
                    return

    def _region(self, number: int) -> _Region:
        found = self._regions.get(number)
        if found is None:
            start = number * _REGION
            pieces = list(self._found(start, min(_REGION, self._view.size - start)))
            self.check()
            found = [piece.start for piece in pieces], pieces
            self._keep(number, found)
        return found

    def _keep(self, number: int, region: _Region) -> None:
        with self._lock:
            if number in self._regions:
                return
            self._regions[number] = region
            self._held += _REGION_COST + len(region[0])
            while self._held > _MOST_PIECES and len(self._regions) > 1:
                oldest = next(iter(self._regions))
                self._held -= _REGION_COST + len(self._regions.pop(oldest)[0])

    def _found(self, start: int, length: int) -> Iterator[Piece]:
        for extent in self._view.extents(start, length):
            if extent.kind == ZERO:
                yield Piece(extent.start, extent.end, ZEROS)
            else:
                yield from self._of_data(extent)

    def _of_data(self, extent: Extent) -> Iterator[Piece]:
        position = extent.start
        for place in self._view.places(extent.start, extent.length):
            if place.start > position:
                yield Piece(position, place.start, PACKED)
            yield Piece(place.start, place.end, STORED, place.file, place.offset)
            position = place.end
        if position < extent.end:
            yield Piece(position, extent.end, PACKED)


def _cut(piece: Piece, start: int, end: int) -> Piece:
    if piece.kind != STORED:
        return Piece(start, end, piece.kind)
    return Piece(start, end, STORED, piece.file, piece.offset + start - piece.start)

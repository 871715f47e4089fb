# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free blocks of HFS+ and HFSX: the zeros of the allocation file, as many as the volume header says, when nothing in
the catalog, the attributes and the overflow of both has any of them.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, List, Optional, Tuple

from ...._core.ranges import Range
from ...._core.units import ceil_div
from ..answer import Identity, Uncertain, refuse_if
from ..bits import zero_runs
from ..runs import Runs
from ..volume import Volume
from .hfsplus_layout import (
    ALTERNATE,
    HEADER,
    HEADER_BYTES,
    Header,
    alternate_place,
    fork,
    journal_blocks,
    read_header,
    refuse_unclean,
)
from .hfsplus_walk import ALLOCATION, Walk

_PIECE = 128 << 10


def recognise(volume: Volume) -> Optional[Identity]:
    """What the volume header says, with the wrapper around the volume. The label stands in the catalog: None."""
    header = read_header(volume)
    return None if header is None else Identity("hfsplus", None, header.offset + header.size)


def free_runs(volume: Volume) -> Runs:
    """The free blocks. Raises Uncertain."""
    header = read_header(volume)
    if header is None:
        raise Uncertain("damaged")
    refuse_unclean(header)
    alternate = alternate_place(volume, header)
    walk = Walk(volume, header)
    refuse_if(fork(header, ALLOCATION)[0] < ceil_div(header.blocks, 8))
    runs = _bitmap_runs(volume, header, walk.special[ALLOCATION])
    refuse_if(runs.total != header.free * header.block)
    _refuse_free_metadata(header, runs, (alternate, alternate + ALTERNATE), journal_blocks(volume, header))
    walk.run(runs)
    return runs


def _bitmap_runs(volume: Volume, header: Header, extents: List[Range]) -> Runs:
    runs, first = Runs(), 0
    for start, length in _pieces(header, extents):
        count = min(8 * length, header.blocks - first)
        for low, high in zero_runs(volume.read(header.offset + start, length), count, high_first=True):
            low, high = (header.offset + (first + number) * header.block for number in (low, high))
            runs.add(low, high)
        first += count
    return runs


def _pieces(header: Header, extents: List[Range]) -> Iterator[Tuple[int, int]]:
    """Offset in the volume and length of the pieces in which the bitmap is read."""
    left = ceil_div(header.blocks, 8)
    for start, end in extents:
        for offset in range(start * header.block, end * header.block, _PIECE):
            length = min(_PIECE, end * header.block - offset, left)
            if length:
                yield offset, length
            left -= length


def _refuse_free_metadata(header: Header, runs: Runs, copy: Range, blocks: List[Range]) -> None:
    """Both headers (bytes of the volume) and the journal (blocks) are in use."""
    places = [(0, HEADER + HEADER_BYTES), copy]
    for start, end in blocks:
        places.append((start * header.block, end * header.block))
    for start, end in places:
        refuse_if(runs.within(header.offset + start, header.offset + end))

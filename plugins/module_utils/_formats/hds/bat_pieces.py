# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parts of a table as the bytes of a file, for those who write a few entries among millions."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array
from typing import Iterable, Iterator, Tuple

from ..._core.ranges import Range
from ..._core.words import pack_words
from .bat import Run
from .header import ENTRY_BYTES, HEADER_BYTES, HdsHeader

_WRITE_ENTRIES = 1 << 16


def entry_pieces(header: HdsHeader, spans: Iterable[Range], runs: Iterable[Run]) -> Iterator[Tuple[int, bytes]]:
    """What the table says in ascending ``spans`` of guest clusters: ``(file offset, bytes)`` of bounded length.

    ``runs`` are all allocated clusters, ascending, at places that an entry can name.
    """
    step, unit = header.entry_step, header.entry_bytes
    left = iter(runs)
    run = next(left, None)
    for start, stop in spans:
        for low in range(start, stop, _WRITE_ENTRIES):
            high = min(stop, low + _WRITE_ENTRIES)
            piece = array("I", bytes(ENTRY_BYTES * (high - low)))
            while run is not None and run.cluster < high:
                first, end = max(run.cluster, low), min(run.cluster + run.count, high)
                if first < end:
                    entry = run.offset // unit + (first - run.cluster) * step
                    piece[first - low : end - low] = array("I", range(entry, entry + (end - first) * step, step))
                if run.cluster + run.count > high:
                    break
                run = next(left, None)
            yield HEADER_BYTES + ENTRY_BYTES * low, pack_words(piece)

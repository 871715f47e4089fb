# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Steps that change an expanding image in place: its in-use mark, its table and how it is closed again."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterable, Iterator, List, Sequence, Tuple

from .._bundle.bundle import ImageState
from .._core.plan import CopyRanges, Move, Step, Sync, WriteBytes
from .._core.records import replace
from .._formats.hds.bat import pack_entries
from .._formats.hds.header import (
    CLOSED,
    CLOSED_WITH_EXTENSION,
    EXTENSION_OFFSET,
    FLAG_EMPTY,
    FLAGS_OFFSET,
    IN_USE,
    IN_USE_OFFSET,
    HdsHeader,
    pack_header,
)
from .._io.port import Port

TABLE_OFFSET = 64
_ENTRY_BYTES = 4
_MOST_ENTRIES = 65536
_ZEROS = bytes(256 << 10)


def mark_steps(images: Sequence[ImageState]) -> Iterator[Step]:
    """The in-use mark reaches the medium before the first change (format reference, section 1.2)."""
    for image in images:
        yield WriteBytes(image.path, IN_USE_OFFSET, struct.pack("<I", IN_USE))
    if images:
        yield Sync(files=tuple(image.path for image in images))


def close_steps(images: Sequence[ImageState], *, keep_extension: bool) -> Iterator[Step]:
    """Clear the mark and the "nothing was ever written" flag; keep an extension as valid, or no longer name it."""
    for image in images:
        yield from _close_steps(image, keeps=keep_extension and image.extension is not None)
    if images:
        yield Sync(files=tuple(image.path for image in images))


def _close_steps(image: ImageState, *, keeps: bool) -> Iterator[Step]:
    flags = 0 if image.header is None else image.header.flags & ~FLAG_EMPTY
    if not keeps:
        yield WriteBytes(image.path, EXTENSION_OFFSET, struct.pack("<Q", 0))
    yield WriteBytes(image.path, FLAGS_OFFSET, struct.pack("<I", 0 if flags > 0xFFFF else flags))
    yield WriteBytes(image.path, IN_USE_OFFSET, struct.pack("<I", CLOSED_WITH_EXTENSION if keeps else CLOSED))


def table_rewrite_steps(port: Port, image: ImageState) -> Iterator[Step]:
    """Write the table of an image again as it is read now, and a barrier.

    After a failed sync it may be in the cache alone, and Linux brings it to the medium only if it is written again.
    """
    if image.header is None:
        return
    file = port.open_read(image.path)
    try:
        ranges = list(file.data_ranges(TABLE_OFFSET, image.header.table_end))
    finally:
        file.close()
    if ranges:
        yield CopyRanges(image.path, tuple(Move(image.path, start, start, end - start) for start, end in ranges))
        yield Sync(files=(image.path,))


def header_rewrite_step(image: ImageState) -> CopyRanges:
    """Write the header of an image again as it is read then, for the same reason."""
    return CopyRanges(image.path, (Move(image.path, 0, 0, TABLE_OFFSET),))


def entry_steps(path: str, header: HdsHeader, entries: Iterable[Tuple[int, int]]) -> Iterator[Step]:
    """Write ascending pairs of cluster index and file offset (0: not allocated) to the table, in few pieces."""
    run: List[int] = []
    first = 0
    for cluster, offset in entries:
        if run and (cluster != first + len(run) or len(run) == _MOST_ENTRIES):
            yield WriteBytes(path, TABLE_OFFSET + first * _ENTRY_BYTES, pack_entries(header, run))
            run = []
        if not run:
            first = cluster
        run.append(offset)
    if run:
        yield WriteBytes(path, TABLE_OFFSET + first * _ENTRY_BYTES, pack_entries(header, run))


def clear_steps(path: str, start: int, end: int) -> Iterator[Step]:
    """Zeros in a range of a table, in pieces that share one block."""
    for offset in range(start, end, len(_ZEROS)):
        yield WriteBytes(path, offset, _ZEROS if end - offset >= len(_ZEROS) else _ZEROS[: end - offset])


def table_growth_steps(
    path: str, header: HdsHeader, grown: HdsHeader, entries: Sequence[Tuple[int, int]]
) -> Iterator[Step]:
    """Let an image in use hold more of the guest disk, with these new entries.

    Past its end an image hides the layers below; what hides them from then on is on the medium before the header says
    so.
    """
    room = grown.table_end - header.table_end
    if room:
        yield WriteBytes(path, header.table_end, bytes(room))
    yield from entry_steps(path, grown, entries)
    yield Sync(files=(path,))
    yield WriteBytes(path, 0, pack_header(replace(grown, in_use=IN_USE)))

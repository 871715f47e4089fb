# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of expanding images with other entries, and other facts of a changed image: pure rules."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from collections import deque
from typing import Optional, Sequence, Tuple

from .._bundle.bundle import ImageState
from .._core.records import replace
from .._core.units import SECTOR
from .._formats.hds.bat import RunTable, TableBuilder
from .._formats.hds.header import CLOSED, FLAG_EMPTY, FLAGS_UNKNOWN, HdsHeader, new_header


def with_entries(table: RunTable, header: HdsHeader, entries: Sequence[Tuple[int, int]]) -> RunTable:
    """``table`` with these entries, ascending pairs of cluster index and file offset, in place of its own."""
    builder = TableBuilder(header)
    unit, step = header.entry_bytes, header.cluster_bytes
    changed = deque(entries)

    def settle(before: Optional[int]) -> None:
        while changed and (before is None or changed[0][0] < before):
            cluster, offset = changed.popleft()
            builder.add(cluster, 1, offset // unit)

    for run in table.runs():
        settle(run.cluster)
        position, end = run.cluster, run.cluster + run.count
        while position < end:
            following = min(changed[0][0], end) if changed else end
            if following > position:
                builder.add(position, following - position, (run.offset + (position - run.cluster) * step) // unit)
            settle(min(following + 1, end))
            position = following + 1
    settle(None)
    return builder.build()


def clipped(table: RunTable, header: HdsHeader, clusters: int) -> RunTable:
    """``table`` for the first ``clusters`` of the guest disk alone, in the units of ``header``."""
    builder = TableBuilder(header)
    for run in table.runs(0, clusters):
        builder.add(run.cluster, run.count, run.offset // header.entry_bytes)
    return builder.build()


def offset_of_cluster(table: RunTable, cluster: int) -> Optional[int]:
    """The file offset of a guest cluster, None when it is not allocated."""
    return next((run.offset for run in table.runs(cluster, cluster + 1)), None)


def closed_flags(header: HdsHeader) -> int:
    """The flags of an image that is closed after a change."""
    return 0 if header.flags == FLAGS_UNKNOWN or header.flags > 0xFFFF else header.flags & ~FLAG_EMPTY


def closed(header: HdsHeader) -> HdsHeader:
    """The header of an image that is closed after a change and has no extension any more."""
    return replace(header, in_use=CLOSED, flags=closed_flags(header), ext_off=0)


def resized(header: HdsHeader, size: int, data_start: int) -> HdsHeader:
    """The header of an image that is made to hold ``size`` bytes, with clusters from ``data_start`` on, closed."""
    wanted = new_header(size_bytes=size, cluster_bytes=header.cluster_bytes, version=header.version)
    sizes = {"size_sectors": wanted.size_sectors, "bat_entries": wanted.bat_entries, "cylinders": wanted.cylinders}
    return replace(closed(header), data_off=data_start // SECTOR, **sizes)


def table_of(image: ImageState, header: HdsHeader) -> RunTable:
    """The table of an image; one that has none has no entries."""
    return TableBuilder(header).build() if image.table is None else image.table

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of expanding images with other entries, and what else is said of an image once it is changed: pure rules."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from collections import deque
from typing import Deque, Optional, Sequence, Tuple

from .._formats.hds.bat import RunTable, TableBuilder
from .._formats.hds.header import FLAG_EMPTY, FLAGS_UNKNOWN, HdsHeader


def with_entries(table: RunTable, header: HdsHeader, entries: Sequence[Tuple[int, int]]) -> RunTable:
    """``table`` with these entries, ascending pairs of cluster index and file offset, in the place of what it said
    of them.
    """
    builder = TableBuilder(header)
    unit, step = header.entry_bytes, header.cluster_bytes
    changed: Deque[Tuple[int, int]] = deque(entries)

    def settle(before: Optional[int]) -> None:
        while changed and (before is None or changed[0][0] < before):
            cluster, offset = changed.popleft()
            builder.add(cluster, 1, offset // unit)

    for run in table.runs():
        settle(run.cluster)
        position, end = run.cluster, run.cluster + run.count
        while changed and changed[0][0] < end:
            cluster = changed[0][0]
            if cluster > position:
                builder.add(position, cluster - position, (run.offset + (position - run.cluster) * step) // unit)
            settle(cluster + 1)
            position = cluster + 1
        if position < end:
            builder.add(position, end - position, (run.offset + (position - run.cluster) * step) // unit)
    settle(None)
    return builder.build()


def clipped(table: RunTable, header: HdsHeader, clusters: int) -> RunTable:
    """``table`` without what lies behind the first ``clusters`` of the guest disk, in the words of ``header``."""
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

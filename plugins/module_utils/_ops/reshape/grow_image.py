# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an expanding image comes to hold another length of the guest disk: pure arithmetic over its header and table.

::

    | header | table | 0 1 2 3 | 4 5 6 ...          the longer table needs the places of clusters 0 to 3:
    | header | table . . . . . | 4 5 6 ... 0 1 2 3  they are copied to places further on, the table names those,
    | header | table + new     | 4 5 6 ... 0 1 2 3  and only then the room becomes a part of the table
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, List, Optional, Tuple

from ..._bundle.bundle import ImageState
from ..._change.table import clipped, closed_flags, offset_of_cluster, with_entries
from ..._core.errors import BadRequest
from ..._core.plan import Move
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR, ceil_div, format_size
from ..._formats.hds.bat import RunTable, TableBuilder
from ..._formats.hds.header import CLOSED, HdsHeader, max_size_bytes, new_header


@dataclass(frozen=True)
class GrownImage:
    """An image that is to hold more. ``header`` and ``table`` are those it will have, closed.

    ``moves`` and ``relocated`` (cluster index and new offset) clear the room of the table; ``zeroed`` is what the last
    cluster held behind the end of the disk. Clusters from ``first_new`` on are new; they get the places from
    ``reserved_at`` on unless that is None.
    """

    image: ImageState
    header: HdsHeader
    table: RunTable
    moves: Tuple[Move, ...]
    relocated: Tuple[Tuple[int, int], ...]
    zeroed: Tuple[Move, ...]
    first_new: int
    reserved_at: Optional[int]
    size_after: int

    @property
    def written(self) -> int:
        """Bytes of clusters written."""
        return sum(move.length for move in self.moves + self.zeroed)

    @property
    def read(self) -> int:
        """Bytes of clusters read."""
        return sum(move.length for move in self.moves)

    @property
    def needed(self) -> int:
        """Bytes that the file system must have: copies, the new part of the table, and the clusters that are
        reserved.
        """
        reserved = 0 if self.reserved_at is None else self.size_after - self.reserved_at
        return self.written + 4 * (self.header.bat_entries - self.first_new) + reserved


def grow_image(image: ImageState, header: HdsHeader, table: RunTable, size: int, *, reserve: bool) -> GrownImage:
    """What makes an image hold ``size`` bytes. ``reserve`` gives each new cluster a place.

    What the guest does not see now, behind ``image.size``, will read as zeros. Raises BadRequest for more than the
    format version can hold.
    """
    step = header.cluster_bytes
    _refuse_too_large(image, header, size)
    wanted = new_header(size_bytes=size, cluster_bytes=step, version=header.version)
    table_end = wanted.table_end
    start = header.data_start
    data_start = start + max(0, ceil_div(table_end - start, step)) * step
    grown = replace(
        header,
        size_sectors=wanted.size_sectors,
        bat_entries=wanted.bat_entries,
        cylinders=wanted.cylinders,
        data_off=data_start // SECTOR,
        in_use=CLOSED,
        flags=closed_flags(header),
        ext_off=0,
    )
    first_new = ceil_div(image.size, step)
    kept = clipped(table, header, first_new)
    relocated, end = _new_places(image, header, kept, data_start)
    moved = dict(relocated)
    size_after = max(
        image.stat.size, data_start, end if any(offset >= image.stat.size for offset in moved.values()) else 0
    )
    moves = [
        Move(image.path, offset_of_cluster(kept, cluster) or 0, offset, _length(image, cluster, step))
        for cluster, offset in relocated
    ]
    moves = [move._replace(length=min(move.length, image.stat.size - move.source_offset)) for move in moves]
    table_after = with_entries(kept, grown, relocated)
    zeroed: List[Move] = []
    last = offset_of_cluster(table_after, first_new - 1) if image.size % step else None
    if last is not None:
        size_after = max(size_after, last + step)
        stale = min(last + step, image.stat.size) - (last + image.size % step)
        zeroed = [Move(None, 0, last + image.size % step, stale)] if stale > 0 else []
    reserved_at = None
    if reserve and wanted.bat_entries > first_new:
        reserved_at = data_start + ceil_div(size_after - data_start, step) * step
        size_after = reserved_at + (wanted.bat_entries - first_new) * step
        builder = TableBuilder(grown)
        for run in table_after.runs():
            builder.add(run.cluster, run.count, run.offset // grown.entry_bytes)
        builder.add(first_new, wanted.bat_entries - first_new, reserved_at // grown.entry_bytes)
        table_after = builder.build()
    return GrownImage(
        image, grown, table_after, tuple(moves), tuple(relocated), tuple(zeroed), first_new, reserved_at, size_after
    )


def _length(image: ImageState, cluster: int, step: int) -> int:
    """What the guest sees of a cluster; the rest of the last one is not worth keeping."""
    return min(step, image.size - cluster * step)


def _refuse_too_large(image: ImageState, header: HdsHeader, size: int) -> None:
    largest = max_size_bytes(header.version, header.cluster_bytes)
    if size > largest:
        raise BadRequest(
            f"size: {format_size(size)} do not fit format version {header.version}"
            f" with clusters of {format_size(header.cluster_bytes)}",
            path=image.path,
            expected=f"at most {largest} bytes",
            found=size,
            hint='Set format_version: "2" as well, which rewrites the disk in that version.'
            if header.version == 1
            else "Choose a smaller size.",
        )


def _new_places(
    image: ImageState, header: HdsHeader, table: RunTable, data_start: int
) -> Tuple[List[Tuple[int, int]], int]:
    """New offsets, by cluster, for what lies before ``data_start``: unused places first, then the end of the file;
    and where that ends.
    """
    step = header.cluster_bytes
    low = sorted(
        run.cluster + index
        for run in table.runs()
        if run.offset < data_start
        for index in range(run.count)
        if run.offset + index * step < data_start
    )
    end = data_start + ceil_div(max(0, image.stat.size - data_start), step) * step
    places = _unused_places(image, data_start, step)
    found: List[Tuple[int, int]] = []
    for cluster in low:
        offset = next(places, None)
        if offset is None:
            offset, end = end, end + step
        found.append((cluster, offset))
    return found, end


def _unused_places(image: ImageState, data_start: int, step: int) -> Iterator[int]:
    for start, end in image.unused:
        first = max(start, data_start)
        yield from range(first, end - step + 1, step)

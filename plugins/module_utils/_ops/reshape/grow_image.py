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

from itertools import chain, count
from typing import Iterator, List, Optional, Tuple

from ..._bundle.bundle import ImageState
from ..._change.table import clipped, offset_of_cluster, resized, table_of, with_entries
from ..._core.errors import BadRequest
from ..._core.plan import Move
from ..._core.records import dataclass, replace
from ..._core.units import ceil_div, format_size
from ..._formats.hds.bat import RunTable, TableBuilder
from ..._formats.hds.header import HdsHeader, max_size_bytes, new_header


@dataclass(frozen=True)
class GrownImage:
    """An image that is to hold more. ``header`` and ``table`` are those it will have, closed.

    ``moves`` and ``relocated`` (cluster index and new offset) clear the room of the table; ``zeroed`` is what the last
    cluster held past the end of the disk. Clusters from ``first_new`` on are new; they get the places from
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
        """Bytes that the file system must have: copies, the new part of the table, and reserved clusters."""
        reserved = 0 if self.reserved_at is None else self.size_after - self.reserved_at
        return self.written + 4 * (self.header.bat_entries - self.first_new) + reserved


def grow_image(image: ImageState, header: HdsHeader, size: int, *, reserve: bool) -> GrownImage:
    """What makes an image hold ``size`` bytes. ``reserve`` gives each new cluster a slot.

    What the guest does not see now, after ``image.size``, will read as zeros. Raises BadRequest for more than the
    format version can hold.
    """
    _refuse_too_large(image, header, size)
    grown, step = _grown_header(header, size), header.cluster_bytes
    first_new = ceil_div(image.size, step)
    kept = clipped(table_of(image, header), header, first_new)
    relocated = _new_places(image, header, kept, grown.data_start)
    moves = tuple(_move(image, kept, cluster, offset) for cluster, offset in relocated)
    size_after = max([image.stat.size, grown.data_start, *(offset + step for _cluster, offset in relocated)])
    table = with_entries(kept, grown, relocated)
    zeroed: Tuple[Move, ...] = ()
    last = offset_of_cluster(table, first_new - 1) if image.size % step else None
    if last is not None:
        size_after = max(size_after, last + step)
        zeroed = _stale_end(image, last, step)
    found = GrownImage(image, grown, table, moves, tuple(relocated), zeroed, first_new, None, size_after)
    return _with_reserved(found) if reserve and grown.bat_entries > first_new else found


def _grown_header(header: HdsHeader, size: int) -> HdsHeader:
    step, start = header.cluster_bytes, header.data_start
    table_end = new_header(size_bytes=size, cluster_bytes=step, version=header.version).table_end
    return resized(header, size, start + max(0, ceil_div(table_end - start, step)) * step)


def _move(image: ImageState, table: RunTable, cluster: int, target: int) -> Move:
    """What the guest sees of a cluster moves; the rest of the last one is not worth keeping."""
    source = offset_of_cluster(table, cluster) or 0
    visible = min(table.cluster_bytes, image.size - cluster * table.cluster_bytes)
    return Move(image.path, source, target, min(visible, image.stat.size - source))


def _stale_end(image: ImageState, place: int, step: int) -> Tuple[Move, ...]:
    """Zeros over what the last cluster, which is at ``place``, holds past the end of the disk."""
    start, end = place + image.size % step, min(place + step, image.stat.size)
    return (Move(None, 0, start, end - start),) if start < end else ()


def _with_reserved(found: GrownImage) -> GrownImage:
    header, first = found.header, found.first_new
    start, step, added = header.data_start, header.cluster_bytes, header.bat_entries - first
    reserved_at = start + ceil_div(found.size_after - start, step) * step
    builder = TableBuilder(header)
    for run in found.table.runs():
        builder.add(run.cluster, run.count, run.offset // header.entry_bytes)
    builder.add(first, added, reserved_at // header.entry_bytes)
    return replace(found, table=builder.build(), reserved_at=reserved_at, size_after=reserved_at + added * step)


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


def _new_places(image: ImageState, header: HdsHeader, table: RunTable, data_start: int) -> List[Tuple[int, int]]:
    """New offsets, by cluster, for what is before ``data_start``: unused places first, then the end of the file."""
    step = header.cluster_bytes
    low = sorted(
        run.cluster + index
        for run in table.runs()
        if run.offset < data_start
        for index in range(min(run.count, ceil_div(data_start - run.offset, step)))
    )
    end = data_start + ceil_div(max(0, image.stat.size - data_start), step) * step
    return list(zip(low, chain(_unused_places(image, data_start, step), count(end, step))))


def _unused_places(image: ImageState, data_start: int, step: int) -> Iterator[int]:
    for start, end in image.unused:
        first = max(start, data_start)
        yield from range(first, end - step + 1, step)

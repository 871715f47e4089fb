# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merging a run of layers in one storage: which file takes the rest in, and what moves where.

::

    survivor   A A . . .          the layers of a group, topmost first; the lower ones are to vanish
    removed    . B B . .          each cluster has one winner: the topmost layer that holds it
    removed    C C C C .
               A A B C .          the receiver is the file that already holds most visible_extents; only the others move

Clusters that the receiver lacks go to places that no table refers to ("fresh"). Clusters that it holds but has lost
are overwritten; in every view that survives they are hidden by the winner until the commit.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..._bundle.bundle import ImageState
from ..._change.slots import Slots
from ..._core.errors import Unsupported
from ..._core.extents import ABSENT, DATA, ZERO, Extent, coalesce, overlay_all
from ..._core.plan import Move
from ..._core.ranges import rounded
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR
from ..._formats.hds.header import HdsHeader, max_size_bytes, new_header
from ..._guest.view import LayerStack, layer_extents

if TYPE_CHECKING:
    from ..._formats.image import ImageReader
    from ..._formats.place import Place

CLEAR = "clear"
"""Zeros over layers that read as zeros, too: to be written only where the receiver holds something."""

_V1_FILE_LIMIT = (1 << 32) * SECTOR


@dataclass(frozen=True)
class Group:
    """The images of one group in one storage, topmost (the survivor) first, and the open readers of the whole chain.

    ``stack`` holds the chain from the survivor to the root; its first ``len(images)`` layers are the group.
    """

    storage: int
    survivor: str
    images: Tuple[ImageState, ...]
    stack: LayerStack[ImageReader]


class Placement(NamedTuple):
    """What a receiver takes in. ``entries`` are pairs of cluster index and new file offset, ascending.

    ``filled`` are the bytes of ``overwrites`` that go into holes of the file and so need room although it does not
    grow.
    """

    fresh: Tuple[Move, ...]
    overwrites: Tuple[Move, ...]
    entries: Tuple[Tuple[int, int], ...]
    size_after: int
    filled: int = 0


def visible_extents(group: Group) -> List[Extent]:
    """Who answers for each part of the group's range: DATA and ZERO must be kept, CLEAR and ABSENT are left to the
    layers below.
    """
    stack, count = group.stack, len(group.images)
    merged = overlay_all([layer_extents(stack.layers[i], group.images[i].size, 0, stack.size, i) for i in range(count)])
    below: Iterable[Extent] = ()
    if len(stack.layers) > count:
        lower = LayerStack(stack.layers[count:], stack.sizes[count:], stack.size)
        below = lower.extents(0, stack.size)
    return list(coalesce(_judge_zeros(merged, iter(below))))


def _judge_zeros(merged: Iterable[Extent], below: Iterator[Extent]) -> Iterator[Extent]:
    lower = next(below, None)
    for extent in merged:
        if extent.kind != ZERO:
            yield extent
            continue
        position = extent.start
        while position < extent.end:
            while lower is not None and lower.end <= position:
                lower = next(below, None)
            end = extent.end if lower is None else min(extent.end, lower.end)
            hides = lower is not None and lower.kind == DATA
            yield Extent(position, end - position, ZERO if hides else CLEAR, extent.layer)
            position = end


def cost(group: Group, extents: Sequence[Extent], receiver: int) -> int:
    """Bytes to be written when layer ``receiver`` takes the rest in: data, and zeros where it holds data that has
    lost.
    """
    return sum(
        extent.length if extent.kind == DATA else _held_bytes(group, receiver, extent)
        for extent in _foreign(group, extents, receiver)
    )


def _foreign(group: Group, extents: Iterable[Extent], receiver: Optional[int]) -> Iterator[Extent]:
    """What the receiver does not have yet.

    The zeros behind its end are among it, because it may grow, but none behind the end that it gets.
    """
    held = 0 if receiver is None else group.images[receiver].size
    limit = max(held, group.images[0].size)
    for extent in extents:
        start = extent.start if extent.layer != receiver else max(extent.start, held)
        end = min(extent.end, limit)
        if start < end and extent.kind != ABSENT:
            yield Extent(start, end - start, extent.kind, extent.layer)


def _held(group: Group, receiver: int, extent: Extent) -> Iterator[Extent]:
    """The parts of the range of ``extent`` for which the receiver stores data."""
    inside = min(extent.end, group.images[receiver].size) - extent.start
    return (
        (part for part in group.stack.layers[receiver].extents(extent.start, max(0, inside)) if part.kind == DATA)
        if inside > 0
        else iter(())
    )


def _held_bytes(group: Group, receiver: int, extent: Extent) -> int:
    return sum(part.length for part in _held(group, receiver, extent))


def common_cluster_bytes(images: Sequence[ImageState]) -> int:
    """The cluster size of the group's expanding images. Raises Unsupported when they differ."""
    sizes = {image.header.cluster_bytes for image in images if image.header is not None}
    if len(sizes) != 1:
        raise Unsupported(
            "Layers with different cluster sizes cannot be merged",
            path=images[0].path,
            found=sorted(sizes),
            hint="Export the disk with hdd_convert instead.",
        )
    return sizes.pop()


def refuse_ragged(group: Group, extents: Sequence[Extent], receiver: Optional[int], step: int) -> None:
    """Raise Unsupported when the receiver would hold a part of a cluster and leave the rest to the layers below the
    group.

    That takes a layer that ends within the cluster and is shorter than one below it; no table can say it.
    """
    if len(group.stack.layers) == len(group.images):
        return
    for end in {image.size for image in group.images if image.size % step and image.size < group.stack.size}:
        low, high = end - end % step, end - end % step + step
        taken = any(
            extent.start < high and extent.end > low and extent.kind != CLEAR
            for extent in _foreign(group, extents, receiver)
        )
        if taken and any(extent.start < high and extent.end > low and extent.kind == ABSENT for extent in extents):
            raise Unsupported(
                "A layer ends within a cluster before the end of the disk and cannot be merged on its own",
                path=next(image.path for image in group.images if image.size == end),
                found=end,
                hint="Merge it together with all layers below it, or export the disk with hdd_convert.",
            )


def place_in_plain(group: Group, extents: Sequence[Extent], receiver: int) -> Placement:
    """The plain root takes everything in, at its own guest offsets."""
    overwrites: List[Move] = []
    filled = 0
    for extent in _foreign(group, extents, receiver):
        overwrites += _overwrites(group, receiver, extent, extent.start)
        filled += _filled(group, receiver, extent)
    size = max(group.images[receiver].stat.size, group.images[0].size)
    return Placement((), tuple(overwrites), (), size, filled)


def place_in_expanding(
    group: Group, extents: Sequence[Extent], receiver: Optional[int], *, cluster_bytes: int, slots: Slots, version: int
) -> Placement:
    """An expanding image (None: a new, empty one) takes in what it lacks."""
    gaps: List[Extent] = []
    overwrites: List[Move] = []
    filled = 0
    for extent in _foreign(group, extents, receiver):
        position = extent.start
        for start, length, _file, offset in _present(group, extent, receiver):
            gaps += _gap(extent, position, start)
            taken = Extent(start, length, extent.kind, extent.layer)
            if receiver is not None:
                overwrites += _overwrites(group, receiver, taken, offset)
                filled += _filled(group, receiver, taken)
            position = start + length
        gaps += _gap(extent, position, extent.end)
    fresh, entries, end = _allocate(group, gaps, cluster_bytes, slots)
    if version == 1 and end > _V1_FILE_LIMIT:
        raise Unsupported(
            "The image would become too long for format version 1",
            path=group.images[0].path,
            found=end,
            expected=f"at most {_V1_FILE_LIMIT} bytes",
        )
    return Placement(tuple(fresh), tuple(overwrites), tuple(entries), end, filled)


def _present(group: Group, extent: Extent, receiver: Optional[int]) -> Iterator[Place]:
    """The parts of the range of ``extent`` that the receiver has clusters for."""
    if receiver is None:
        return iter(())
    inside = min(extent.end, group.images[receiver].size) - extent.start
    return group.stack.layers[receiver].places(extent.start, inside) if inside > 0 else iter(())


def _gap(extent: Extent, start: int, end: int) -> List[Extent]:
    if end <= start or extent.kind == CLEAR:
        return []
    return [Extent(start, end - start, extent.kind, extent.layer)]


def _overwrites(group: Group, receiver: int, extent: Extent, target: int) -> List[Move]:
    """Moves that put ``extent`` over what the receiver holds at file offset ``target``; its holes are zeros already."""
    if extent.kind == DATA:
        return _moves(group, extent, target)
    return [Move(None, 0, target + part.start - extent.start, part.length) for part in _held(group, receiver, extent)]


def _filled(group: Group, receiver: int, extent: Extent) -> int:
    return extent.length - _held_bytes(group, receiver, extent) if extent.kind == DATA else 0


def _moves(group: Group, extent: Extent, target: int) -> List[Move]:
    """Moves that put ``extent`` at file offset ``target``."""
    if extent.kind != DATA:
        return [Move(None, 0, target, extent.length)]
    source = group.stack.layers[extent.layer]
    path = group.images[extent.layer].path
    return [
        Move(path, offset, target + start - extent.start, length)
        for start, length, _file, offset in source.places(extent.start, extent.length)
    ]


def _allocate(
    group: Group, gaps: Sequence[Extent], step: int, slots: Slots
) -> Tuple[List[Move], List[Tuple[int, int]], int]:
    """Give every cluster that a gap touches a place; returns moves, table entries and the end of the file."""
    moves: List[Move] = []
    entries: List[Tuple[int, int]] = []
    room = _Room(slots, step)
    waiting = list(reversed(gaps))
    for start, stop in rounded(((gap.start, gap.end) for gap in gaps), step):
        for cluster, number, offset, is_stale in room.take(start // step, (stop - start) // step):
            entries += [(cluster + index, offset + index * step) for index in range(number)]
            inner = _fill(group, waiting, cluster * step, number * step, offset)
            if is_stale and sum(move.length for move in inner if move.source is not None) < number * step:
                moves.append(Move(None, 0, offset, number * step))
            moves += inner if is_stale else [move for move in inner if move.source is not None]
    return moves, entries, room.end


def _fill(group: Group, waiting: List[Extent], start: int, length: int, offset: int) -> List[Move]:
    """Moves for the parts of the gaps in ``waiting`` (last first) that lie in a range; what lies behind it stays
    waiting.
    """
    moves: List[Move] = []
    end = start + length
    while waiting and waiting[-1].start < end:
        gap = waiting.pop()
        if gap.end > end:
            waiting.append(Extent(end, gap.end - end, gap.kind, gap.layer))
            gap = Extent(gap.start, end - gap.start, gap.kind, gap.layer)
        moves += _moves(group, gap, offset + gap.start - start)
    return moves


class _Room:
    """Hands out places for clusters: reusable ones first, then the end of the file."""

    def __init__(self, slots: Slots, step: int) -> None:
        self._reusable = list(reversed(slots.reusable))
        self._step = step
        self.end = slots.append_at

    def take(self, cluster: int, count: int) -> Iterator[Tuple[int, int, int, bool]]:
        """Pieces (cluster, number, file offset, whether old bytes lie there) that together hold ``count`` clusters."""
        while count and self._reusable:
            start, end = self._reusable.pop()
            number = min(count, (end - start) // self._step)
            if start + number * self._step < end:
                self._reusable.append((start + number * self._step, end))
            yield cluster, number, start, True
            cluster, count = cluster + number, count - number
        if count:
            offset, self.end = self.end, self.end + count * self._step
            yield cluster, count, offset, False


def may_receive(image: ImageState, survivor: ImageState) -> bool:
    """Whether an image can become the merged one: our own to change, and large enough or able to grow where it lies."""
    if image.outside:
        return False
    if image.header is None:
        return True
    return image.header.size_bytes >= survivor.size or grown_header(image.header, survivor.size) is not None


def grown_header(header: HdsHeader, size: int) -> Optional[HdsHeader]:
    """The header of the same image made to hold ``size`` guest bytes; None when it does already, or when it cannot.

    Its table must have room to grow, and its last cluster must be whole: what lies behind the end of the disk is not
    known to be zero.
    """
    if header.size_bytes >= size or header.size_bytes % header.cluster_bytes:
        return None
    if size > max_size_bytes(header.version, header.cluster_bytes):
        return None
    wanted = new_header(size_bytes=size, cluster_bytes=header.cluster_bytes, version=header.version)
    grown = replace(
        header,
        size_sectors=wanted.size_sectors,
        bat_entries=max(header.bat_entries, wanted.bat_entries),
        cylinders=wanted.cylinders,
    )
    return grown if header.data_off and grown.table_end <= header.data_start else None

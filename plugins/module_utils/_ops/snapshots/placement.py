# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merging a run of layers in one storage: which file takes the rest in, and what moves where.

::

    survivor   A A . . .          the layers of a group, topmost first; the lower ones are to vanish
    removed    . B B . .          of each cluster the topmost layer that holds it is visible
    removed    C C C C .
               A A B C .          the receiver is the file that holds most of what is visible; only the rest moves

Clusters that the receiver lacks go to slots that no table refers to ("fresh"). Clusters that it holds but that are
hidden are overwritten; in every view that survives, what hides them does so until the commit.
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

    ``filled`` are the bytes of ``overwrites`` that go into holes of the file: they need room although it does not grow.
    """

    fresh: Tuple[Move, ...]
    overwrites: Tuple[Move, ...]
    entries: Tuple[Tuple[int, int], ...]
    size_after: int
    filled: int = 0


def visible_extents(group: Group) -> List[Extent]:
    """Who answers for each part: DATA and ZERO are to be kept, CLEAR and ABSENT are left to the layers below."""
    stack, count = group.stack, len(group.images)
    merged = overlay_all([layer_extents(stack.layers[i], group.images[i].size, 0, stack.size, i) for i in range(count)])
    below = stack.below(count).extents(0, stack.size) if len(stack.layers) > count else iter(())
    return list(coalesce(_judge_zeros(merged, below)))


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


@dataclass(frozen=True)
class Candidate:
    """Layer ``index`` of a group (None: a new, empty image) as what takes in ``extents``, all that the group shows."""

    group: Group
    extents: Sequence[Extent]
    index: Optional[int]

    @property
    def cost(self) -> int:
        """Bytes to be written: data, and zeros over data of its own that is hidden."""
        return sum(e.length if e.kind == DATA else self.held_bytes(e) for e in self.missing())

    def missing(self) -> Iterator[Extent]:
        """What it does not have yet.

        The zeros after its end are among it, because it may grow, but none after the end that it gets.
        """
        held = 0 if self.index is None else self.group.images[self.index].size
        limit = max(held, self.group.images[0].size)
        for extent in self.extents:
            start = extent.start if extent.layer != self.index else max(extent.start, held)
            end = min(extent.end, limit)
            if start < end and extent.kind != ABSENT:
                yield Extent(start, end - start, extent.kind, extent.layer)

    def held(self, extent: Extent) -> Iterator[Extent]:
        """The parts of the range of ``extent`` for which it stores data."""
        length = self._length_of(extent)
        if self.index is not None and length:
            parts = self.group.stack.layers[self.index].extents(extent.start, length)
            yield from (part for part in parts if part.kind == DATA)

    def held_bytes(self, extent: Extent) -> int:
        """The length of those parts."""
        return sum(part.length for part in self.held(extent))

    def present(self, extent: Extent) -> Iterator[Place]:
        """The parts of the range of ``extent`` that it has clusters for."""
        length = self._length_of(extent)
        if self.index is not None and length:
            yield from self.group.stack.layers[self.index].places(extent.start, length)

    def _length_of(self, extent: Extent) -> int:
        end = 0 if self.index is None else self.group.images[self.index].size
        return max(0, min(extent.end, end) - extent.start)

    def overwrites(self, extent: Extent, target: int) -> List[Move]:
        """Moves that put ``extent`` over what it holds at file offset ``target``; its holes are zeros already."""
        if extent.kind == DATA:
            return _moves(self.group, extent, target)
        return [Move(None, 0, target + part.start - extent.start, part.length) for part in self.held(extent)]

    def filled(self, extent: Extent) -> int:
        """Bytes of those moves that go into holes of the file."""
        return extent.length - self.held_bytes(extent) if extent.kind == DATA else 0


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


def refuse_ragged(candidate: Candidate) -> None:
    """Raise Unsupported when the receiver would hold a part of a cluster and the layers below the group the rest.

    That takes a layer that ends within the cluster and is shorter than one below it; no table can say it.
    """
    group = candidate.group
    if len(group.stack.layers) == len(group.images):
        return
    step = common_cluster_bytes(group.images)
    for image in group.images:
        if (
            image.size % step
            and image.size < group.stack.size
            and _is_shared(candidate, image.size // step * step, step)
        ):
            raise Unsupported(
                "A layer ends within a cluster before the end of the disk and cannot be merged on its own",
                path=image.path,
                found=image.size,
                hint="Merge it together with all layers below it, or export the disk with hdd_convert.",
            )


def _is_shared(candidate: Candidate, start: int, length: int) -> bool:
    """Whether the receiver takes in a part of a range, and the layers below the group answer for another."""
    end = start + length
    taken = any(e.start < end and e.end > start and e.kind != CLEAR for e in candidate.missing())
    return taken and any(e.start < end and e.end > start and e.kind == ABSENT for e in candidate.extents)


def place_in_plain(candidate: Candidate, image: ImageState) -> Placement:
    """The plain root ``image`` takes everything in, at its own guest offsets."""
    overwrites: List[Move] = []
    filled = 0
    for extent in candidate.missing():
        overwrites += candidate.overwrites(extent, extent.start)
        filled += candidate.filled(extent)
    size = max(image.stat.size, candidate.group.images[0].size)
    return Placement((), tuple(overwrites), (), size, filled)


def place_in_expanding(candidate: Candidate, slots: Slots, version: int) -> Placement:
    """An expanding image with free ``slots`` takes in what it lacks."""
    gaps: List[Extent] = []
    overwrites: List[Move] = []
    filled = 0
    for extent in candidate.missing():
        position = extent.start
        for start, length, _file, offset in candidate.present(extent):
            gaps += _gap(extent, position, start)
            taken = Extent(start, length, extent.kind, extent.layer)
            overwrites += candidate.overwrites(taken, offset)
            filled += candidate.filled(taken)
            position = start + length
        gaps += _gap(extent, position, extent.end)
    fresh, entries, end = _allocate(candidate.group, gaps, slots)
    if version == 1:
        _refuse_long(candidate.group, end)
    return Placement(tuple(fresh), tuple(overwrites), tuple(entries), end, filled)


def _refuse_long(group: Group, end: int) -> None:
    if end > _V1_FILE_LIMIT:
        raise Unsupported(
            "The image would become too long for format version 1",
            path=group.images[0].path,
            found=end,
            expected=f"at most {_V1_FILE_LIMIT} bytes",
        )


def _gap(extent: Extent, start: int, end: int) -> List[Extent]:
    if end <= start or extent.kind == CLEAR:
        return []
    return [Extent(start, end - start, extent.kind, extent.layer)]


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


def _allocate(group: Group, gaps: Sequence[Extent], slots: Slots) -> Tuple[List[Move], List[Tuple[int, int]], int]:
    """Give every cluster that a gap touches a slot; returns moves, table entries and the end of the file."""
    moves: List[Move] = []
    entries: List[Tuple[int, int]] = []
    step = common_cluster_bytes(group.images)
    room, waiting = _Room(slots, step), _Gaps(group, gaps)
    for start, stop in rounded(((gap.start, gap.end) for gap in gaps), step):
        for cluster, number, offset, is_stale in room.take(start // step, (stop - start) // step):
            entries += [(cluster + index, offset + index * step) for index in range(number)]
            inner = waiting.moves(cluster * step, (cluster + number) * step, offset)
            data = [move for move in inner if move.source is not None]
            if is_stale and sum(move.length for move in data) < number * step:
                moves.append(Move(None, 0, offset, number * step))
            moves += inner if is_stale else data
    return moves, entries, room.end


class _Gaps:
    """What is to go into new clusters, taken from its beginning on."""

    def __init__(self, group: Group, gaps: Sequence[Extent]) -> None:
        self._group = group
        self._waiting = list(reversed(gaps))

    def moves(self, start: int, end: int, offset: int) -> List[Move]:
        """Moves that put what is before guest byte ``end`` where ``start`` is at file ``offset``."""
        moves: List[Move] = []
        while self._waiting and self._waiting[-1].start < end:
            gap = self._waiting.pop()
            if gap.end > end:
                self._waiting.append(Extent(end, gap.end - end, gap.kind, gap.layer))
                gap = Extent(gap.start, end - gap.start, gap.kind, gap.layer)
            moves += _moves(self._group, gap, offset + gap.start - start)
        return moves


class _Room:
    """Hands out slots for clusters: reusable ones first, then the end of the file."""

    def __init__(self, slots: Slots, step: int) -> None:
        self._reusable = list(reversed(slots.reusable))
        self._step = step
        self.end = slots.append_at

    def take(self, cluster: int, count: int) -> Iterator[Tuple[int, int, int, bool]]:
        """Pieces (cluster, number, file offset, whether old bytes are there) that together hold ``count`` clusters."""
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

    Its table must have room to grow, and its last cluster must be whole: what is past the end of the disk may not be
    zero.
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

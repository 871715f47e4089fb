# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ways in which one image gives room back. Whatever cuts them off, the disk reads the same.

::

    relocation    A 0 B . C D     ->  A C B D               the last clusters move into the gaps, the file is cut
    fresh copy    C 0 A . B D     ->  A B C D               a new file in guest order takes the name of the old one
    holes         A 0 B . C D     ->  A _ B _ C D           the host's blocks go, the length stays
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Iterator, List, Optional, Tuple, Union

from ..._bundle.bundle import ImageState
from ..._bundle.naming import UNFINISHED_COPY, temporary_name
from ..._change.image import TABLE_OFFSET, clear_steps, close_steps, mark_steps
from ..._core.plan import (
    CopyRanges,
    CreateFile,
    Move,
    PunchHoles,
    Rename,
    Resize,
    Step,
    Sync,
    Transfer,
    WriteBytes,
)
from ..._core.records import dataclass, replace
from ..._formats.hds.bat import pack_entries
from ..._formats.hds.header import ENTRY_BYTES, HdsHeader, new_header, pack_header
from ..._io.port import File, Port
from ..._io.sparse import holes
from .clusters import Clusters
from .relocate import kept_runs, packed_end, pinned_slots, relocate

if TYPE_CHECKING:
    from .free_map_check import FreeMapCheck

_MOST_ENTRIES = 65536
"""Of a table, written at once."""


@dataclass(frozen=True)
class Relocation:
    """Forget the ``dropped`` clusters and move the last ones into the gaps.

    Each step comes after a barrier: mark in use; forget the dropped clusters; move the last clusters into the gaps;
    point the table at them; cut the file; unmark. A slot is reused only when the table that named it is durably gone,
    and left only when the table that names its successor is durable. Needs no room.
    """

    image: ImageState
    header: HdsHeader
    dropped: Clusters

    @property
    def size_after(self) -> int:
        """The length of the file."""
        after_pinned = [high for _low, high in pinned_slots(self.image, self.header)]
        # A file that ends within its last cluster is not made longer.
        return min(max([packed_end(self.image, self.header, self.dropped), *after_pinned]), self.image.stat.size)

    @property
    def reclaimable(self) -> int:
        """Bytes by which the file becomes shorter."""
        return max(0, self.image.stat.size - self.size_after)

    @property
    def moves_data(self) -> bool:
        """Whether clusters change their place in the file."""
        return bool(relocate(self.image, self.header, self.dropped))

    def steps(self, port: Port) -> Iterator[Step]:
        """The change of the image, which is closed afterwards."""
        path = self.image.path
        yield from mark_steps([self.image])
        if self.dropped:
            yield from forget_steps(path, self.dropped.ranges())
            yield Sync(files=(path,))
        relocated = relocate(self.image, self.header, self.dropped)
        if relocated:
            moves = relocated.moves(path, self.image.stat.size)
            yield CopyRanges(path, tuple(self._stored_parts(port, moves)))
            yield Sync(files=(path,))
            yield from entry_run_steps(path, self.header, relocated.entries())
            yield Sync(files=(path,))
        yield Resize(path, self.size_after)
        yield from close_steps([self.image], keep_extension=True)

    def _stored_parts(self, port: Port, moves: Iterable[Move]) -> Iterator[Move]:
        """The moves without what is a hole in both places, so that the file takes no more blocks than before."""
        file = port.open_read(self.image.path)
        try:
            for move in moves:
                shift = move.target_offset - move.source_offset
                start, end = move.source_offset, move.source_offset + move.length
                stored = list(file.data_ranges(start, end))
                for low, high in stored:
                    yield Move(move.source, low, low + shift, high - low)
                for low, high in holes(iter(stored), start, end):
                    # What is in the slot already must not show where the cluster has a hole.
                    for begin, stop in file.data_ranges(low + shift, high + shift):
                        yield Move(None, 0, begin, stop - begin)
        finally:
            file.close()

    def after(self) -> ImageState:
        """The image as it will be."""
        return _closed(self.image, self.header, self.size_after, len(self.dropped))


@dataclass(frozen=True)
class FreshCopy:
    """The clusters that are not ``dropped`` in a new file, in guest order. The commit is its rename over the old one.

    Links to the image by name, as linked clones have them, stay right. ``dense`` reserves all of its blocks, ``check``
    looks at the copy before it gets its name. Needs room for the data.
    """

    image: ImageState
    header: HdsHeader
    dropped: Clusters
    directory: str
    dense: bool
    check: Optional[FreeMapCheck] = None

    @property
    def fresh(self) -> HdsHeader:
        """The header of the new file."""
        old = self.header
        made = new_header(size_bytes=old.size_bytes, cluster_bytes=old.cluster_bytes, version=old.version)
        return replace(made, heads=old.heads, cylinders=old.cylinders)

    @property
    def size_after(self) -> int:
        """The length of the new file."""
        return self.fresh.data_start + (self.image.used_clusters - len(self.dropped)) * self.header.cluster_bytes

    @property
    def reclaimable(self) -> int:
        """Bytes by which the new file is shorter."""
        return max(0, self.image.stat.size - self.size_after)

    @property
    def temporary(self) -> str:
        """Where the new file is until it is complete."""
        return f"{self.directory}/{temporary_name(self.image.path.rsplit('/', 1)[-1], UNFINISHED_COPY)}"

    @property
    def moves_data(self) -> bool:
        """Whether clusters change their place in the file."""
        return True

    def steps(self, port: Port) -> Iterator[Step]:
        """The new file, complete and durable, then its name."""
        fresh, path = self.fresh, self.temporary
        moves = tuple(self._moves(port, fresh))
        yield CreateFile(path, self.size_after, reserve=self.dense, like=self.image.path, hold=True)
        if moves:
            yield CopyRanges(path, moves)
        yield from entry_run_steps(path, fresh, self._entries(fresh))
        yield WriteBytes(path, 0, pack_header(fresh))
        yield Sync(files=(path,), directories=(self.directory,))
        if self.check is not None:
            yield Transfer(self.check)
        yield Rename(path, self.image.path)
        if self.image.path.rsplit("/", 1)[0] != self.directory:
            yield Sync(directories=(self.directory,))

    def _moves(self, port: Port, fresh: HdsHeader) -> Iterator[Move]:
        """The stored bytes of the clusters on their way; holes stay holes."""
        step, target = fresh.cluster_bytes, fresh.data_start
        file = port.open_read(self.image.path)
        try:
            for cluster, count, offset in kept_runs(self.image, self.header, self.dropped):
                # Nobody sees what is past the end of the disk.
                visible = min(count * step, fresh.size_bytes - cluster * step)
                for low, high in file.data_ranges(offset, offset + visible):
                    yield Move(self.image.path, low, target + low - offset, high - low)
                target += count * step
        finally:
            file.close()

    def _entries(self, fresh: HdsHeader) -> Iterator[Tuple[int, range]]:
        """The table of the new file, by runs."""
        step, target = fresh.cluster_bytes, fresh.data_start
        for run in kept_runs(self.image, self.header, self.dropped):
            yield run.cluster, range(target, target + run.count * step, step)
            target += run.count * step

    def after(self) -> ImageState:
        """The image as it will be."""
        return _closed(self.image, self.fresh, self.size_after, len(self.dropped))


@dataclass(frozen=True)
class Holes:
    """Punch ``stored`` ranges, zeros or of nobody; forget the ``dropped`` clusters and punch ``left``, their slots.

    Zero clusters keep their entries: they read as zeros as before, hide what they hid, and the guest finds their slots
    again.
    """

    image: ImageState
    dropped: Clusters
    stored: Tuple[Tuple[int, int], ...]
    left: Tuple[Tuple[int, int], ...]

    @property
    def reclaimable(self) -> int:
        """Bytes of the ranges, none of which is a hole yet."""
        return sum(end - start for start, end in self.stored + self.left)

    @property
    def size_after(self) -> int:
        """The length stays."""
        return self.image.stat.size

    @property
    def moves_data(self) -> bool:
        """Whether clusters change their place in the file."""
        return False

    def steps(self, port: Port) -> Iterator[Step]:
        """An expanding image is marked meanwhile.

        Where the host has no holes, that is found before the table changes, if it can be.
        """
        del port
        path, header = self.image.path, self.image.header
        if header is not None:
            yield from mark_steps([self.image])
        if self.stored:
            yield PunchHoles(path, self.stored)
        if header is None:
            yield Sync(files=(path,))
            return
        if self.dropped:
            yield from forget_steps(path, self.dropped.ranges())
            yield Sync(files=(path,))
            yield PunchHoles(path, self.left)
        yield Sync(files=(path,))
        yield from close_steps([self.image], keep_extension=True)

    def after(self) -> ImageState:
        """The image as it will be."""
        if self.image.header is None:
            return replace(self.image, stat=replace(self.image.stat, allocated=-1))
        return _closed(self.image, self.image.header, self.size_after, len(self.dropped))


Change = Union[Relocation, FreshCopy, Holes]


def entry_run_steps(path: str, header: HdsHeader, runs: Iterable[Tuple[int, range]]) -> Iterator[Step]:
    """The steps of ``entry_steps`` for runs, ascending: a cluster, and the offsets of it and of those after it."""
    piece: List[int] = []
    first = 0
    for cluster, offsets in runs:
        while offsets:
            if piece and (cluster != first + len(piece) or len(piece) == _MOST_ENTRIES):
                yield WriteBytes(path, TABLE_OFFSET + first * ENTRY_BYTES, pack_entries(header, piece))
                piece = []
            if not piece:
                first = cluster
            room = _MOST_ENTRIES - len(piece)
            piece += offsets[:room]
            cluster, offsets = cluster + room, offsets[room:]
    if piece:
        yield WriteBytes(path, TABLE_OFFSET + first * ENTRY_BYTES, pack_entries(header, piece))


def forget_steps(path: str, ranges: Iterable[Tuple[int, int]]) -> Iterator[Step]:
    """The steps of ``entry_steps`` for ranges of clusters that are no longer allocated."""
    for first, end in ranges:
        yield from clear_steps(path, TABLE_OFFSET + first * ENTRY_BYTES, TABLE_OFFSET + end * ENTRY_BYTES)


def stored_bytes(file: File, parts: Iterable[Tuple[int, int]]) -> int:
    """How much of ``parts`` is no hole."""
    return sum(high - low for start, end in parts for low, high in file.data_ranges(start, end))


def _closed(image: ImageState, header: HdsHeader, size: int, dropped: int) -> ImageState:
    stat = replace(image.stat, size=size, allocated=-1)
    closed = replace(header, in_use=0, flags=0 if header.flags > 0xFFFF else header.flags & ~1)
    return replace(image, stat=stat, header=closed, table=None, used_clusters=image.used_clusters - dropped)

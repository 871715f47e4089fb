# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write into the guest disk, small things or ranges of it: into the current layer, in place where it has the cluster,
else into a copy of what lies below.

A copied cluster is complete and on the medium before the table names it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState, ImageState
from ..._change.image import close_steps, entry_steps, mark_steps
from ..._change.slots import free_slots
from ..._change.table import closed, offset_of_cluster, table_of, with_entries
from ..._core.errors import Unsupported
from ..._core.extents import DATA
from ..._core.plan import CopyRanges, Move, Resize, Step, Sync, WriteBytes
from ..._core.records import replace
from ..._core.units import SECTOR
from ..._formats.hds.header import HdsHeader
from ..._guest.view import open_stack
from ..._io.port import Port


class Run(NamedTuple):
    """A piece of the guest disk, and the file where it lies; no ``path`` means zeros."""

    start: int
    length: int
    path: Optional[str]
    offset: int


class GuestWriter:
    """Plans writes to the current layer of ``state``; what is below it is read from ``actual``, the disk as it is."""

    def __init__(self, port: Port, state: BundleState, actual: BundleState) -> None:
        self._port = port
        self._state = state
        self._actual = actual
        self._places: Dict[Tuple[int, int], int] = {}
        self._ends: Dict[int, int] = {}
        self._free: Dict[int, List[int]] = {}
        self.steps: List[Step] = []
        self.touched: Dict[int, ImageState] = {}
        self.bytes_read = 0
        self.bytes_written = 0
        self.growth = 0
        self._commit_at = 0

    def commit(self, offset: int, content: bytes) -> None:
        """``write`` what makes the change true: its last step, which may be the table entry of its cluster."""
        self.write(offset, content)
        self._commit_at = max(number for number, step in enumerate(self.steps) if isinstance(step, WriteBytes))

    def copy(self, start: int, end: int, target: int) -> None:
        """Store guest bytes ``start`` to ``end`` at ``target``, durably; the two ranges have nothing in common."""
        runs = list(self._runs(start, end))
        for number, storage in enumerate(self._state.descriptor.storages):
            first, behind = storage.start_sector * SECTOR, storage.end_sector * SECTOR
            low, high = max(target, first), min(target + end - start, behind)
            if low < high:
                shifted = clipped_runs(runs, low - target + start, high - target + start, target - start - first)
                self._copy_part(self._own_image(number), shifted)

    def _runs(self, start: int, end: int) -> Iterator[Run]:
        """Where the guest bytes of a range lie, as the disk is now; what it does not have yet is zeros."""
        for number, (base, size) in enumerate(self._actual.parts):
            low, high = max(start, base), min(end, base + size)
            if low >= high:
                continue
            chain = self._actual.chain(self._actual.tree.top, number)
            stack = open_stack(self._port, chain, size)
            try:
                for extent in stack.extents(low - base, high - low):
                    if extent.kind != DATA:
                        yield Run(base + extent.start, extent.length, None, 0)
                        continue
                    for guest, count, _file, offset in stack.layers[extent.layer].places(extent.start, extent.length):
                        yield Run(base + guest, count, chain[extent.layer].path, offset)
            finally:
                stack.close()

    def _copy_part(self, image: ImageState, runs: Sequence[Run]) -> None:
        """``runs`` say where the bytes come from, and by their start where in the part they go."""
        barrier, header = Sync(files=(image.path,)), image.header
        entries: List[Tuple[int, int]] = []
        end = 0
        if header is None:
            moves = [Move(run.path, run.offset, run.start, run.length) for run in runs]
        else:
            moves, entries, end = self._filled(image, header, runs)
        if end:
            self.steps.append(Resize(image.path, end))
        if moves:
            self.steps += [CopyRanges(image.path, tuple(moves)), barrier]
            self._count(moves)
        if entries and header is not None:
            self.steps += [*entry_steps(image.path, header, entries), barrier]
            self._places.update({(image.storage, cluster): place for cluster, place in entries})

    def _filled(
        self, image: ImageState, header: HdsHeader, runs: Sequence[Run]
    ) -> Tuple[List[Move], List[Tuple[int, int]], int]:
        """The moves that fill the clusters of ``runs``, the new entries, and the end of the file; 0 if it stays."""
        step, moves, end = header.cluster_bytes, [], 0
        entries: List[Tuple[int, int]] = []
        for cluster, pieces in by_cluster(runs, step):
            place = self._place(image, cluster)
            if place is None:
                below = list(self._below(image, cluster * step, min(step, image.size - cluster * step), 0))
                if not below and all(piece.path is None for piece in pieces):
                    continue
                place, is_stale = self._new_place(image, header)
                end, self.growth = (end, self.growth) if is_stale else (place + step, self.growth + step)
                moves += [Move(None, 0, place, step)] if is_stale else []
                moves += [move._replace(target_offset=place + move.target_offset) for move in below]
                entries.append((cluster, place))
                pieces = [piece for piece in pieces if piece.path is not None or below]
            moves += [Move(one.path, one.offset, place + one.start - cluster * step, one.length) for one in pieces]
        return moves, entries, end

    def _count(self, moves: Sequence[Move]) -> None:
        self.bytes_read += sum(move.length for move in moves if move.source is not None)
        self.bytes_written += sum(move.length for move in moves)

    def write(self, offset: int, content: bytes) -> None:
        """Store ``content`` at guest byte ``offset``, durably before whatever is written next."""
        for number, storage in enumerate(self._state.descriptor.storages):
            start, end = storage.start_sector * SECTOR, storage.end_sector * SECTOR
            low, high = max(offset, start), min(offset + len(content), end)
            if low < high:
                self._write_part(number, low - start, content[low - offset : high - offset])

    def _own_image(self, number: int) -> ImageState:
        image = self._state.images[(number, self._state.tree.top)]
        if image.outside:
            raise Unsupported(
                "The current layer lies outside of the bundle and is not changed",
                path=image.path,
                hint="Take a snapshot first.",
            )
        self.touched[number] = image
        return image

    def _write_part(self, number: int, offset: int, content: bytes) -> None:
        image = self._own_image(number)
        barrier = Sync(files=(image.path,))
        if image.header is None:
            self.steps += [WriteBytes(image.path, offset, content), barrier]
        else:
            self._write_clusters(image, image.header, offset, content)

    def _write_clusters(self, image: ImageState, header: HdsHeader, offset: int, content: bytes) -> None:
        barrier = Sync(files=(image.path,))
        step, position = header.cluster_bytes, offset
        while position < offset + len(content):
            cluster, within = divmod(position, step)
            piece = content[position - offset : position - offset + step - within]
            known = self._place(image, cluster)
            place = self._filled_place(image, header, cluster) if known is None else known
            self.steps += [WriteBytes(image.path, place + within, piece), barrier]
            if known is None:
                self.steps += [*entry_steps(image.path, header, [(cluster, place)]), barrier]
                self._places[(image.storage, cluster)] = place
            position += len(piece)

    def _place(self, image: ImageState, cluster: int) -> Optional[int]:
        known = self._places.get((image.storage, cluster))
        return known if known is not None or image.table is None else offset_of_cluster(image.table, cluster)

    def _filled_place(self, image: ImageState, header: HdsHeader, cluster: int) -> int:
        """A new place with what the guest sees of a cluster that the current layer does not have."""
        step = header.cluster_bytes
        place, is_stale = self._new_place(image, header)
        moves = [Move(None, 0, place, step)] if is_stale else []
        moves += list(self._below(image, cluster * step, min(step, image.size - cluster * step), place))
        if not is_stale:
            self.steps.append(Resize(image.path, place + step))
            self.growth += step
        if moves:
            self.steps.append(CopyRanges(image.path, tuple(moves)))
            self._count(moves)
        return place

    def _new_place(self, image: ImageState, header: HdsHeader) -> Tuple[int, bool]:
        """A place for a cluster, and whether old bytes are there."""
        number, step = image.storage, header.cluster_bytes
        if number not in self._free:
            slots = free_slots(image, header)
            places = [place for start, end in slots.reusable for place in range(start, end, step)]
            self._free[number] = places[::-1]
            self._ends[number] = slots.append_at
        if self._free[number]:
            return self._free[number].pop(), True
        place = self._ends[number]
        self._ends[number] = place + step
        return place, False

    def _below(self, image: ImageState, start: int, length: int, place: int) -> Iterator[Move]:
        """The data that the guest sees through an unallocated cluster of the current layer."""
        if image.storage >= len(self._actual.descriptor.storages):
            return
        chain = self._actual.chain(self._actual.tree.top, image.storage)
        size = self._actual.parts[image.storage][1]
        if len(self._state.chain(self._state.tree.top, image.storage)) == 1 or start >= size:
            return
        stack = open_stack(self._port, chain, size)
        try:
            for extent in stack.extents(start, min(length, size - start)):
                if extent.kind == DATA:
                    for guest, count, _file, offset in stack.layers[extent.layer].places(extent.start, extent.length):
                        yield Move(chain[extent.layer].path, offset, place + guest - start, count)
        finally:
            stack.close()

    def steps_around_commit(self) -> Tuple[Tuple[Step, ...], Step, Tuple[Step, ...]]:
        """What comes before the commit, that step, and what comes after it.

        The images are marked as in use first and closed last.
        """
        marked = [image for image in self.touched.values() if image.header is not None]
        at = self._commit_at
        before = (*mark_steps(marked), *self.steps[:at])
        return before, self.steps[at], (*self.steps[at + 1 :], *close_steps(marked, keep_extension=False))

    def after(self) -> BundleState:
        """The disk as it will be, for predictions."""
        images = dict(self._state.images)
        for number, image in self.touched.items():
            if image.header is not None:
                images[(number, image.guid)] = self._after(image, image.header)
        return replace(self._state, images=images)

    def _after(self, image: ImageState, header: HdsHeader) -> ImageState:
        entries = sorted((cluster, at) for (storage, cluster), at in self._places.items() if storage == image.storage)
        table = with_entries(table_of(image, header), header, entries)
        size = max([image.stat.size, *(place + header.cluster_bytes for _cluster, place in entries)])
        stat, used = replace(image.stat, size=size, allocated=-1), table.clusters_used
        return replace(image, stat=stat, header=closed(header), table=table, extension=None, used_clusters=used)


def clipped_runs(runs: Iterable[Run], low: int, high: int, shift: int) -> List[Run]:
    """What of ``runs`` lies from ``low`` to ``high``, each piece ``shift`` bytes further on."""
    found = []
    for run in runs:
        start, end = max(run.start, low), min(run.start + run.length, high)
        if start < end:
            found.append(Run(start + shift, end - start, run.path, run.offset + start - run.start))
    return found


def by_cluster(runs: Iterable[Run], step: int) -> Iterator[Tuple[int, List[Run]]]:
    """The pieces of ascending ``runs`` that lie in each cluster of ``step`` bytes."""
    cluster = -1
    pieces: List[Run] = []
    for run in runs:
        for number in range(run.start // step, -(-(run.start + run.length) // step)):
            if number != cluster and pieces:
                yield cluster, pieces
                pieces = []
            cluster = number
            pieces += clipped_runs([run], number * step, (number + 1) * step, 0)
    if pieces:
        yield cluster, pieces

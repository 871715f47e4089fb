# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clusters that may go because what they hold is free in the file systems of the guest, in every view that reads them.

::

    layer k + 1      | kept |      | gone |        a view above k reads k where no layer between keeps a cluster
    layer k          | c    | c    | c    |
    must be free in    k      k,k+1  k,k+1         every byte that is not the same below

Layers are judged from the leaves down, so it is known what those above keep. The next to look finds the same.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from heapq import merge
from typing import Any, Dict, Iterator, Mapping, Tuple

from ..._bundle.bundle import BundleState, ImageState
from ..._core.ranges import Range, joined
from ..._core.records import dataclass
from ..._guest.filesystems.freed_view import common_ranges
from ..._guest.filesystems.report import described, doubt_of
from ..._guest.filesystems.runs import Runs
from ..._guest.filesystems.scan import FreeSpace, find_free_space
from ..._guest.view import open_view
from ..._io.port import Port
from .droppable import FILESYSTEM, Droppable, find_droppable

Key = Tuple[int, str]


@dataclass(frozen=True)
class FreedLayers:
    """By snapshot what is free in its view, in guest bytes; by image what may go, as clusters and as bytes of it.

    ``filesystems`` are those of the current state, as results; ``swap`` says whether pages of swap count as free.
    """

    views: Mapping[str, FreeSpace]
    ranges: Mapping[Key, Runs]
    droppable: Mapping[Key, Droppable]
    filesystems: Tuple[Dict[str, Any], ...]
    swap: bool

    @property
    def bytes_read(self) -> int:
        """Guest bytes that were read to find what is free."""
        return sum(space.bytes_read for space in self.views.values())


def find_freed(port: Port, state: BundleState, *, swap: bool = False) -> FreedLayers:
    """Look at every view of a disk. Nothing is changed."""
    spaces = {guid: free_space_of(port, state, guid, swap=swap) for guid in state.tree.shots}
    below: Dict[str, Runs] = {}
    ranges: Dict[Key, Runs] = {}
    droppable: Dict[Key, Droppable] = {}
    for guid in sorted(state.tree.shots, key=state.tree.depth, reverse=True):
        free = spaces[guid].free
        for child in state.tree.children(guid):
            covered = joined(merge(_kept(state, child, droppable), below[child]))
            free = Runs(common_ranges(free, covered))
        below[guid] = free
        for image in state.layer(guid):
            key = (image.storage, guid)
            start, length = state.parts[image.storage]
            ranges[key] = Runs((low - start, high - start) for low, high in free.between(start, start + length))
            droppable[key] = _droppable(port, state, image, ranges[key])
    top = state.tree.top
    view = open_view(port, state, top)
    try:
        filesystems = tuple(described(view, answer) for answer in spaces[top].answers)
    finally:
        view.close()
    return FreedLayers(spaces, ranges, droppable, filesystems, swap)


def free_space_of(port: Port, state: BundleState, guid: str, *, swap: bool) -> FreeSpace:
    """What is free in the view at one snapshot."""
    view = open_view(port, state, guid)
    try:
        return find_free_space(view, swap=swap, reason=doubt_of(state, guid))
    finally:
        view.close()


def _droppable(port: Port, state: BundleState, image: ImageState, free: Runs) -> Droppable:
    if image.outside:
        return Droppable({})
    return find_droppable(port, state, image, scan=FILESYSTEM, free=free)


def _kept(state: BundleState, guid: str, droppable: Mapping[Key, Droppable]) -> Iterator[Range]:
    """Guest bytes that a layer answers for after all that may go has gone."""
    for image in sorted(state.layer(guid), key=lambda one: one.storage):
        start, length = state.parts[image.storage]
        for low, high in _kept_of(image, droppable[(image.storage, guid)]):
            yield start + low, start + min(high, length)


def _kept_of(image: ImageState, found: Droppable) -> Iterator[Range]:
    if image.header is None or image.table is None:
        yield 0, image.size
        return
    step, dropped = image.header.cluster_bytes, found.all()
    for run in image.table.runs():
        for first, end in dropped.missing(run.cluster, run.cluster + run.count):
            yield first * step, end * step

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding clusters of a layer that may be dropped, because without them the guest reads the same.

::

    layer            0 0 A B 0        0: zeros    A, B: data    .: not allocated
    layers below     . 0 A C C
                     z z e            z: zero, e: equal. The others hide something else and stay.

Dropping any of them changes no view, so any subset may be dropped, in this layer and in those below it, in any order.

A source of such clusters is a function that looks at one image. Those of one kind of scan are in ``SOURCES``; what
several of them find is joined, the first one that names a cluster gives the reason.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ..._bundle.bundle import EXPANDING, BundleState, ImageState
from ..._core.extents import DATA, Extent
from ..._core.ranges import Range, clipped, complement, joined
from ..._core.records import dataclass
from ..._formats.hds.header import HdsHeader
from ..._guest.view import LayerStack, open_stack
from ..._io.buffers import is_equal, new_buffer
from ..._io.copy import SLICE
from ..._io.port import Port
from ..._io.sparse import GRAIN, is_zero
from .clusters import Clusters, union, without

if TYPE_CHECKING:
    from ..._formats.image import ImageReader
    from ..._guest.filesystems.runs import Runs

METADATA = "metadata"
ZEROS = "zeros"
FILESYSTEM = "filesystem"

ZERO = "zero"
EQUAL = "equal"
FREE_IN_FILESYSTEM = "free_in_filesystem"

_WINDOW = 64 << 20
"""Extents are looked up for so many guest bytes at once."""


@dataclass(frozen=True)
class Droppable:
    """Clusters by reason, and the bytes that were read to know them."""

    clusters: Mapping[str, Clusters]
    bytes_read: int = 0

    def all(self) -> Clusters:
        """All of them."""
        return union(*self.clusters.values())


Source = Callable[[Port, BundleState, ImageState, Optional["Runs"]], Droppable]


def find_droppable(
    port: Port, state: BundleState, image: ImageState, *, scan: str, free: Optional[Runs] = None
) -> Droppable:
    """What may go of one expanding image. The zero clusters of a preallocated disk are there on purpose.

    ``free`` are bytes of the image that no view needs.
    """
    found: Dict[str, Clusters] = {}
    known = Clusters()
    bytes_read = 0
    if image.kind == EXPANDING and not state.descriptor.storages[image.storage].preallocated:
        for source in SOURCES[scan]:
            part = source(port, state, image, free)
            bytes_read += part.bytes_read
            for reason, clusters in part.clusters.items():
                new = without(clusters, known)
                found[reason] = union(found.get(reason, Clusters()), new)
                known = union(known, new)
    return Droppable(found, bytes_read)


def redundant(port: Port, state: BundleState, image: ImageState, free: Optional[Runs] = None) -> Droppable:
    """Clusters that hold what the layers below read as, zeros below the lowest one, but for ``free`` bytes.

    Holes of the host file are not read.
    """
    if image.header is None:
        return Droppable({})
    if any(below.outside and below.is_dirty for below in state.chain(image.guid, image.storage)[1:]):
        # Somebody is changing what would be relied on.
        return Droppable({})
    stack = open_stack(port, state.chain(image.guid, image.storage), state.parts[image.storage][1])
    try:
        scan = _Comparison(stack, free)
        for start, end in _windows(image, image.header):
            scan.look(start, end, image, image.header)
        found = {ZERO: scan.zero, EQUAL: scan.equal}
        return Droppable(found if free is None else {**found, FREE_IN_FILESYSTEM: scan.free}, scan.bytes_read)
    finally:
        stack.close()


SOURCES: Mapping[str, Tuple[Source, ...]] = {METADATA: (), ZEROS: (redundant,), FILESYSTEM: (redundant,)}


def _windows(image: ImageState, header: HdsHeader) -> Iterator[Tuple[int, int]]:
    """Ranges of clusters that hold all allocated ones, each bounded in bytes."""
    if image.table is None:
        return
    length = max(1, _WINDOW // header.cluster_bytes)
    following = next(image.table.runs(), None)
    while following is not None:
        end = following.cluster + length
        yield following.cluster, end
        following = next(image.table.runs(end), None)


def _data(extents: Iterator[Extent]) -> List[Range]:
    return [(extent.start, extent.end) for extent in extents if extent.kind == DATA]


class _Comparison:
    """Compares the clusters of the topmost layer of a stack with what the others read as, but for what is free."""

    def __init__(self, stack: LayerStack[ImageReader], free: Optional[Runs]) -> None:
        self._ignored = free
        self.free = Clusters()
        self._own = stack.layers[0]
        self._below = stack.below(1)
        self._buffers = new_buffer(SLICE), new_buffer(SLICE)
        self._probes = new_buffer(GRAIN), new_buffer(GRAIN)
        self.zero = Clusters()
        self.equal = Clusters()
        self.bytes_read = 0
        self._saw_data = False

    def look(self, first: int, end: int, image: ImageState, header: HdsHeader) -> None:
        """Judge the allocated clusters ``first`` up to, not including, ``end``."""
        step = header.cluster_bytes
        low, high = first * step, min(end * step, image.size)
        if image.table is None:
            return
        own = self._counted(_data(self._own.extents(low, max(0, high - low))))
        has_below = bool(self._below.layers) and low < high
        below = self._counted(_data(self._below.extents(low, high - low) if has_below else iter(())))
        for run in image.table.runs(first, end):
            for cluster in range(run.cluster, run.cluster + run.count):
                start, stop = cluster * step, min((cluster + 1) * step, image.size)
                if start >= image.size and header.size_bytes > image.size:
                    # The image is longer than the disk: this may be all that is left of a change by another program.
                    continue
                # Nobody sees what is past the end of a shorter image.
                found = self._judge(clipped(own, start, stop), clipped(below, start, stop))
                if found is not None:
                    is_free = self._ignored is not None and self._ignored.within(start, stop)
                    (self.free if is_free else found).add(cluster, cluster + 1)

    def _counted(self, ranges: List[Range]) -> List[Range]:
        """The ranges without what is free."""
        free = self._ignored
        if free is None:
            return ranges
        return [part for start, end in ranges for part in complement(free.between(start, end), start, end)]

    def _judge(self, own: List[Range], below: List[Range]) -> Optional[Clusters]:
        if not below:
            return self.zero if all(self._is_zero(start, end) for start, end in own) else None
        self._saw_data = False
        if all(self._is_equal(start, end) for start, end in joined(sorted(own + below))):
            return self.equal if self._saw_data else self.zero
        return None

    def _is_zero(self, start: int, end: int) -> bool:
        for offset, length in _pieces(start, end):
            buffer = self._probes[0] if length == GRAIN else self._buffers[0]
            self._read(self._own, offset, buffer, length)
            if not is_zero(buffer[:length]):
                return False
        return True

    def _is_equal(self, start: int, end: int) -> bool:
        for offset, length in _pieces(start, end):
            one, other = self._probes if length == GRAIN else self._buffers
            self._read(self._own, offset, one, length)
            self._read(self._below, offset, other, length)
            if not is_equal(one, other[:length]):
                return False
            self._saw_data = self._saw_data or not is_zero(one[:length])
        return True

    def _read(
        self, reader: LayerStack[ImageReader] | ImageReader, offset: int, buffer: memoryview, length: int
    ) -> None:
        reader.pread_into(offset, buffer[:length])
        self.bytes_read += length


def _pieces(start: int, end: int) -> Iterator[Tuple[int, int]]:
    """The range in pieces (offset, length): a short one, which decides most clusters, then slices."""
    length = min(GRAIN, end - start)
    while start < end:
        yield start, length
        start += length
        length = min(SLICE, end - start)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Finding clusters that may be dropped: they hold zeros, and every layer below reads as zeros there, too.

Parallels has no mark for "zero": a zero-filled cluster over a parent's data hides it and must stay.
"""

from __future__ import annotations

from typing import List, Optional

from .._bundle.bundle import EXPANDING, BundleState, ImageState
from .._bundle.chain import LayerStack, open_stack
from .._core.extents import DATA
from .._core.units import SECTOR
from .._formats.hds_header import HdsHeader
from .._formats.reader import MappedReader
from .._io.copy import SLICE
from .._io.port import Port
from .._io.sparse import is_zero


class ZeroScan:
    """Reads the allocated clusters of one layer. ``bytes_read`` counts what was looked at."""

    def __init__(self, stack: LayerStack[MappedReader]) -> None:
        self._own = LayerStack(stack.layers[:1], stack.sizes[:1], stack.size)
        self._below: Optional[LayerStack[MappedReader]] = LayerStack(stack.layers[1:], stack.sizes[1:], stack.size) if len(stack.layers) > 1 else None
        self._buffer = bytearray(SLICE)
        self.bytes_read = 0

    def droppable(self, header: HdsHeader, image: ImageState) -> List[int]:
        """Indexes of the clusters of the topmost layer that nobody would miss, ascending."""
        found: List[int] = []
        step = header.cluster_bytes
        for run in image.table.runs() if image.table is not None else ():
            for cluster in range(run.cluster, run.cluster + run.count):
                start = cluster * step
                length = min(step, image.size - start)
                if length <= 0 or self._reads_zero(self._own, start, length) and self._is_zero_below(start, length):
                    found.append(cluster)
        return found

    def _is_zero_below(self, start: int, length: int) -> bool:
        return self._below is None or self._reads_zero(self._below, start, length)

    def _reads_zero(self, stack: LayerStack[MappedReader], start: int, length: int) -> bool:
        return all(extent.kind != DATA or self._is_zero_data(stack, extent.start, extent.length) for extent in stack.extents(start, length))

    def _is_zero_data(self, stack: LayerStack[MappedReader], start: int, length: int) -> bool:
        view = memoryview(self._buffer)
        for offset in range(start, start + length, SLICE):
            part = min(SLICE, start + length - offset)
            stack.pread_into(offset, view[:part])
            self.bytes_read += part
            if not (is_zero(self._buffer) if part == SLICE else is_zero(self._buffer[:part])):
                return False
        return True


def find_droppable(port: Port, state: BundleState, image: ImageState) -> tuple[List[int], int]:
    """The clusters of ``image`` that may go, and the bytes that were read to know it."""
    if image.kind != EXPANDING or image.header is None:
        return [], 0
    storage = state.descriptor.storages[image.storage]
    stack = open_stack(port, state.chain(image.guid, image.storage), (storage.end_sector - storage.start_sector) * SECTOR)
    try:
        scan = ZeroScan(stack)
        return scan.droppable(image.header, image), scan.bytes_read
    finally:
        stack.close()

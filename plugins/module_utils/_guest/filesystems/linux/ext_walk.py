# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A walk over all inodes in use of an ext file system whose bitmaps have no checksums: none of their blocks is free.

::

    inode    mode | .. | flags | 60 bytes: extents, or 12 blocks and three trees of pointers | .. | attributes
    extents  header | first block, length, place | ..      or, above the leaves,  first block, place | ..
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
import sys
from array import array
from typing import Iterable, Iterator, Tuple

from ...._core.ranges import Range
from ..answer import refuse_if
from ..bits import zero_runs
from ..runs import Runs
from ..volume import Volume
from .ext_layout import BITS_64, GDT_CSUM, ExtLayout, places_of

_INODE_UNINIT = 1
_EXTENTS, _INLINE = 0x80000, 0x10000000
_FOLDER, _FILE, _SYMLINK = 0x4000, 0x8000, 0xA000
_SPECIAL = 11
_MAGIC, _ENTRY, _DEEPEST = 0xF30A, 12, 5
_LONGEST = 1 << 15
_DIRECT, _TREES = 12, (1, 2, 3)
_PIECE = 64 << 10
_INVERTED = bytes(range(255, -1, -1))


class Walk:
    """A look at every inode in use. Raises Uncertain where one has a block of ``runs``, or contradicts itself."""

    def __init__(self, volume: Volume, layout: ExtLayout, runs: Runs) -> None:
        self._volume = volume
        self._layout = layout
        self._runs = runs

    def run(self, descriptors: Iterable[bytes]) -> None:
        """Visit all groups."""
        for group, descriptor in enumerate(descriptors):
            flags = struct.unpack_from("<H", descriptor, 18)[0]
            if not (flags & _INODE_UNINIT and self._layout.ro_compat & GDT_CSUM):
                self._visit_group(group, descriptor)

    def _visit_group(self, group: int, descriptor: bytes) -> None:
        layout = self._layout
        _blocks, bitmap, table = places_of(descriptor)
        raw = self._volume.read(bitmap * layout.block, layout.block)
        # What is not free is in use: the zeros of the turned bitmap.
        used = list(zero_runs(raw.translate(_INVERTED), layout.group_inodes))
        free = layout.group_inodes - sum(end - start for start, end in used)
        refuse_if(free != _free_inodes(layout, descriptor))
        first = group * layout.group_inodes + 1
        for number, inode in self._inodes(table * layout.block, used):
            self._visit(first + number, inode)

    def _inodes(self, table: int, used: Iterable[Range]) -> Iterator[Tuple[int, bytes]]:
        width = self._layout.inode
        step = _PIECE // width
        for start, end in used:
            for low in range(start, end, step):
                count = min(step, end - low)
                raw = self._volume.read(table + low * width, count * width)
                for number in range(count):
                    yield low + number, raw[number * width : number * width + width]

    def _visit(self, number: int, inode: bytes) -> None:
        mode, sectors, flags = struct.unpack_from("<H26xII", inode)
        attributes = struct.unpack_from("<I", inode, 104)[0]
        if self._layout.incompat & BITS_64:
            attributes |= struct.unpack_from("<H", inode, 118)[0] << 32
        if attributes:
            self._use(attributes, 1)
        kind = mode & 0xF000
        if flags & _INLINE or kind not in (_FOLDER, _FILE, _SYMLINK) and number >= _SPECIAL:
            return
        if flags & _EXTENTS:
            self._visit_extents(inode[40:100], -1)
        elif kind != _SYMLINK or sectors > (self._layout.block * self._layout.ratio // 512 if attributes else 0):
            # A short link stands where the blocks of a long one are named.
            self._visit_map(inode[40:100])

    def _visit_extents(self, raw: bytes, expected: int) -> None:
        magic, count, most, depth = struct.unpack_from("<HHHH", raw)
        refuse_if(magic != _MAGIC or count > most or _ENTRY * (count + 1) > len(raw) or depth > _DEEPEST)
        refuse_if(expected not in (-1, depth))
        for at in range(_ENTRY, _ENTRY * (count + 1), _ENTRY):
            if depth:
                low, high = struct.unpack_from("<IH", raw, at + 4)
                self._visit_extents(self._block(low | high << 32), depth - 1)
            else:
                length, high, low = struct.unpack_from("<HHI", raw, at + 4)
                self._use(low | high << 32, length - _LONGEST if length > _LONGEST else length)

    def _visit_map(self, raw: bytes) -> None:
        pointers = _pointers(raw)
        self._use_all(pointers[:_DIRECT])
        for depth, root in zip(_TREES, pointers[_DIRECT:]):
            self._visit_pointers(root, depth)

    def _visit_pointers(self, root: int, depth: int) -> None:
        if not root:
            return
        pointers = _pointers(self._block(root))
        if depth == 1:
            self._use_all(pointers)
            return
        for one in pointers:
            self._visit_pointers(one, depth - 1)

    def _block(self, number: int) -> bytes:
        self._use(number, 1)
        return self._volume.read(number * self._layout.block, self._layout.block)

    def _use_all(self, pointers: array[int]) -> None:
        """Blocks that pointers name; neighbours are looked up at once."""
        start = end = 0
        for one in pointers:
            if one == end and one:
                end += 1
                continue
            if start:
                self._use(start, end - start)
            start, end = one, one + 1
        if start:
            self._use(start, end - start)

    def _use(self, first: int, blocks: int) -> None:
        size = self._layout.block
        refuse_if(first < self._layout.first or first + blocks > self._layout.blocks)
        refuse_if(self._runs.within(first * size, (first + blocks) * size))


def _pointers(raw: bytes) -> array[int]:
    found = array("I", raw)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _free_inodes(layout: ExtLayout, descriptor: bytes) -> int:
    count: int = struct.unpack_from("<H", descriptor, 14)[0]
    if layout.incompat & BITS_64 and len(descriptor) >= 64:
        count |= struct.unpack_from("<H", descriptor, 46)[0] << 16
    return count

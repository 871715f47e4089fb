# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A walk over all folders of a FAT volume: whether what they name is in use, and lies where the boot sector says.

A subfolder names its own cluster: found where it should be, it confirms the place and the size of clusters. Of FAT12
and FAT16, where no copy of the boot sector does that, all chains are followed, too.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import List, Tuple

from ...._core.units import ceil_div
from ..answer import refuse_if
from ..volume import Volume
from .fat_layout import Fat, Table

_ENTRY = 32
_DELETED, _END = 0xE5, 0
# Long names have it as well.
_LABEL, _FOLDER = 0x08, 0x10
_OWN, _PARENT = b".          ", b"..         "
_LONGEST_FOLDER = 4 << 20
_MOST_BYTES = 256 << 20


class Walk:
    """A walk over ``fat``. ``confirmed`` counts the folders that were found in their place."""

    def __init__(self, volume: Volume, fat: Fat, table: Table) -> None:
        self.confirmed = 0
        self.reached = 0
        self._volume = volume
        self._fat = fat
        self._table = table
        self._left = _MOST_BYTES
        self._seen = bytearray((fat.clusters + 9) // 8 + 1)

    def run(self) -> None:
        """Visit everything. Raises Uncertain: damaged at a contradiction, costly when there are too many folders."""
        waiting: List[Tuple[int, int]] = []
        if self._fat.bits == 32:
            root = struct.unpack_from("<I", self._fat.raw, 44)[0]
            self._visit(self._content(self._chain(root)), 0, waiting)
        else:
            self._visit(self._read(self._fat.root, self._fat.root_bytes), 0, waiting)
        while waiting:
            cluster, parent = waiting.pop()
            raw = self._content(self._chain(cluster))
            self._refuse_misplaced(raw, cluster, parent)
            self._visit(raw[2 * _ENTRY :], cluster, waiting)

    def _read(self, start: int, length: int) -> bytes:
        self._left -= length
        refuse_if(self._left < 0, "costly")
        return self._volume.read(start, length)

    def _content(self, chain: List[int]) -> bytes:
        return b"".join(self._read(self._fat.place(one), self._fat.cluster) for one in chain)

    def _refuse_misplaced(self, raw: bytes, cluster: int, parent: int) -> None:
        """A folder begins with entries for itself and for the one above it, which is 0 for the root."""
        names = raw[:11], raw[_ENTRY : _ENTRY + 11]
        refuse_if(names != (_OWN, _PARENT) or (self._first(raw), self._first(raw[_ENTRY:])) != (cluster, parent))
        self.confirmed += 1 if cluster > 2 else 0

    def _first(self, entry: bytes) -> int:
        low, high = struct.unpack_from("<H", entry, 26)[0], struct.unpack_from("<H", entry, 20)[0]
        return low | high << 16 if self._fat.bits == 32 else low

    def _visit(self, raw: bytes, folder: int, waiting: List[Tuple[int, int]]) -> None:
        """Look at the entries of a folder; its subfolders are to be visited."""
        for offset in range(0, len(raw), _ENTRY):
            mark, attributes = raw[offset], raw[offset + 11]
            if mark == _END:
                break
            if mark == _DELETED or attributes & _LABEL:
                continue
            entry = raw[offset : offset + _ENTRY]
            first = self._first(entry)
            if attributes & _FOLDER:
                waiting.append((first, folder))
            elif self._fat.bits == 32:
                self._refuse_free(first, entry)
            else:
                self._follow(first, struct.unpack_from("<I", entry, 28)[0])

    def _refuse_free(self, first: int, entry: bytes) -> None:
        """The first cluster of a file of FAT32; that no chain goes on in a free one is seen in the table."""
        size = struct.unpack_from("<I", entry, 28)[0]
        if not first and not size:
            return
        refuse_if(not 2 <= first < self._fat.clusters + 2 or not self._table.value(first))

    def _follow(self, first: int, size: int) -> None:
        """A file of FAT12 or FAT16 has as many clusters as its size says."""
        found = len(self._chain(first)) if first else 0
        refuse_if(found != ceil_div(size, self._fat.cluster))

    def _chain(self, first: int) -> List[int]:
        """The clusters from ``first`` on, each in use and in no other chain."""
        found: List[int] = []
        fat, cluster = self._fat, first
        most = _LONGEST_FOLDER // fat.cluster if fat.bits == 32 else fat.clusters
        end = fat.mask & ~7
        while True:
            refuse_if(not 2 <= cluster < fat.clusters + 2 or len(found) > most)
            index, bit = cluster >> 3, 1 << (cluster & 7)
            following = self._table.value(cluster)
            refuse_if(self._seen[index] & bit or not following)
            self._seen[index] |= bit
            found.append(cluster)
            if following >= end:
                break
            cluster = following
        self.reached += len(found)
        return found

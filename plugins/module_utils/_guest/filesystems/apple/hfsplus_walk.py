# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A walk over everything of an HFS+ volume that has blocks: files in the catalog, attributes, and what of both did not
fit into eight extents. A bitmap has no checksum; that it has all of these in use is what proves it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Dict, Iterator, List, Tuple

from ...._core.ranges import Range
from ..answer import refuse_if
from ..runs import Runs
from ..volume import Volume
from .hfsplus_layout import FORKS, Header, extents_of, fork
from .hfsplus_tree import open_tree, records_of

ALLOCATION, OVERFLOW, CATALOG, ATTRIBUTES, STARTUP = FORKS
_NUMBERS = {ALLOCATION: 6, OVERFLOW: 3, CATALOG: 4, ATTRIBUTES: 8, STARTUP: 7}
_BAD_BLOCKS = 5
_FILE_RECORD, _DATA_FORK, _RESOURCE_FORK, _FILE_BYTES = 2, 88, 168, 248
_RECORDS = (1, 2, 3, 4)
_INLINE, _FORK, _EXTENTS = 0x10, 0x20, 0x30
Counts = Tuple[int, int]


class Walk:
    """The special files of a volume with all of their extents, then a look at everything else.

    ``special`` are the extents by the offset of their fork in the header. Raises Uncertain.
    """

    def __init__(self, volume: Volume, header: Header) -> None:
        self._volume = volume
        self._header = header
        self._more: Dict[int, List[Tuple[int, List[Range]]]] = {}
        self._overflowing: List[Range] = []
        self._bad: List[Range] = []
        self._read_overflow()
        self.special = {offset: self._whole(offset) for offset in FORKS}

    def run(self, runs: Runs) -> None:
        """Raise Uncertain where something has a block of ``runs``, or all of it does not add up."""
        counted = sum(self._counted(runs, extents) for extents in self.special.values())
        counted += self._counted(runs, self._bad)
        told, held = 0, self._counted(runs, self._overflowing)
        for size, extents in (*self._files(), *self._attributes()):
            told += size
            held += self._counted(runs, extents)
        # What a fork says that it has is what its extents have, here and in the overflow.
        refuse_if(told != held or counted + held > self._header.blocks - self._header.free)

    def _read_overflow(self) -> None:
        """Extents that did not fit: of special files, of bad blocks, and of all others."""
        size, blocks, extents = fork(self._header, OVERFLOW)
        refuse_if(sum(end - start for start, end in extents) != blocks)
        if not size:
            return
        numbers = {number: offset for offset, number in _NUMBERS.items()}
        for key, data in records_of(self._volume, self._header, open_tree(self._volume, self._header, extents)):
            refuse_if(len(key) < 10 or len(data) < 64)
            kind, number, start = struct.unpack_from(">BxII", key)
            found = extents_of(data)
            if number == _BAD_BLOCKS:
                self._bad += found
            elif number in numbers:
                refuse_if(kind)
                self._more.setdefault(numbers[number], []).append((start, found))
            else:
                self._overflowing += found

    def _whole(self, offset: int) -> List[Range]:
        """All extents of a special file, as many blocks as its fork says."""
        size, blocks, extents = fork(self._header, offset)
        found = list(extents)
        for start, more in sorted(self._more.get(offset, [])):
            refuse_if(start != sum(end - first for first, end in found))
            found += more
        refuse_if(sum(end - start for start, end in found) != blocks or blocks * self._header.block < size)
        return found

    def _counted(self, runs: Runs, extents: List[Range]) -> int:
        """The blocks of extents, none of which is free."""
        block, offset, blocks = self._header.block, self._header.offset, 0
        for start, end in extents:
            refuse_if(end > self._header.blocks or runs.within(offset + start * block, offset + end * block))
            blocks += end - start
        return blocks

    def _files(self) -> Iterator[Tuple[int, List[Range]]]:
        for _key, data in self._records(CATALOG):
            refuse_if(len(data) < 2)
            kind = struct.unpack_from(">H", data)[0]
            refuse_if(kind not in _RECORDS)
            if kind == _FILE_RECORD:
                refuse_if(len(data) < _FILE_BYTES)
                for offset in (_DATA_FORK, _RESOURCE_FORK):
                    yield _fork_at(data, offset)

    def _attributes(self) -> Iterator[Tuple[int, List[Range]]]:
        for _key, data in self._records(ATTRIBUTES):
            refuse_if(len(data) < 4)
            kind = struct.unpack_from(">I", data)[0]
            refuse_if(kind not in (_INLINE, _FORK, _EXTENTS) or (kind != _INLINE and len(data) < 72))
            if kind == _FORK:
                refuse_if(len(data) < 88)
                yield _fork_at(data, 8)
            elif kind == _EXTENTS:
                yield 0, extents_of(data[8:72])

    def _records(self, offset: int) -> Iterator[Tuple[bytes, bytes]]:
        extents = self.special[offset]
        if extents:
            yield from records_of(self._volume, self._header, open_tree(self._volume, self._header, extents))


def _fork_at(data: bytes, offset: int) -> Tuple[int, List[Range]]:
    """The blocks that a fork says it has, and its first extents."""
    return struct.unpack_from(">I", data, offset + 12)[0], extents_of(data[offset + 16 : offset + 80])

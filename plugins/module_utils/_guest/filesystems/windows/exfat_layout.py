# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""exFAT on disk, as Microsoft's specification has it: boot region, chains of clusters, sets of folder entries.

::

    boot region (12 sectors, twice) | table | cluster 2, cluster 3, ...
    folder    bitmap 81, upcase table 82, label 83, then sets: file 85, stream C0, names C1
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
import sys
from array import array
from typing import Iterator, List, NamedTuple, Optional, Tuple

from ...._core.records import dataclass
from ...._core.units import ceil_div
from ..answer import Uncertain, refuse_if
from ..volume import Volume

ENTRY = 32
BITMAP, UPCASE, LABEL, FILE, STREAM, NAME, VOLUME_ID, VENDOR = 0x81, 0x82, 0x83, 0x85, 0xC0, 0xC1, 0xA0, 0xE0
FOLDER = 0x10
ALLOCATED, CONTIGUOUS = 1, 2
_SECTOR = 512
_SECOND_TABLE, _DIRTY, _FAILED = 1, 2, 4
_END_OF_CHAIN = 0xFFFFFFFF
_PIECE = 1 << 14
_UNCHECKED = (106, 107, 112)
Run = Tuple[int, int]


@dataclass(frozen=True)
class Exfat:
    """What the boot sector says. Places and sizes are bytes; clusters are numbered from 2."""

    sector: int
    cluster: int
    clusters: int
    size: int
    table: int
    table_bytes: int
    heap: int
    root: int
    flags: int
    tables: int

    def place(self, cluster: int) -> int:
        """Where a cluster begins."""
        return self.heap + (cluster - 2) * self.cluster


class Allocation(NamedTuple):
    """Where something is stored: its first cluster, its bytes, and whether the table is not used for it."""

    first: int
    size: int
    is_contiguous: bool


def read_boot(volume: Volume) -> Optional[Exfat]:
    """The boot sector, None when it is none of exFAT."""
    if volume.size < _SECTOR:
        return None
    raw = volume.read(0, _SECTOR)
    size, table, length, heap, clusters, root = struct.unpack_from("<QIIIII", raw, 72)
    major, flags, shift, more, tables = raw[105], struct.unpack_from("<H", raw, 106)[0], *raw[108:111]
    if raw[3:11] != b"EXFAT   " or any(raw[11:64]) or raw[510:] != b"\x55\xaa":
        return None
    if major != 1 or not 9 <= shift <= 12 or shift + more > 25 or not size or size >> 52 or not clusters:
        return None
    sizes = size << shift, table << shift, length << shift, heap << shift
    return Exfat(1 << shift, 1 << (shift + more), clusters, *sizes, root, flags, tables)


def refuse_other_geometry(volume: Volume, boot: Exfat) -> None:
    """Raise Uncertain for a boot region that contradicts itself, is in use or has a second table."""
    refuse_if(boot.size > volume.size, "too_large")
    found = _boot_sum(volume.read(0, 11 * boot.sector))
    refuse_if(volume.read(11 * boot.sector, boot.sector) != found * (boot.sector // 4))
    refuse_if(boot.tables != 1 or boot.flags & _SECOND_TABLE, "unsupported")
    refuse_if(boot.table < 24 * boot.sector or 4 * (boot.clusters + 2) > boot.table_bytes)
    refuse_if(boot.table + boot.table_bytes > boot.heap or boot.place(boot.clusters + 2) > boot.size)
    refuse_if(boot.flags & _DIRTY, "unclean")
    refuse_if(boot.flags & _FAILED, "errors")


def _boot_sum(raw: bytes) -> bytes:
    total = 0
    for number, byte in enumerate(raw):
        if number not in _UNCHECKED:
            total = ((total << 31 | total >> 1) + byte) & 0xFFFFFFFF
    return struct.pack("<I", total)


class Clusters:
    """The table, read in pieces: which clusters something has. Raises Uncertain."""

    def __init__(self, volume: Volume, boot: Exfat) -> None:
        self._volume = volume
        self._boot = boot
        self._number = -1
        self._piece: array[int] = array("I")

    def runs(self, one: Allocation) -> List[Run]:
        """The runs (first, end) of clusters of an allocation, exactly as many as its size needs."""
        count, last = ceil_div(one.size, self._boot.cluster), self._boot.clusters + 2
        refuse_if(not one.first >= 2 or one.first + count > last + (0 if one.is_contiguous else count))
        if one.is_contiguous:
            return [(one.first, one.first + count)]
        found = self.chain(one.first, count)
        refuse_if(sum(end - start for start, end in found) != count)
        return found

    def chain(self, first: int, most: int) -> List[Run]:
        """The runs of a chain of at most ``most`` clusters."""
        found: List[Run] = []
        start = cluster = first
        for _number in range(most):
            if not 2 <= cluster < self._boot.clusters + 2:
                break
            following = self._entry(cluster)
            if following != cluster + 1:
                found.append((start, cluster + 1))
                start = following
            if following == _END_OF_CHAIN:
                return found
            cluster = following
        raise Uncertain("damaged")

    def _entry(self, cluster: int) -> int:
        number, index = divmod(cluster, _PIECE)
        if number != self._number:
            length = 4 * min(_PIECE, self._boot.clusters + 2 - number * _PIECE)
            self._piece = array("I", self._volume.read(self._boot.table + 4 * number * _PIECE, length))
            if sys.byteorder == "big":
                self._piece.byteswap()
            self._number = number
        return self._piece[index]


def entry_sets(raw: bytes) -> Iterator[bytes]:
    """The entries in use of a folder, those of a file with all that belong to it. Raises Uncertain."""
    offset = 0
    while offset + ENTRY <= len(raw) and raw[offset]:
        if not raw[offset] & 0x80:
            offset += ENTRY
            continue
        count = 1 + (raw[offset + 1] if raw[offset] == FILE else 0)
        one = raw[offset : offset + count * ENTRY]
        refuse_if(len(one) < count * ENTRY or (one[0] == FILE and _set_sum(one) != one[2:4]))
        yield one
        offset += len(one)


def _set_sum(raw: bytes) -> bytes:
    total = 0
    for byte in raw[:2] + raw[4:]:
        total = ((total << 15 | total >> 1) + byte) & 0xFFFF
    return struct.pack("<H", total)


def allocation(entry: bytes, *, is_contiguous: bool = False) -> Allocation:
    """The allocation that an entry tells."""
    first, size = struct.unpack_from("<IQ", entry, 20)
    return Allocation(first, size, is_contiguous)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""FAT12, FAT16 and FAT32 on disk, as Microsoft's fatgen103 describes them: boot sector and table.

::

    reserved sectors | table | second table | root folder (FAT12, FAT16) | cluster 2, cluster 3, ...
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
import sys
from array import array
from typing import Iterator, Optional, Tuple

from ...._core.records import dataclass
from ...._core.units import ceil_div
from ..answer import Uncertain, refuse_if
from ..volume import Volume

_SECTOR = 512
_OTHERS = (b"NTFS    ", b"EXFAT   ", b"-FVE-FS-")
_LARGEST_CLUSTER = 1 << 18
_PIECE = 1 << 16
_MOST = {12: 4085, 16: 65525, 32: 0x0FFFFFF5}
_ONE_TABLE = 0x80
_GEOMETRY = slice(11, 54)
_TRACK = 63


@dataclass(frozen=True)
class Fat:
    """What the boot sector says. Places, sizes of tables and of clusters are bytes; clusters are numbered from 2."""

    raw: bytes
    bits: int
    sector: int
    cluster: int
    clusters: int
    size: int
    tables: Tuple[int, ...]
    table_bytes: int
    root: int
    root_bytes: int
    data: int

    @property
    def mask(self) -> int:
        """The bits of an entry that count."""
        return 0x0FFFFFFF if self.bits == 32 else (1 << self.bits) - 1

    @property
    def has_backup(self) -> bool:
        """Whether a second boot sector confirms the geometry."""
        return self.bits == 32 and struct.unpack_from("<H", self.raw, 50)[0] not in (0, 0xFFFF)

    def place(self, cluster: int) -> int:
        """Where a cluster begins."""
        return self.data + (cluster - 2) * self.cluster


def read_boot(volume: Volume) -> Optional[Fat]:
    """The boot sector, None when it is none of FAT."""
    if volume.size < _SECTOR:
        return None
    raw = volume.read(0, _SECTOR)
    if raw[510:] != b"\x55\xaa" or raw[0] not in (0xEB, 0xE9) or raw[3:11] in _OTHERS or raw[21] < 0xF0:
        return None
    sector, per_cluster, reserved, tables, entries, few, _media, small = struct.unpack_from("<HBHBHHBH", raw, 11)
    many, large = struct.unpack_from("<II", raw, 32)
    if sector not in (512, 1024, 2048, 4096) or not per_cluster or per_cluster & (per_cluster - 1):
        return None
    if not reserved or tables not in (1, 2) or bool(few) == bool(many) or not (small or large):
        return None
    sectors, length = few or many, small or large
    root = reserved + tables * length
    data = root + ceil_div(32 * entries, sector)
    clusters = (sectors - data) // per_cluster
    bits = 32 if not small else 12 if clusters < _MOST[12] else 16
    if (
        clusters < 1
        or clusters >= _MOST[bits]
        or bool(entries) == (bits == 32)
        or per_cluster * sector > _LARGEST_CLUSTER
    ):
        return None
    starts = tuple((reserved + number * length) * sector for number in range(tables))
    where = starts, length * sector, root * sector, 32 * entries, data * sector
    return Fat(raw, bits, sector, per_cluster * sector, clusters, sectors * sector, *where)


def label_of(fat: Fat) -> Optional[str]:
    """The label in the boot sector, if it has the fields for it."""
    offset = 71 if fat.bits == 32 else 43
    if fat.raw[offset - 5] != 0x29:
        return None
    label = fat.raw[offset : offset + 11].decode("ascii", "replace").rstrip()
    return None if label == "NO NAME" else label or None


def refuse_other_geometry(volume: Volume, fat: Fat) -> None:
    """Raise Uncertain when what else is known of the volume contradicts the boot sector."""
    need = ceil_div((fat.clusters + 2) * fat.bits, 8)
    if need > fat.table_bytes or fat.size > volume.size:
        raise Uncertain("damaged" if fat.size <= volume.size else "too_large")
    refuse_if(fat.bits == 32 and struct.unpack_from("<H", fat.raw, 42)[0], "unknown_features")
    if fat.has_backup:
        backup = volume.read(struct.unpack_from("<H", fat.raw, 50)[0] * fat.sector, _SECTOR)
        if backup[_GEOMETRY] != fat.raw[_GEOMETRY] or backup[510:] != b"\x55\xaa":
            raise Uncertain("damaged")
    else:
        table_slack, slack = fat.table_bytes - need, volume.size - fat.size
        if table_slack >= max(fat.cluster, 2 * fat.sector) + fat.sector or slack >= max(
            fat.cluster, _TRACK * fat.sector
        ):
            raise Uncertain("damaged")


def refuse_unclean(fat: Fat, mark: int) -> None:
    """Raise Uncertain for a volume that was not unmounted. ``mark`` is entry 1 of the table; FAT12 has none."""
    offset = 65 if fat.bits == 32 else 37
    flags = fat.raw[offset] if fat.raw[offset + 1] in (0x28, 0x29) else 0
    clean, whole = {12: (0, 0), 16: (0x8000, 0x4000), 32: (0x08000000, 0x04000000)}[fat.bits]
    refuse_if(flags & 1 or mark & clean != clean, "unclean")
    refuse_if(flags & 2 or mark & whole != whole, "errors")


class Table:
    """The entries of the active table, those of FAT12 and FAT16 in memory. Raises Uncertain where tables differ."""

    def __init__(self, volume: Volume, fat: Fat) -> None:
        self._volume = volume
        self._fat = fat
        flags = struct.unpack_from("<H", fat.raw, 40)[0] if fat.bits == 32 else 0
        number = flags & 15 if flags & _ONE_TABLE else 0
        refuse_if(number >= len(fat.tables))
        self._start = fat.tables[number]
        self._copies = () if flags & _ONE_TABLE else fat.tables[1:]
        self._all = array("I") if fat.bits == 32 else self._read(0, fat.clusters + 2)

    def value(self, number: int) -> int:
        """One entry."""
        if self._all:
            return self._all[number]
        return struct.unpack("<I", self._volume.read(self._start + 4 * number, 4))[0] & self._fat.mask

    def pieces(self) -> Iterator[Tuple[int, array[int]]]:
        """All entries from 2 on in pieces: the number of the first, and the entries."""
        end = self._fat.clusters + 2
        for first in range(2, end, _PIECE):
            count = min(_PIECE, end - first)
            yield first, self._all[first : first + count] if self._all else self._read(first, count)

    def _read(self, first: int, count: int) -> array[int]:
        """Entries; of two tables those from 2 on must be the same."""
        fat = self._fat
        offset, length = first * fat.bits // 8, ceil_div(count * fat.bits, 8)
        raw = self._volume.read(self._start + offset, length)
        reserved = 0 if first else fat.bits // 4
        for copy in self._copies:
            refuse_if(self._volume.read(copy + offset + reserved, length - reserved) != raw[reserved:])
        return _entries(raw, fat, count)


def _entries(raw: bytes, fat: Fat, count: int) -> array[int]:
    if fat.bits == 12:
        value = int.from_bytes(raw, "little")
        return array("I", [value >> 12 * number & 0xFFF for number in range(count)])
    entries = array("H" if fat.bits == 16 else "I", raw)
    if sys.byteorder == "big":
        entries.byteswap()
    if fat.bits == 32 and max(entries) > fat.mask:
        return array("I", [entry & fat.mask for entry in entries])
    return entries

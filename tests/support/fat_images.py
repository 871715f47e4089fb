# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes of FAT12, FAT16 and FAT32 with folders and files where a test wants them."""

from __future__ import annotations

import struct
from typing import Dict, List, NamedTuple, Sequence, Tuple

from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk

SECTOR, FOLDER, FILE = 512, 0x10, 0x20


class Geometry(NamedTuple):
    """Sectors of each part, by type."""

    clusters: int
    per_cluster: int
    reserved: int
    entries: int


GEOMETRIES = {12: Geometry(300, 2, 1, 32), 16: Geometry(5000, 1, 1, 64), 32: Geometry(70000, 1, 32, 0)}


def entry(name: str, kind: int, first: int, size: int = 0) -> bytes:
    """An entry of a folder, its name as it is stored without the dot."""
    head = struct.pack("<11sB8xH4xHI", name.ljust(11).encode("ascii"), kind, first >> 16, first & 0xFFFF, size)
    return head


class FatVolume:
    """What is built: change ``table``, ``folders`` and ``fields`` (of the boot sector, by offset) before.

    It has a folder in cluster 5 with a file in clusters 7, 8 and 10.
    """

    def __init__(self, bits: int, tables: int = 2) -> None:
        self.bits = bits
        self.geometry = GEOMETRIES[bits]
        self.tables = tables
        self.end = (1 << min(bits, 28)) - 1
        self.table: Dict[int, int] = {0: self.end & ~0xFF | 0xF8, 1: self.end, 5: self.end, 7: 8, 8: 10, 10: self.end}
        self.root: List[bytes] = [entry("VOLUME", 8, 0), entry("SUB", FOLDER, 5)]
        self.folders: Dict[int, Sequence[bytes]] = {
            5: [entry(".", FOLDER, 5), entry("..", FOLDER, 0), entry("A", FILE, 7, 3 * self.cluster - 10)]
        }
        if bits == 32:
            self.table[2] = self.end
        self.fields: List[Tuple[int, bytes]] = []
        self.second: Dict[int, int] = {}

    @property
    def cluster(self) -> int:
        return self.geometry.per_cluster * SECTOR

    @property
    def table_sectors(self) -> int:
        return -(-(self.geometry.clusters + 2) * self.bits // 8 // SECTOR)

    @property
    def root_sector(self) -> int:
        return self.geometry.reserved + self.tables * self.table_sectors

    @property
    def sectors(self) -> int:
        return self.place(self.geometry.clusters + 2) // SECTOR

    def place(self, cluster: int) -> int:
        """Where a cluster begins, in bytes."""
        data = self.root_sector + -(-32 * self.geometry.entries // SECTOR)
        return data * SECTOR + (cluster - 2) * self.cluster

    def build(self, tail: int = 0) -> BlockDisk:
        """The volume, with ``tail`` bytes behind it."""
        disk = BlockDisk(self.sectors * SECTOR + tail)
        for number in range(self.tables):
            held = {**self.table, **(self.second if number else {})}
            raw = self._packed([held.get(index, 0) for index in range(self.geometry.clusters + 2)])
            disk.put((self.geometry.reserved + number * self.table_sectors) * SECTOR, raw)
        if self.bits == 32:
            disk.put(self.place(2), b"".join(self.root))
        else:
            disk.put(self.root_sector * SECTOR, b"".join(self.root))
        for cluster, entries in self.folders.items():
            disk.put(self.place(cluster), b"".join(entries))
        self._put_boot(disk)
        return disk

    def _packed(self, values: Sequence[int]) -> bytes:
        if self.bits == 12:
            whole = sum(value << 12 * index for index, value in enumerate(values))
            return whole.to_bytes(-(-len(values) * 12 // 8), "little")
        return struct.pack(f"<{len(values)}{'H' if self.bits == 16 else 'I'}", *values)

    def _put_boot(self, disk: BlockDisk) -> None:
        geometry, raw = self.geometry, bytearray(SECTOR)
        is_32 = self.bits == 32
        small, few = (0 if is_32 else self.table_sectors), (0 if self.sectors > 0xFFFF else self.sectors)
        struct.pack_into("<3s8s", raw, 0, b"\xeb\x3c\x90", b"made  us")
        struct.pack_into(
            "<HBHBHHBH",
            raw,
            11,
            SECTOR,
            geometry.per_cluster,
            geometry.reserved,
            self.tables,
            geometry.entries,
            few,
            0xF8,
            small,
        )
        struct.pack_into("<I", raw, 32, 0 if few else self.sectors)
        if is_32:
            struct.pack_into("<IHHIHH", raw, 36, self.table_sectors, 0, 0, 2, 1, 6)
        struct.pack_into("<BBBI11s", raw, 64 if is_32 else 36, 0x80, 0, 0x29, 1, b"A VOLUME   ")
        raw[510:] = b"\x55\xaa"
        if is_32:
            disk.put(6 * SECTOR, bytes(raw))
        for offset, content in self.fields:
            raw[offset : offset + len(content)] = content
        disk.put(0, bytes(raw))


def with_loaders(bits: int, *names: str) -> BlockDisk:
    """A volume whose folder EFI/BOOT has these files, in names as they are stored."""
    volume = FatVolume(bits)
    volume.root = [entry("VOLUME", 8, 0), entry("EFI", FOLDER, 5)]
    files = [entry(name, FILE, 7 + number, 10) for number, name in enumerate(names)]
    volume.folders = {
        5: [entry(".", FOLDER, 5), entry("..", FOLDER, 0), entry("BOOT", FOLDER, 6)],
        6: [entry(".", FOLDER, 6), entry("..", FOLDER, 5), *files],
    }
    volume.table.update(dict.fromkeys(range(5, 7 + len(names)), volume.end))
    volume.table.pop(10)
    return volume.build()

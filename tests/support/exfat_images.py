# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""exFAT volumes with folders and files where a test wants them."""

from __future__ import annotations

import struct
from typing import Dict, List, Sequence, Set, Tuple

from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk

SECTOR, CLUSTER, TABLE, HEAP = 512, 1024, 24, 48
BITMAP, UPCASE, ROOT = 2, 3, 4
END, FOLDER, CONTIGUOUS = 0xFFFFFFFF, 0x10, 3


def set_sum(raw: bytes) -> bytes:
    """The checksum of a set of entries."""
    total = 0
    for number, byte in enumerate(raw):
        if number not in (2, 3):
            total = (total >> 1) + (total % 2 << 15) + byte & 0xFFFF
    return struct.pack("<H", total)


def sealed(raw: bytes) -> bytes:
    """A set of entries with its checksum."""
    return raw[:2] + set_sum(raw) + raw[4:]


def stored(kind: int, flags: int, first: int, size: int) -> bytes:
    """An entry that says where something is."""
    return struct.pack("<BB18xIQ", kind, flags, first, size)


def file(first: int, size: int, *, flags: int = 1, attributes: int = 0, more: Sequence[bytes] = ()) -> bytes:
    """The entries of a file: ``flags`` 1 when the table has its chain, 3 when its clusters follow one another."""
    names = [b"\xc1\0n\0".ljust(32, b"\0"), *more]
    head = struct.pack("<BBHH26x", 0x85, 1 + len(names), 0, attributes)
    return sealed(head + stored(0xC0, flags, first, size) + b"".join(names))


class ExfatVolume:
    """What is built: change its fields before. It has a folder in cluster 6 with a file in clusters 8, 9 and 12."""

    def __init__(self, clusters: int = 200) -> None:
        self.clusters = clusters
        self.table: Dict[int, int] = {0: 0xFFFFFFF8, 1: END, BITMAP: END, UPCASE: END, ROOT: END, 8: 9, 9: 12, 12: END}
        self.used: Set[int] = {BITMAP, UPCASE, ROOT, 6, 8, 9, 12}
        self.bitmap = stored(0x81, 0, BITMAP, -(-clusters // 8))
        self.root: List[bytes] = [stored(0x82, 0, UPCASE, 500), file(6, CLUSTER, flags=CONTIGUOUS, attributes=FOLDER)]
        self.folders: Dict[int, Sequence[bytes]] = {6: [file(8, 3 * CLUSTER - 5)]}
        self.fields: List[Tuple[int, bytes]] = []

    @staticmethod
    def place(cluster: int) -> int:
        """Where a cluster begins, in bytes."""
        return HEAP * SECTOR + (cluster - 2) * CLUSTER

    def build(self) -> BlockDisk:
        """The volume."""
        disk = BlockDisk(self.place(self.clusters + 2))
        values = [self.table.get(number, 0) for number in range(self.clusters + 2)]
        disk.put(TABLE * SECTOR, struct.pack(f"<{len(values)}I", *values))
        value = sum(1 << (number - 2) for number in self.used)
        disk.put(self.place(BITMAP), value.to_bytes(-(-self.clusters // 8), "little"))
        label = struct.pack("<BB4s26x", 0x83, 2, "Hi".encode("utf-16-le"))
        disk.put(self.place(ROOT), label + self.bitmap + b"".join(self.root))
        for cluster, entries in self.folders.items():
            disk.put(self.place(cluster), b"".join(entries))
        self._put_boot(disk)
        return disk

    def _put_boot(self, disk: BlockDisk) -> None:
        raw = bytearray(11 * SECTOR)
        raw[:11] = b"\xeb\x76\x90EXFAT   "
        struct.pack_into("<QIIIII", raw, 72, disk.size // SECTOR, TABLE, 24, HEAP, self.clusters, ROOT)
        struct.pack_into("<IHHBBB", raw, 100, 7, 0x100, 0, 9, 1, 1)
        raw[510:512] = b"\x55\xaa"
        for offset, content in self.fields:
            raw[offset : offset + len(content)] = content
        total = 0
        for number, byte in enumerate(raw):
            if number not in (106, 107, 112):
                total = (total >> 1) + (total % 2 << 31) + byte & 0xFFFFFFFF
        disk.put(0, bytes(raw) + struct.pack("<I", total) * (SECTOR // 4))

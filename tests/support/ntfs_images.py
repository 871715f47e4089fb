# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NTFS volumes with the system files that a reader of free space looks at, and files of a test's own.

::

    clusters  0-1 boot   2 mirror   4-11 master file table (32 records)   12-15 log   16 bitmap   then the test's
"""

from __future__ import annotations

import struct
from typing import Dict, List, Optional, Sequence, Set, Tuple

from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk

CLUSTER, RECORD, SECTOR = 4096, 1024, 512
MIRROR, TABLE, TABLE_CLUSTERS, LOG, LOG_CLUSTERS, BITMAP, FIRST_FREE = 2, 4, 8, 12, 4, 16, 17
Run = Tuple[Optional[int], int]


def _padded(raw: bytes) -> bytes:
    return raw.ljust(-(-len(raw) // 8) * 8, b"\0")


def resident(kind: int, value: bytes, name: str = "") -> bytes:
    """An attribute with its value in the record."""
    label = name.encode("utf-16-le")
    start = 24 + len(_padded(label))
    raw = struct.pack("<BBHHHIHH", 0, len(name), 24, 0, 0, len(value), start, 0) + _padded(label) + value
    return struct.pack("<II", kind, 8 + len(_padded(raw))) + _padded(raw)


def packed_runs(runs: Sequence[Run]) -> bytes:
    """Runs (first cluster or None for a hole, clusters) as they are stored."""
    found, at = b"", 0
    for first, count in runs:
        if first is None:
            found += struct.pack("<Bi", 0x04, count)
        else:
            found += struct.pack("<Biq", 0x84, count, first - at)
            at = first
    return found + b"\0"


def spread(kind: int, runs: Sequence[Run], name: str = "", *, first: int = 0, size: Optional[int] = None) -> bytes:
    """An attribute with its value in clusters, from cluster ``first`` of it on."""
    label = _padded(name.encode("utf-16-le"))
    held = sum(count for _first, count in runs)
    length = held * CLUSTER if size is None else size
    place = 64 + len(label)
    raw = struct.pack("<BBHHH", 1, len(name), 64, 0, 0)
    raw += struct.pack("<qqHHIQQQ", first, first + held - 1, place, 0, 0, held * CLUSTER, length, length)
    raw = _padded(raw + label + packed_runs(runs))
    return struct.pack("<II", kind, 8 + len(raw)) + raw


def record(attributes: Sequence[bytes], *, flags: int = 1, base: int = 0) -> bytes:
    """A record with its fixups applied, as it lies on the disk."""
    content = b"".join(attributes) + struct.pack("<II", 0xFFFFFFFF, 0)
    head = struct.pack("<4sHHQHHHHIIQHHI", b"FILE", 48, 3, 0, 1, 1, 56, flags, 56 + len(content), RECORD, base, 0, 0, 0)
    return with_fixups(bytearray((head + bytes(8) + content).ljust(RECORD, b"\0")), 48)


def with_fixups(raw: bytearray, place: int, mark: bytes = b"\7\0") -> bytes:
    """The last two bytes of each 512 moved to the list at ``place``, and the mark put there."""
    raw[place : place + 2] = mark
    for number in range(1, len(raw) // 512 + 1):
        end = number * 512
        raw[place + 2 * number : place + 2 * number + 2] = raw[end - 2 : end]
        raw[end - 2 : end] = mark
    return bytes(raw)


def file_name(name: str, parent: int = 5) -> bytes:
    """The attribute with the name of a file."""
    return resident(0x30, struct.pack("<Q56xBB", parent, len(name), 1) + name.encode("utf-16-le"))


def listed(parts: Sequence[Tuple[int, int]]) -> bytes:
    """An attribute list with parts of the unnamed data: first cluster and record."""
    rows = (struct.pack("<IHBBQQH6x", 0x80, 32, 0, 26, first, number, 0) for first, number in parts)
    return resident(0x20, b"".join(rows))


def information(flags: int = 0, version: Tuple[int, int] = (3, 1)) -> bytes:
    """The attribute with the state of the volume."""
    return resident(0x70, struct.pack("<QBBH", 0, *version, flags))


def restart_page(number: int, clients: int, flags: int = 0, version: Tuple[int, int] = (1, 1)) -> bytes:
    """A restart page of the log."""
    raw = bytearray(4096)
    struct.pack_into("<4sHHQIIHhh", raw, 0, b"RSTR", 30, 9, 0, 4096, 4096, 48, version[1], version[0])
    struct.pack_into("<QHHHH", raw, 48, number, 1, 0, clients, flags)
    return with_fixups(raw, 30)


class NtfsVolume:
    """What is built: change ``records`` (attributes by number), ``log``, ``used`` and ``flags`` before."""

    def __init__(self, clusters: int = 200) -> None:
        self.clusters = clusters
        self.log = b"\xff" * (LOG_CLUSTERS * CLUSTER)
        self.used: Set[int] = set()
        self.unused: Set[int] = set()
        self.mirrored = 4
        self.bases: Dict[int, int] = {}
        self.records: Dict[int, List[bytes]] = {
            0: [spread(0x80, [(TABLE, TABLE_CLUSTERS)])],
            1: [spread(0x80, [(MIRROR, 1)])],
            2: [spread(0x80, [(LOG, LOG_CLUSTERS)])],
            3: [resident(0x60, "Disk".encode("utf-16-le")), information()],
            5: [file_name(".")],
            6: [spread(0x80, [(BITMAP, 1)], size=-(-clusters // 64) * 8)],
            7: [spread(0x80, [(0, 2)])],
            8: [spread(0x80, [(None, clusters)], "$Bad")],
        }

    def build(self) -> BlockDisk:
        """The volume and its backup boot sector."""
        disk = BlockDisk(self.clusters * CLUSTER + SECTOR)
        for number in range(TABLE_CLUSTERS * CLUSTER // RECORD):
            attributes = self.records.get(number)
            raw = record(attributes or (), flags=0 if attributes is None else 1, base=self.bases.get(number, 0))
            disk.put(TABLE * CLUSTER + number * RECORD, raw)
        disk.put(MIRROR * CLUSTER, disk.get(TABLE * CLUSTER, self.mirrored * RECORD))
        disk.put(LOG * CLUSTER, self.log)
        disk.put(BITMAP * CLUSTER, self._bitmap())
        self._put_boot(disk)
        return disk

    def _bitmap(self) -> bytes:
        marked = (set(range(3)) | set(range(TABLE, FIRST_FREE)) | self.used) - self.unused
        length = -(-self.clusters // 64) * 8
        marked |= set(range(self.clusters, 8 * length))
        return sum(1 << bit for bit in marked).to_bytes(length, "little")

    def _put_boot(self, disk: BlockDisk) -> None:
        raw = bytearray(512)
        struct.pack_into("<3s8sHB", raw, 0, b"\xeb\x52\x90", b"NTFS    ", SECTOR, CLUSTER // SECTOR)
        struct.pack_into("<QQQbxxxb", raw, 40, self.clusters * CLUSTER // SECTOR, TABLE, MIRROR, -10, 1)
        raw[510:] = b"\x55\xaa"
        for place in (0, self.clusters * CLUSTER):
            disk.put(place, bytes(raw))

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GUID partition tables for tests, written and judged with nothing but struct and zlib."""

from __future__ import annotations

import struct
import uuid
import zlib
from typing import Dict, List, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.tests.support.fat_images import with_loaders

SECTOR = 512
_TYPE = bytes(range(16))


ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
"""The type of an EFI system partition."""


def bootable(disk: bytes) -> bytes:
    """``disk`` with an EFI system partition and loaders in it; the first 34 and the last 33 sectors are the table's."""
    loaders = with_loaders(12, "BOOTAA64EFI", "BOOTX64 EFI")
    disk = disk[: 64 * SECTOR] + loaders.get(0, loaders.size) + disk[64 * SECTOR + loaders.size :]
    return with_gpt(disk, [(64, len(disk) // SECTOR - 64)], types=[ESP])


def with_gpt(
    disk: bytes,
    partitions: Sequence[Tuple[int, int]],
    *,
    entries: int = 128,
    width: int = 128,
    hybrid: bool = False,
    types: Optional[Sequence[str]] = None,
) -> bytes:
    """``disk`` with a table of these partitions (first and last sector), its backup at the end.

    ``types`` are the GUIDs of their types.
    """
    last = len(disk) // SECTOR - 1
    table = b"".join(
        (_TYPE if types is None else uuid.UUID(types[number - 1]).bytes_le)
        + bytes([number]) * 16
        + struct.pack("<QQQ", first, end, 0)
        + bytes(width - 56)
        for number, (first, end) in enumerate(partitions, 1)
    )
    table = table.ljust(entries * width, b"\0")
    sectors = -(-len(table) // SECTOR)
    content = bytearray(disk)
    record = bytearray(SECTOR)
    record[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(last, 0xFFFFFFFF))
    if hybrid:
        record[462:478] = struct.pack("<B3sB3sII", 0x80, bytes(3), 0x07, bytes(3), 40, 8)
    record[510:] = b"\x55\xaa"
    content[:SECTOR] = record
    content[SECTOR : 2 * SECTOR] = _header(1, last, 2 + sectors, last - sectors - 1, 2, entries, width, table)
    content[2 * SECTOR : 2 * SECTOR + len(table)] = table
    content[(last - sectors) * SECTOR : (last - sectors) * SECTOR + len(table)] = table
    content[last * SECTOR : (last + 1) * SECTOR] = _header(
        last, 1, 2 + sectors, last - sectors - 1, last - sectors, entries, width, table
    )
    return bytes(content)


def _header(own: int, other: int, first: int, end: int, at: int, count: int, width: int, table: bytes) -> bytes:
    header = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        b"EFI PART",
        0x10000,
        92,
        0,
        0,
        own,
        other,
        first,
        end,
        b"G" * 16,
        at,
        count,
        width,
        zlib.crc32(table),
    )
    return (header[:16] + struct.pack("<I", zlib.crc32(header)) + header[20:]).ljust(SECTOR, b"\0")


def judge(disk: bytes) -> List[Tuple[int, int]]:
    """The partitions of a disk whose table is sound at both ends and fits the disk; else an AssertionError."""
    last = len(disk) // SECTOR - 1
    found = []
    for own, other in ((1, last), (last, 1)):
        raw = disk[own * SECTOR : (own + 1) * SECTOR]
        signature, _revision, size, checksum, _zero, here, there, first, end, _guid, at, count, width, table_sum = (
            struct.unpack_from("<8sIIIIQQQQ16sQIII", raw)
        )
        assert signature == b"EFI PART" and zlib.crc32(raw[:16] + bytes(4) + raw[20:size]) == checksum, (
            f"header in sector {own}"
        )
        assert (here, there) == (own, other)
        table = disk[at * SECTOR : at * SECTOR + count * width]
        assert zlib.crc32(table) == table_sum
        sectors = -(-len(table) // SECTOR)
        assert at == (2 if own == 1 else last - sectors) and end == last - sectors - 1 and first >= 2 + sectors
        entries = [table[start : start + width] for start in range(0, len(table), width)]
        found.append([struct.unpack_from("<QQ", entry, 32) for entry in entries if any(entry[:16])])
    assert found[0] == found[1]
    assert all(start <= stop <= last - sectors - 1 for start, stop in found[0])
    return [tuple(pair) for pair in found[0]]


def protected(disk: bytes) -> int:
    """How many sectors the protective entry of the boot record covers."""
    return int(struct.unpack_from("<I", disk, 446 + 12)[0])


def entries_of(disk: bytes) -> Dict[int, Tuple[int, int, bytes]]:
    """First and last sector and unique GUID by number, as the primary header says, wherever its entries are.

    Raises AssertionError for a header or entries that are not sound.
    """
    raw = disk[SECTOR : 2 * SECTOR]
    size, checksum = struct.unpack_from("<II", raw, 12)
    assert raw[:8] == b"EFI PART" and zlib.crc32(raw[:16] + bytes(4) + raw[20:size]) == checksum, "primary header"
    at, count, width, table_sum = struct.unpack_from("<QIII", raw, 72)
    table = disk[at * SECTOR : at * SECTOR + count * width]
    assert zlib.crc32(table) == table_sum, "entries"
    entries = {number: table[number * width : (number + 1) * width] for number in range(count)}
    return {
        number + 1: (*struct.unpack_from("<QQ", entry, 32), entry[16:32])
        for number, entry in entries.items()
        if any(entry[:16])
    }

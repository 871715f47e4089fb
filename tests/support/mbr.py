# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot records with partitions for tests, written and read with nothing but struct."""

from __future__ import annotations

import struct
from typing import Dict, Sequence, Tuple

SECTOR = 512
Partition = Tuple[int, int, int]
"""Type, first sector and number of sectors."""


def _record(entries: Sequence[Partition], signature: int = 0) -> bytes:
    record = bytearray(SECTOR)
    struct.pack_into("<I", record, 440, signature)
    for slot, (kind, start, count) in enumerate(entries):
        struct.pack_into("<B3sB3sII", record, 446 + 16 * slot, 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", start, count)
    record[510:] = b"\x55\xaa"
    return bytes(record)


def with_mbr(disk: bytes, primary: Sequence[Partition], logical: Sequence[Partition] = (), *, gap: int = 8) -> bytes:
    """``disk`` with these partitions; the records of logical ones are ``gap`` sectors before them, and the extended
    partition, of type 5, begins with the first record.
    """
    content = bytearray(disk)
    content[:SECTOR] = _record(primary, 0x12345678)
    base = next((start for kind, start, _count in primary if kind == 5), 0)
    for number, (kind, start, count) in enumerate(logical):
        entries = [(kind, gap, count)]
        if number + 1 < len(logical):
            following = logical[number + 1]
            entries.append((5, following[1] - gap - base, following[2] + gap))
        at = (start - gap) * SECTOR
        content[at : at + SECTOR] = _record(entries)
    return bytes(content)


def entries_of(disk: bytes) -> Dict[int, Partition]:
    """The partitions by number, logical ones from 5 on."""
    found = {
        slot + 1: struct.unpack_from("<xxxxBxxxII", disk, 446 + 16 * slot)
        for slot in range(4)
        if disk[446 + 16 * slot + 4]
    }
    assert disk[510:512] == b"\x55\xaa", "boot record"
    outer = [one for one in found.values() if one[0] == 5]
    record = base = outer[0][1] if outer else 0
    number = 5
    while record:
        raw = disk[record * SECTOR : (record + 1) * SECTOR]
        assert raw[510:] == b"\x55\xaa", f"record in sector {record}"
        kind, start, count = struct.unpack_from("<xxxxBxxxII", raw, 446)
        found[number] = (kind, record + start, count)
        assert record + start + count <= base + outer[0][2], "a logical partition reaches out of its extended one"
        following = struct.unpack_from("<I", raw, 470)[0]
        record, number = base + following if following else 0, number + 1
    return found

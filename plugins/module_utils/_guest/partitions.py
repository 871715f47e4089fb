# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partition tables of a guest disk: GPT and MBR, read only, from UEFI 2.10 section 5 and the classic boot record."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
import zlib
from typing import Any, Dict, List, Optional

from .._core.units import SECTOR
from .._formats.image import Readable

_MBR_SIGNATURE = b"\x55\xaa"
_GPT_SIGNATURE = b"EFI PART"
_GPT_LARGEST_TABLE = 1 << 20
_PROTECTIVE = 0xEE
_EXTENDED = frozenset((0x05, 0x0F, 0x85))
_MOST_LOGICAL = 128

Table = Dict[str, Any]


def read_partitions(disk: Readable) -> Optional[Table]:
    """The partition table of ``disk``, or None when there is none that makes sense. Start and size are bytes."""
    if disk.size < 2 * SECTOR:
        return None
    first = _sector(disk, 0)
    if first[510:512] != _MBR_SIGNATURE:
        return None
    entries = [first[446 + 16 * index : 462 + 16 * index] for index in range(4)]
    if any(entry[4] == _PROTECTIVE for entry in entries):
        return _read_gpt(disk)
    return _read_mbr(disk, entries)


def _sector(disk: Readable, number: int) -> bytes:
    return _read(disk, number * SECTOR, SECTOR)


def _read(disk: Readable, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    disk.pread_into(offset, buffer)
    return bytes(buffer)


def _read_gpt(disk: Readable) -> Optional[Table]:
    header = _sector(disk, 1)
    size, checksum = struct.unpack_from("<II", header, 12)
    if header[:8] != _GPT_SIGNATURE or not 92 <= size <= SECTOR:
        return None
    if zlib.crc32(header[:16] + bytes(4) + header[20:size]) != checksum:
        return None
    backup = struct.unpack_from("<Q", header, 32)[0]
    table_sector, count, entry_bytes = struct.unpack_from("<QII", header, 72)
    length = count * entry_bytes
    if entry_bytes < 128 or length > _GPT_LARGEST_TABLE or table_sector * SECTOR + length > disk.size:
        return None
    table = _read(disk, table_sector * SECTOR, length)
    entries = []
    for number in range(count):
        entry = table[number * entry_bytes : (number + 1) * entry_bytes]
        if any(entry[:16]):
            entries.append(_gpt_entry(number + 1, entry))
    at_end = backup == disk.size // SECTOR - 1
    return {"scheme": "gpt", "entries": entries, "backup_header_at_end": at_end}


def _gpt_entry(number: int, entry: bytes) -> Dict[str, Any]:
    first, last = struct.unpack_from("<QQ", entry, 32)
    name = entry[56:128].decode("utf-16-le", "replace").split("\0", 1)[0]
    return {
        "number": number,
        "type": _guid(entry[:16]),
        "name": name,
        "start": first * SECTOR,
        "size": max(0, last - first + 1) * SECTOR,
    }


def _guid(raw: bytes) -> str:
    first, second, third = struct.unpack_from("<IHH", raw)
    rest = raw[8:].hex()
    return f"{first:08x}-{second:04x}-{third:04x}-{rest[:4]}-{rest[4:]}"


def _read_mbr(disk: Readable, entries: List[bytes]) -> Optional[Table]:
    found = []
    for number, entry in enumerate(entries, 1):
        kind, (start, length) = entry[4], struct.unpack_from("<II", entry, 8)
        if entry[0] not in (0, 0x80):
            return None
        if kind == 0 or length == 0:
            continue
        found.append(_mbr_entry(number, kind, start, length))
        if kind in _EXTENDED:
            found += _logical(disk, start)
    return {"scheme": "mbr", "entries": found} if found else None


def _mbr_entry(number: int, kind: int, start: int, length: int) -> Dict[str, Any]:
    return {"number": number, "type": f"0x{kind:02x}", "name": None, "start": start * SECTOR, "size": length * SECTOR}


def _logical(disk: Readable, base: int) -> List[Dict[str, Any]]:
    """The partitions in an extended one: a chain of boot records, bounded because it may run in a circle."""
    found: List[Dict[str, Any]] = []
    record = base
    for number in range(5, 5 + _MOST_LOGICAL):
        if (record + 1) * SECTOR > disk.size:
            break
        sector = _sector(disk, record)
        if sector[510:512] != _MBR_SIGNATURE:
            break
        kind, (start, length) = sector[450], struct.unpack_from("<II", sector, 454)
        following = struct.unpack_from("<I", sector, 470)[0]
        if kind and length:
            found.append(_mbr_entry(number, kind, record + start, length))
        if not following:
            break
        record = base + following
    return found

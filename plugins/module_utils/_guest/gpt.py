# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backup of a GUID partition table: what to write when the end of the disk has moved (UEFI 2.10, section 5.3).

::

    0     1         2 ..                        last - n      last
    | MBR | primary | entries | partitions ...  | entries (n) | backup |

A primary header names the sector of its backup, and how far partitions may reach. Both headers carry checksums of
themselves and of the entries. Sectors are 512 bytes.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
import zlib
from typing import Optional, Tuple

from .._core.records import dataclass
from .._formats.image import GuestView

SECTOR = 512
_SIGNATURE = b"EFI PART"
_PROTECTIVE = 0xEE
_LARGEST_TABLE = 1 << 20
_U32 = (1 << 32) - 1
_CHECKSUM, _OWN_SECTOR, _LAST_USABLE, _ENTRIES_SECTOR, _COUNTS = 16, 24, 48, 72, 80


@dataclass(frozen=True)
class Gpt:
    """A sound primary table: its boot record, its header sector and its entries, all as stored. Numbers are sectors.

    ``backup`` is where the backup header should be, ``last_used`` the last sector of any partition.
    """

    boot_record: bytes
    header: bytes
    header_bytes: int
    entries: bytes
    backup: int
    last_used: int

    @property
    def entry_sectors(self) -> int:
        """The sectors that the entries take."""
        return -(-len(self.entries) // SECTOR)


@dataclass(frozen=True)
class GptMove:
    """What to write: pairs of guest offset and bytes.

    ``backup`` first, then ``boot_record`` (None: it is right), then ``primary``, one sector.
    """

    backup: Tuple[int, bytes]
    boot_record: Optional[Tuple[int, bytes]]
    primary: Tuple[int, bytes]


def read_gpt(disk: GuestView) -> Optional[Gpt]:
    """The primary table of ``disk``, None when there is none or when anything of it is wrong."""
    if disk.size < 3 * SECTOR:
        return None
    boot_record, header = _read(disk, 0, SECTOR), _read(disk, SECTOR, SECTOR)
    if boot_record[510:] != b"\x55\xaa" or _protective(boot_record) is None:
        return None
    found = checked_entries(disk, header, own_sector=1)
    if found is None:
        return None
    header_bytes, entries = found
    width = struct.unpack_from("<I", header, _COUNTS + 4)[0]
    last_used = 0
    for start in range(0, len(entries), width):
        if any(entries[start : start + 16]):
            last_used = max(last_used, struct.unpack_from("<Q", entries, start + 40)[0])
    return Gpt(boot_record, header, header_bytes, entries, struct.unpack_from("<Q", header, 32)[0], last_used)


def backup_ranges(disk: GuestView) -> Tuple[Tuple[int, int], ...]:
    """The bytes ``(start, end)`` that a sound backup in the last sector of ``disk``, and its entries, take."""
    last = disk.size // SECTOR - 1
    header = _read(disk, last * SECTOR, SECTOR) if last > 1 else b""
    found = checked_entries(disk, header, own_sector=last)
    if found is None:
        return ()
    start = struct.unpack_from("<Q", header, _ENTRIES_SECTOR)[0] * SECTOR
    return ((start, start + len(found[1])), (last * SECTOR, last * SECTOR + SECTOR))


def checked_entries(
    disk: GuestView, header: bytes, *, own_sector: int, sector_bytes: int = SECTOR
) -> Optional[Tuple[int, bytes]]:
    """The length of a header and its entries when signature, place and checksums are right."""
    if header[:8] != _SIGNATURE:
        return None
    length, checksum = struct.unpack_from("<II", header, 12)
    if not 92 <= length <= SECTOR or zlib.crc32(header[:16] + bytes(4) + header[20:length]) != checksum:
        return None
    sector, count, width, entries_checksum = struct.unpack_from("<QIII", header, _ENTRIES_SECTOR)
    size = count * width
    start = sector * sector_bytes
    is_possible = width >= 128 and width % 8 == 0 and 0 < size <= _LARGEST_TABLE and start + size <= disk.size
    if not is_possible or struct.unpack_from("<Q", header, _OWN_SECTOR)[0] != own_sector:
        return None
    entries = _read(disk, start, size)
    return (length, entries) if zlib.crc32(entries) == entries_checksum else None


def move_backup(gpt: Gpt, size: int) -> Optional[GptMove]:
    """What lets the table fit a disk of ``size`` bytes; None when partitions reach into the place of the backup."""
    last = size // SECTOR - 1
    entries_at = last - gpt.entry_sectors
    if entries_at - 1 < gpt.last_used or entries_at < struct.unpack_from("<Q", gpt.header, 40)[0]:
        return None
    entries_of_primary = struct.unpack_from("<Q", gpt.header, _ENTRIES_SECTOR)[0]
    primary = _header(gpt, own=1, other=last, last_usable=entries_at - 1, entries_at=entries_of_primary)
    backup = _header(gpt, own=last, other=1, last_usable=entries_at - 1, entries_at=entries_at)
    padded = gpt.entries + bytes(-len(gpt.entries) % SECTOR)
    return GptMove((entries_at * SECTOR, padded + backup), _boot_record(gpt, last), (SECTOR, primary))


def is_in_place(gpt: Gpt, size: int) -> bool:
    """Whether the table fits a disk of ``size`` bytes as it is."""
    return gpt.backup == size // SECTOR - 1 and _boot_record(gpt, gpt.backup) is None


def _header(gpt: Gpt, *, own: int, other: int, last_usable: int, entries_at: int) -> bytes:
    header = bytearray(gpt.header)
    struct.pack_into("<QQ", header, _OWN_SECTOR, own, other)
    struct.pack_into("<Q", header, _LAST_USABLE, last_usable)
    struct.pack_into("<Q", header, _ENTRIES_SECTOR, entries_at)
    header[_CHECKSUM : _CHECKSUM + 4] = bytes(4)
    struct.pack_into("<I", header, _CHECKSUM, zlib.crc32(header[: gpt.header_bytes]))
    return bytes(header)


def _protective(boot_record: bytes) -> Optional[int]:
    """The offset of the entry that protects the disk from tools that do not know GPT."""
    return next((offset for offset in range(446, 510, 16) if boot_record[offset + 4] == _PROTECTIVE), None)


def _boot_record(gpt: Gpt, last: int) -> Optional[Tuple[int, bytes]]:
    """The boot record with a protective entry that covers the disk; None when it is right, or a hybrid."""
    place = _protective(gpt.boot_record)
    others = [
        offset for offset in range(446, 510, 16) if offset != place and any(gpt.boot_record[offset : offset + 16])
    ]
    if place is None or others:
        return None
    start, count = struct.unpack_from("<II", gpt.boot_record, place + 8)
    wanted = min(last, _U32)
    if start != 1 or count in (wanted, _U32):
        return None
    changed = bytearray(gpt.boot_record)
    struct.pack_into("<I", changed, place + 12, wanted)
    return 0, bytes(changed)


def _read(disk: GuestView, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    disk.pread_into(offset, buffer)
    return bytes(buffer)

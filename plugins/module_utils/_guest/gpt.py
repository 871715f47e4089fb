# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GUID partition table: what to write when the end of the disk or partitions have moved (UEFI 2.10, section 5.3).

::

    0     1         2 ..                        last - n      last
    | MBR | primary | entries | partitions ...  | entries (n) | backup |

A primary header names the sector of its backup, of its entries, and how far partitions may reach. Both headers carry
checksums of themselves and of the entries, so a header and its entries cannot change at once. New entries therefore
come to the end of the disk first; then one sector, the primary header, names those; then the entries in front are
written, and the header names them again. A sector has 512 or 4096 bytes; a header has at most 512.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
import zlib
from typing import Optional, Tuple

from .._core.records import dataclass
from .._formats.image import GuestView, Readable

SECTOR_SIZES = (512, 4096)
_HEADER = 512
_FRONT = 2
_SIGNATURE = b"EFI PART"
_PROTECTIVE = 0xEE
_LARGEST_TABLE = 1 << 20
_U32 = (1 << 32) - 1
_CHECKSUM, _OWN_SECTOR, _LAST_USABLE, _ENTRIES_SECTOR, _COUNTS, _ENTRIES_CHECKSUM = 16, 24, 48, 72, 80, 88

Write = Tuple[int, bytes]
"""Bytes and the guest offset where they go."""


@dataclass(frozen=True)
class Gpt:
    """A sound primary table: its boot record, its header and its entries, all as stored. Numbers are sectors.

    ``sector`` is the bytes of one, ``backup`` where the backup header should be, ``last_used`` the last sector of any
    partition.
    """

    sector: int
    boot_record: bytes
    header: bytes
    header_bytes: int
    entries: bytes
    backup: int
    last_used: int

    @property
    def entry_sectors(self) -> int:
        """The sectors that the entries take."""
        return -(-len(self.entries) // self.sector)

    @property
    def width(self) -> int:
        """The bytes of one entry."""
        return _number(self.header, "<I", _COUNTS + 4)

    @property
    def front(self) -> int:
        """Where the entries belong: where they are, unless a change left them at the end of the disk."""
        at = _number(self.header, "<Q", _ENTRIES_SECTOR)
        return _FRONT if at == self.backup - self.entry_sectors else at

    @property
    def is_unfinished(self) -> bool:
        """Whether the header names the entries at the end of the disk, as in the middle of a change."""
        return self.front != _number(self.header, "<Q", _ENTRIES_SECTOR)

    @property
    def is_hybrid(self) -> bool:
        """Whether the boot record has entries of its own beside the protective one."""
        place = _protective(self.boot_record)
        return any(any(self.boot_record[at : at + 16]) for at in range(446, 510, 16) if at != place)

    def end_of_partitions(self, size: int) -> int:
        """The byte behind the last that a partition may have on a disk of ``size`` bytes."""
        return (size // self.sector - 1 - self.entry_sectors) * self.sector


@dataclass(frozen=True)
class GptMove:
    """What to write, in order: ``before`` is seen by nobody, ``commit`` is one sector, ``after`` changes nothing."""

    before: Tuple[Write, ...]
    commit: Write
    after: Tuple[Write, ...] = ()


def read_gpt(disk: GuestView) -> Optional[Gpt]:
    """The primary table of ``disk``, None when there is none or when anything of it is wrong."""
    for sector in SECTOR_SIZES:
        found = _read_gpt(disk, sector)
        if found is not None:
            return found
    return None


def has_signature(disk: GuestView) -> bool:
    """Whether there is a primary or a backup header, however damaged."""
    places = [at for sector in SECTOR_SIZES for at in (sector, disk.size // sector * sector - sector)]
    return any(disk.size >= at + _HEADER and at > 0 and _read(disk, at, 8) == _SIGNATURE for at in places)


def _read_gpt(disk: GuestView, sector: int) -> Optional[Gpt]:
    if disk.size < 3 * sector:
        return None
    boot_record, header = _read(disk, 0, _HEADER), _read(disk, sector, _HEADER)
    if boot_record[510:] != b"\x55\xaa" or _protective(boot_record) is None:
        return None
    found = checked_entries(disk, header, own_sector=1, sector_bytes=sector)
    if found is None:
        return None
    header_bytes, entries = found
    width = _number(header, "<I", _COUNTS + 4)
    last_used = 0
    for start in range(0, len(entries), width):
        if any(entries[start : start + 16]):
            last_used = max(last_used, _number(entries, "<Q", start + 40))
    return Gpt(sector, boot_record, header, header_bytes, entries, _number(header, "<Q", 32), last_used)


def backup_ranges(disk: GuestView) -> Tuple[Tuple[int, int], ...]:
    """The bytes ``(start, end)`` that a sound backup in the last sector of ``disk``, and its entries, take."""
    for sector in SECTOR_SIZES:
        last = disk.size // sector - 1
        header = _read(disk, last * sector, _HEADER) if last > 1 else b""
        found = checked_entries(disk, header, own_sector=last, sector_bytes=sector)
        if found is not None:
            start = _number(header, "<Q", _ENTRIES_SECTOR) * sector
            return ((start, start + len(found[1])), (last * sector, last * sector + sector))
    return ()


def checked_entries(
    disk: Readable, header: bytes, *, own_sector: int, sector_bytes: int
) -> Optional[Tuple[int, bytes]]:
    """The length of a header and its entries when signature, place and checksums are right."""
    if header[:8] != _SIGNATURE:
        return None
    length, checksum = struct.unpack_from("<II", header, 12)
    if not 92 <= length <= _HEADER or zlib.crc32(header[:16] + bytes(4) + header[20:length]) != checksum:
        return None
    at, count, width, entries_checksum = struct.unpack_from("<QIII", header, _ENTRIES_SECTOR)
    size = count * width
    is_possible = (
        width >= 128 and width % 8 == 0 and 0 < size <= _LARGEST_TABLE and at * sector_bytes + size <= disk.size
    )
    if not is_possible or _number(header, "<Q", _OWN_SECTOR) != own_sector:
        return None
    entries = _read(disk, at * sector_bytes, size)
    return (length, entries) if zlib.crc32(entries) == entries_checksum else None


def move_backup(gpt: Gpt, size: int, entries: Optional[bytes] = None) -> Optional[GptMove]:
    """What lets the table fit a disk of ``size`` bytes, with other ``entries`` if they are given.

    None when partitions of the table as it is reach into the place of the backup.
    """
    last = size // gpt.sector - 1
    at_end = last - gpt.entry_sectors
    if at_end - 1 < gpt.last_used or at_end < _number(gpt.header, "<Q", 40):
        return None
    wanted = gpt.entries if entries is None else entries
    padded = wanted + bytes(-len(wanted) % gpt.sector)
    backup = _header(gpt, wanted, own=last, other=1, entries_at=at_end)
    record = _boot_record(gpt, last)
    before = ((at_end * gpt.sector, padded), (last * gpt.sector, backup), *([] if record is None else [record]))
    in_front = (gpt.front * gpt.sector, padded)
    finished = (gpt.sector, _header(gpt, wanted, own=1, other=last, entries_at=gpt.front))
    if gpt.is_unfinished:
        # Nobody looks for entries in front now.
        return GptMove((*before, in_front), finished)
    if wanted == gpt.entries:
        return GptMove(before, finished)
    named = (gpt.sector, _header(gpt, wanted, own=1, other=last, entries_at=at_end))
    return GptMove(before, named, (in_front, finished))


def is_in_place(gpt: Gpt, size: int) -> bool:
    """Whether the table fits a disk of ``size`` bytes as it is."""
    last = size // gpt.sector - 1
    return gpt.backup == last and not gpt.is_unfinished and _boot_record(gpt, last) is None


def _header(gpt: Gpt, entries: bytes, *, own: int, other: int, entries_at: int) -> bytes:
    header = bytearray(gpt.header)
    struct.pack_into("<QQ", header, _OWN_SECTOR, own, other)
    struct.pack_into("<Q", header, _LAST_USABLE, max(own, other) - gpt.entry_sectors - 1)
    struct.pack_into("<Q", header, _ENTRIES_SECTOR, entries_at)
    struct.pack_into("<I", header, _ENTRIES_CHECKSUM, zlib.crc32(entries))
    header[_CHECKSUM : _CHECKSUM + 4] = bytes(4)
    struct.pack_into("<I", header, _CHECKSUM, zlib.crc32(header[: gpt.header_bytes]))
    return bytes(header)


def _number(raw: bytes, format: str, offset: int) -> int:
    return int(struct.unpack_from(format, raw, offset)[0])


def _protective(boot_record: bytes) -> Optional[int]:
    """The offset of the entry that protects the disk from tools that do not know GPT."""
    return next((offset for offset in range(446, 510, 16) if boot_record[offset + 4] == _PROTECTIVE), None)


def _boot_record(gpt: Gpt, last: int) -> Optional[Write]:
    """The boot record with a protective entry that covers the disk; None when it is right, or a hybrid."""
    place = _protective(gpt.boot_record)
    if place is None or gpt.is_hybrid:
        return None
    start, count = struct.unpack_from("<II", gpt.boot_record, place + 8)
    wanted = min(last, _U32)
    if start != 1 or count in (wanted, _U32):
        return None
    changed = bytearray(gpt.boot_record)
    struct.pack_into("<I", changed, place + 12, wanted)
    return 0, bytes(changed)


def _read(disk: Readable, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    disk.pread_into(offset, buffer)
    return bytes(buffer)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Boot sectors of NTFS and FAT, which say where their partition begins (the field of hidden sectors, byte 28)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterator, Tuple

from .._formats.image import GuestView

_HIDDEN = 28
_BACKUP_OF_FAT32 = 50
_LENGTH = 512


def moved_boot_sectors(disk: GuestView, start: int, end: int, place: int, sector: int) -> Iterator[Tuple[int, bytes]]:
    """What a file system says at ``place`` that was at ``start`` to ``end``: its boot sector and the copy of it.

    Nothing for one that does not say where it is, or says something else.
    """
    if end - start < 2 * sector or end > disk.size:
        return
    boot = bytearray(_LENGTH)
    disk.pread_into(start, boot)
    is_ntfs, is_fat32 = boot[3:11] == b"NTFS    ", boot[82:87] == b"FAT32"
    if not (is_ntfs or is_fat32) or struct.unpack_from("<I", boot, _HIDDEN)[0] != start // sector & 0xFFFFFFFF:
        return
    changed = bytearray(boot)
    struct.pack_into("<I", changed, _HIDDEN, place // sector & 0xFFFFFFFF)
    copy_at = end - start - sector if is_ntfs else struct.unpack_from("<H", boot, _BACKUP_OF_FAT32)[0] * sector
    for at in (0, copy_at):
        there = bytearray(_LENGTH)
        disk.pread_into(start + at, there)
        if there == boot and (at == 0 or 0 < at <= end - start - sector):
            yield place + at, bytes(changed)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a partition holds, by the marks that each product leaves: enough to say how its guest makes it larger."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Tuple

from .._formats.image import GuestView

BITLOCKER, LUKS, LVM, RAID, SWAP, HIBERNATED = "bitlocker", "luks", "lvm2", "raid", "swap", "hibernated"
EXT, XFS, BTRFS, NTFS, FAT, EXFAT = "ext", "xfs", "btrfs", "ntfs", "fat", "exfat"
APFS, HFS, CORE_STORAGE, REFS, UNKNOWN = "apfs", "hfsplus", "corestorage", "refs", "unknown"
UFS, ZFS = "ufs", "zfs"

_TO_GO = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
_RAID = b"\xfc\x4e\x2b\xa9"
_HIBERNATED = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001")
# The more telling marks come first: what encrypts or joins partitions stands before what it may be taken for.
_MARKS: Tuple[Tuple[str, int, bytes], ...] = (
    (BITLOCKER, 3, b"-FVE-FS-"),
    (BITLOCKER, 160, _TO_GO),
    (BITLOCKER, 424, _TO_GO),
    (LUKS, 0, b"LUKS\xba\xbe"),
    (RAID, 0, _RAID),
    (RAID, 4096, _RAID),
    *((LVM, 512 * sector, b"LABELONE") for sector in range(4)),
    *((SWAP, page - 10, mark) for page in (4096, 8192, 16384, 65536) for mark in (b"SWAPSPACE2", b"SWAP-SPACE")),
    *((HIBERNATED, page - 10, mark) for page in (4096, 8192, 16384, 65536) for mark in _HIBERNATED),
    (XFS, 0, b"XFSB"),
    (BTRFS, 65536 + 64, b"_BHRfS_M"),
    (APFS, 32, b"NXSB"),
    (CORE_STORAGE, 88, b"CS"),
    (HFS, 1024, b"H+"),
    (HFS, 1024, b"HX"),
    (EXT, 1024 + 56, b"\x53\xef"),
    (NTFS, 3, b"NTFS    "),
    (EXFAT, 3, b"EXFAT   "),
    # The first pair in the list of a label (XDR), and fs_magic of UFS2 in a little-endian superblock.
    (ZFS, 16384 + 24, b"version\0"),
    (UFS, 65536 + 1372, b"\x19\x01\x54\x19"),
    (REFS, 3, b"ReFS"),
    (FAT, 54, b"FAT1"),
    (FAT, 82, b"FAT32"),
)
_SHOWN = 70 << 10


def content_of(disk: GuestView, start: int, end: int) -> str:
    """What begins at byte ``start`` of the disk, by its marks; UNKNOWN for none."""
    head = bytearray(max(0, min(_SHOWN, end - start, disk.size - start)))
    if head:
        disk.pread_into(start, head)
    return next((kind for kind, at, mark in _MARKS if head[at : at + len(mark)] == mark), UNKNOWN)


def has_raid_at_end(disk: GuestView, start: int, end: int) -> bool:
    """Whether Linux RAID keeps its record at the end, where nobody finds it again in a larger partition."""
    length = end - start
    for at in (length // 4096 * 4096 - 8192, length // 65536 * 65536 - 65536):
        mark = bytearray(4)
        if 0 <= at <= length - 4:
            disk.pread_into(start + at, mark)
            if bytes(mark) == _RAID:
                return True
    return False

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known by its magic to hold something else than plain blocks of a file system, and what is never read.

It may have been made over a file system whose own magic is still there, as ZFS leaves the first 8 KiB alone.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Tuple

from ...._core.units import SECTOR
from ..volume import Volume

_MD = b"\xfc\x4e\x2b\xa9"
_TO_GO = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
# Type, reason, offset, magic.
_MAGICS: Tuple[Tuple[str, str, int, bytes], ...] = (
    ("luks", "encrypted", 0, b"LUKS\xba\xbe"),
    ("luks", "encrypted", 16384, b"SKUL\xba\xbe"),
    ("bitlocker", "encrypted", 3, b"-FVE-FS-"),
    ("bitlocker", "encrypted", 160, _TO_GO),
    ("bitlocker", "encrypted", 424, _TO_GO),
    ("corestorage", "encrypted", 88, b"CS"),
    ("md", "raid", 4096, _MD),
    ("md", "raid", 0, _MD),
    ("ldm", "raid", 0xC00, b"PRIVHEAD"),
    ("bcache", "unsupported", 4120, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    ("bcachefs", "unsupported", 4120, bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")),
    ("refs", "unsupported", 3, b"ReFS"),
    ("f2fs", "unsupported", 1024, b"\x10\x20\xf5\xf2"),
    ("nilfs2", "unsupported", 1024, b"\x02\0\0\0\0\0\x34\x34"),
    ("jfs", "unsupported", 32768, b"JFS1"),
    ("reiserfs", "unsupported", 65588, b"ReIsEr"),
    ("vdo", "unsupported", 0, b"dmvdo001"),
    ("ufs", "unsupported", 8192 + 1372, b"\x54\x19\x01\0"),
    ("ufs", "unsupported", 65536 + 1372, b"\x54\x19\x01\0"),
    ("ufs", "unsupported", 65536 + 1372, b"\x19\x01\x54\x19"),
    ("ufs", "unsupported", 262144 + 1372, b"\x19\x01\x54\x19"),
    ("gfs2", "unsupported", 65536, b"\x01\x16\x19\x70"),
    ("ocfs2", "unsupported", 1024, b"OCFSV2"),
    ("ocfs2", "unsupported", 2048, b"OCFSV2"),
    ("ocfs2", "unsupported", 4096, b"OCFSV2"),
    ("ocfs2", "unsupported", 8192, b"OCFSV2"),
    ("vmfs", "unsupported", 1 << 20, b"\x0d\xd0\x01\xc0"),
    ("iso9660", "unsupported", 32769, b"CD001"),
    ("udf", "unsupported", 32769, b"BEA01"),
    ("befs", "unsupported", 544, b"1SFB"),
    ("disklabel", "unsupported", 512, b"\x57\x45\x56\x82"),
    ("asm", "unsupported", 32, b"ORCLDISK"),
    ("ceph", "unsupported", 0, b"bluestore block device"),
    ("stratis", "unsupported", 516, b"!Stra0tis\x86\xff\x02^Arh"),
)
_ZFS_LABEL, _ZFS_NAME, _ZFS_FIRST = 256 << 10, 16408, b"version\0"
_TYPES = {
    "0x42": ("ldm", "raid"),
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": ("ldm", "raid"),
    "af9b60a0-1431-4f62-bc68-3311714a69ad": ("ldm", "raid"),
    "e75caf8f-f680-4cee-afa3-b001e56efc2d": ("storage_spaces", "raid"),
    "53746f72-6167-11aa-aa11-00306543ecac": ("corestorage", "encrypted"),
}


def opaque(volume: Volume, type_in_table: Optional[str]) -> Optional[Tuple[str, str]]:
    """The name of what is never read, and why; None when there is nothing of the kind."""
    if type_in_table in _TYPES:
        return _TYPES[type_in_table]
    for name, reason, offset, magic in _MAGICS:
        if offset + len(magic) <= volume.size and volume.read(offset, len(magic)) == magic:
            return name, reason
    # ZFS has four labels, two at each end; each begins to tell of itself with its version.
    end = volume.size & -_ZFS_LABEL
    for label in (0, _ZFS_LABEL, end - 2 * _ZFS_LABEL, end - _ZFS_LABEL):
        if 0 <= label <= end - _ZFS_LABEL and volume.read(label + _ZFS_NAME, 8) == _ZFS_FIRST:
            return "zfs", "unsupported"
    # RAID 1 of the versions 0.90 and 1.0 has its superblock at the end, and a plain file system in front.
    for end in ((volume.size & ~0xFFFF) - 0x10000, (volume.size - 0x2000) & ~0xFFF):
        if end >= 0 and volume.read(end, 4) == _MD:
            return "md", "raid"
    # What FreeBSD mirrors, stripes or encrypts says so in its last sector.
    if volume.size >= SECTOR and volume.read(volume.size - SECTOR, 6) == b"GEOM::":
        return "geom", "unsupported"
    return None

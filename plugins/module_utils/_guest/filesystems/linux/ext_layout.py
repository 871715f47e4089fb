# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The superblock of ext2, ext3 and ext4 (kernel ``Documentation/filesystems/ext4``, e2fsprogs ``lib/ext2fs``).

::

    0     1024        first block ..                 one group
    | boot| superblock| descriptors | reserved | .. | bitmaps | inode tables | data |

Groups 0, 1 and powers of 3, 5, 7 (or others, see ``has_super``) begin with copies of superblock and descriptors.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Optional, Tuple

from ...._core.records import dataclass
from ..answer import Uncertain
from ..checksums import crc32c
from ..volume import Volume

SUPERBLOCK, LENGTH = 1024, 1024
MAGIC = 0xEF53
SPARSE_SUPER2 = 0x200
HAS_JOURNAL = 0x4
RECOVER, JOURNAL_DEVICE, META_BG, BITS_64, MMP, CSUM_SEED = 0x4, 0x8, 0x10, 0x80, 0x100, 0x2000
SPARSE_SUPER, GDT_CSUM, BIGALLOC, METADATA_CSUM = 0x1, 0x10, 0x200, 0x400
KNOWN_INCOMPAT = 0x3E7D2
KNOWN_RO_COMPAT = 0x1F77F
# What ext3 has at most; with anything else it is ext4, as blkid says.
_EXT3_INCOMPAT, _EXT3_RO_COMPAT = 0x16, 0x7
_MMP_MAGIC, _MMP_CLEAN = 0x004D4D50, 0xFF4D4D50


@dataclass(frozen=True)
class ExtLayout:
    """The facts of a superblock. Block numbers count from 0, ``first`` is the first block of group 0."""

    block: int
    blocks: int
    free_blocks: int
    first: int
    group_blocks: int
    ratio: int
    descriptor: int
    inode: int
    group_inodes: int
    inode_blocks: int
    reserved: int
    compat: int
    incompat: int
    ro_compat: int
    first_meta: int
    mmp: int
    backups: Tuple[int, int]
    uuid: bytes
    seed: int

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return -(-(self.blocks - self.first) // self.group_blocks)

    @property
    def descriptor_blocks(self) -> int:
        """How many blocks the descriptors of all groups take."""
        return -(-self.groups * self.descriptor // self.block)

    def bounds(self, group: int) -> Tuple[int, int]:
        """The blocks (first, end) of a group."""
        first = self.first + group * self.group_blocks
        return first, min(first + self.group_blocks, self.blocks)


def read_super(volume: Volume) -> Optional[bytes]:
    """The superblock, None when its magic is not there or a block has an impossible size."""
    if volume.size < SUPERBLOCK + LENGTH:
        return None
    raw = volume.read(SUPERBLOCK, LENGTH)
    is_super = struct.unpack_from("<H", raw, 56)[0] == MAGIC and _u32(raw, 24) <= 6 and _u32(raw, 4) > 0
    return raw if is_super else None


def features(raw: bytes) -> Tuple[int, int, int]:
    """The features: compatible, incompatible, read-only compatible; none in revision 0."""
    return (_u32(raw, 92), _u32(raw, 96), _u32(raw, 100)) if _u32(raw, 76) else (0, 0, 0)


def kind_of(raw: bytes) -> str:
    """ext2, ext3 or ext4."""
    compat, incompat, ro_compat = features(raw)
    if incompat & ~_EXT3_INCOMPAT or ro_compat & ~_EXT3_RO_COMPAT:
        return "ext4"
    return "ext3" if compat & HAS_JOURNAL else "ext2"


def size_of(raw: bytes) -> Tuple[int, int]:
    """Bytes of a block, and blocks."""
    high = _u32(raw, 336) << 32 if features(raw)[1] & BITS_64 else 0
    return 1024 << _u32(raw, 24), _u32(raw, 4) | high


def read_layout(volume: Volume) -> ExtLayout:
    """The layout of a file system that is clean and wholly known. Raises Uncertain for all others."""
    raw = read_super(volume)
    if raw is None:
        raise Uncertain("unrecognised")
    _refuse_state(raw)
    layout = _parsed(raw)
    if layout.ro_compat & METADATA_CSUM and crc32c(raw[:1020]) != _u32(raw, 1020):
        raise Uncertain("damaged")
    _refuse_geometry(layout)
    if layout.blocks * layout.block > volume.size:
        raise Uncertain("too_large")
    if layout.incompat & MMP:
        _refuse_mounted(volume, layout)
    return layout


def _refuse_state(raw: bytes) -> None:
    _compat, incompat, ro_compat = features(raw)
    if incompat & JOURNAL_DEVICE:
        raise Uncertain("unsupported")
    if incompat & RECOVER:
        raise Uncertain("unclean")
    if incompat & ~KNOWN_INCOMPAT or ro_compat & ~KNOWN_RO_COMPAT or _u32(raw, 76) > 1:
        raise Uncertain("unknown_features")
    state = struct.unpack_from("<H", raw, 58)[0]
    if state & 3 != 1:
        raise Uncertain("errors" if state & 2 else "unclean")


def _parsed(raw: bytes) -> ExtLayout:
    compat, incompat, ro_compat = features(raw)
    block, blocks = size_of(raw)
    is_wide = incompat & BITS_64
    cluster_log = _u32(raw, 28) - _u32(raw, 24)
    if not 0 <= cluster_log <= 20 or (cluster_log and not ro_compat & BIGALLOC):
        raise Uncertain("damaged")
    group_blocks, group_clusters = _u32(raw, 32), _u32(raw, 36)
    if ro_compat & BIGALLOC and group_clusters << cluster_log != group_blocks:
        raise Uncertain("damaged")
    inode = struct.unpack_from("<H", raw, 88)[0] if _u32(raw, 76) else 128
    return ExtLayout(
        block=block,
        blocks=blocks,
        free_blocks=_u32(raw, 12) | (_u32(raw, 344) << 32 if is_wide else 0),
        first=_u32(raw, 20),
        group_blocks=group_blocks,
        ratio=1 << cluster_log,
        descriptor=struct.unpack_from("<H", raw, 254)[0] if is_wide else 32,
        inode=inode,
        group_inodes=_u32(raw, 40),
        inode_blocks=-(-_u32(raw, 40) * inode // block),
        reserved=struct.unpack_from("<H", raw, 206)[0],
        compat=compat,
        incompat=incompat,
        ro_compat=ro_compat,
        first_meta=_u32(raw, 260),
        mmp=struct.unpack_from("<Q", raw, 360)[0] if incompat & MMP else 0,
        backups=(_u32(raw, 588), _u32(raw, 592)),
        uuid=raw[104:120],
        seed=_u32(raw, 624) if incompat & CSUM_SEED else crc32c(raw[104:120]),
    )


def _refuse_geometry(layout: ExtLayout) -> None:
    width = layout.descriptor
    if not (
        layout.first == (1 if layout.block == 1024 and layout.ratio == 1 else 0)
        and layout.blocks > layout.first
        and 0 < layout.group_blocks <= 8 * layout.block * layout.ratio
        and layout.group_blocks % 8 == 0
        and 32 <= width <= layout.block
        and width & (width - 1) == 0
        and 0 < layout.inode_blocks < layout.group_blocks
        and 128 <= layout.inode <= layout.block
        and layout.group_inodes <= 8 * layout.block
    ):
        raise Uncertain("damaged")


def _refuse_mounted(volume: Volume, layout: ExtLayout) -> None:
    """Multiple mount protection: its block says whether some kernel has the file system mounted."""
    if not 0 < layout.mmp < layout.blocks:
        raise Uncertain("damaged")
    magic, sequence = struct.unpack("<II", volume.read(layout.mmp * layout.block, 8))
    if magic != _MMP_MAGIC or sequence != _MMP_CLEAN:
        raise Uncertain("unclean")


def has_super(layout: ExtLayout, group: int) -> bool:
    """Whether a group begins with a copy of the superblock."""
    if layout.compat & SPARSE_SUPER2:
        return group == 0 or group in layout.backups
    if group <= 1 or not layout.ro_compat & SPARSE_SUPER:
        return True
    for prime in (3, 5, 7):
        power = prime
        while power < group:
            power *= prime
        if power == group:
            return True
    return False


def places_of(descriptor: bytes) -> Tuple[int, int, int]:
    """The first blocks of block bitmap, inode bitmap and inode table of a group."""
    block_bitmap, inode_bitmap, table = struct.unpack_from("<III", descriptor)
    if len(descriptor) >= 64:
        high = struct.unpack_from("<III", descriptor, 32)
        return block_bitmap | high[0] << 32, inode_bitmap | high[1] << 32, table | high[2] << 32
    return block_bitmap, inode_bitmap, table


def _u32(raw: bytes, offset: int) -> int:
    value: int = struct.unpack_from("<I", raw, offset)[0]
    return value

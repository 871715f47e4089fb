# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free blocks of ext2, ext3 and ext4: the block bitmaps of all groups, less the metadata of all groups.

The bitmap of a group with BLOCK_UNINIT is not written; there everything is free that is not metadata. In all other
groups the metadata must be marked used already. Free counters of groups and file system must agree. Where bitmaps have
no checksums, the blocks of all inodes are looked up in them.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterator, List, Optional, Tuple

from ...._core.ranges import Range, clipped, complement, joined
from ..answer import Identity, Uncertain
from ..bits import zero_runs
from ..checksums import crc32c
from ..runs import Runs
from ..volume import Volume
from .ext_layout import (
    BITS_64,
    GDT_CSUM,
    META_BG,
    METADATA_CSUM,
    ExtLayout,
    has_super,
    kind_of,
    places_of,
    read_layout,
    read_super,
    size_of,
)

_BLOCK_UNINIT = 2


def recognise(volume: Volume) -> Optional[Identity]:
    """What a superblock with the right magic says."""
    raw = read_super(volume)
    if raw is None:
        return None
    block, blocks = size_of(raw)
    label = raw[120:136].split(b"\0", 1)[0].decode("utf-8", "replace")
    return Identity(kind_of(raw), label or None, block * blocks)


def free_runs(volume: Volume) -> Runs:
    """The free blocks. Raises Uncertain."""
    layout = read_layout(volume)
    metadata = _metadata(volume, layout)
    runs, clusters = Runs(), 0
    for group, descriptor in enumerate(_descriptors(volume, layout)):
        free = _group_free(volume, layout, metadata, (group, descriptor))
        clusters += _counted(layout, free, descriptor)
        runs.extend((first * layout.block, end * layout.block) for first, end in free)
    if clusters * layout.ratio != layout.free_blocks or runs.within(
        layout.mmp * layout.block, (layout.mmp + 1) * layout.block
    ):
        raise Uncertain("damaged")
    if not layout.ro_compat & METADATA_CSUM:
        from .ext_walk import Walk

        Walk(volume, layout, runs).run(_descriptors(volume, layout))
    return runs


def _descriptors(volume: Volume, layout: ExtLayout) -> Iterator[bytes]:
    """The descriptors of all groups, in order."""
    left, width = layout.groups, layout.descriptor
    for index in range(layout.descriptor_blocks):
        raw = volume.read(_descriptor_place(layout, index) * layout.block, layout.block)
        for start in range(0, min(left * width, layout.block), width):
            yield raw[start : start + width]
        left -= layout.block // width


def _descriptor_place(layout: ExtLayout, index: int) -> int:
    if not layout.incompat & META_BG or index < layout.first_meta:
        return layout.first + 1 + index + (1 if layout.block == 1024 and not layout.first else 0)
    group = index * (layout.block // layout.descriptor)
    return layout.bounds(group)[0] + has_super(layout, group)


def _metadata(volume: Volume, layout: ExtLayout) -> List[Range]:
    """The blocks of all metadata, as ranges that touch nowhere. Raises Uncertain when two things share a block."""
    kinds: Tuple[List[Range], ...] = ([], [], [], [])
    for group, descriptor in enumerate(_descriptors(volume, layout)):
        _refuse_descriptor(layout, group, descriptor)
        own = [(first, first + 1) for first in places_of(descriptor)[:2]]
        own.append((places_of(descriptor)[2], places_of(descriptor)[2] + layout.inode_blocks))
        for kind, (first, end) in zip(kinds, own):
            if first < layout.first or end > layout.blocks:
                raise Uncertain("damaged")
            _append(kind, first, end)
        for first, end in _copies(layout, group):
            _append(kinds[3], first, end)
    everything = sorted(piece for kind in kinds for piece in kind)
    united = list(joined(everything))
    if sum(end - first for first, end in everything) != sum(end - first for first, end in united):
        raise Uncertain("damaged")
    return united


def _append(ranges: List[Range], first: int, end: int) -> None:
    if ranges and ranges[-1][1] == first:
        ranges[-1] = (ranges[-1][0], end)
    else:
        ranges.append((first, end))


def _copies(layout: ExtLayout, group: int) -> Iterator[Range]:
    """The blocks at the start of a group that hold the superblock, descriptors and what is reserved for more."""
    first, end = layout.bounds(group)
    is_meta = layout.incompat & META_BG
    lead = 1 if layout.block == 1024 and not layout.first and not group else 0
    with_super = has_super(layout, group)
    old = layout.descriptor_blocks
    if is_meta:
        old = min(old, layout.first_meta)
    if with_super:
        yield first, min(end, first + lead + 1 + old + (0 if is_meta else layout.reserved))
    per_block = layout.block // layout.descriptor
    if is_meta and group // per_block >= layout.first_meta and group % per_block in (0, 1, per_block - 1):
        yield first + with_super, min(end, first + with_super + 1)


def _refuse_descriptor(layout: ExtLayout, group: int, raw: bytes) -> None:
    number, stored = struct.pack("<I", group), struct.unpack_from("<H", raw, 30)[0]
    if layout.ro_compat & METADATA_CSUM:
        found = crc32c(raw[:30] + b"\0\0" + raw[32:], crc32c(number, layout.seed)) & 0xFFFF
    elif layout.ro_compat & GDT_CSUM:
        found = _crc16(layout.uuid + number + raw[:30] + raw[32:])
    else:
        return
    if found != stored:
        raise Uncertain("damaged")


def _crc16(message: bytes) -> int:
    crc = 0xFFFF
    for byte in message:
        crc ^= byte
        for _bit in range(8):
            crc = (crc >> 1) ^ (0xA001 if crc & 1 else 0)
    return crc


def _group_free(volume: Volume, layout: ExtLayout, metadata: List[Range], numbered: Tuple[int, bytes]) -> List[Range]:
    """The free blocks of a group, in whole clusters but for the last of the file system."""
    group, descriptor = numbered
    first, end = layout.bounds(group)
    own = clipped(metadata, first, end)
    flags = struct.unpack_from("<H", descriptor, 18)[0]
    if flags & _BLOCK_UNINIT and layout.ro_compat & (METADATA_CSUM | GDT_CSUM):
        return list(_whole_clusters(layout, complement(own, first, end), (first, end)))
    free = [
        (first + low * layout.ratio, min(end, first + high * layout.ratio))
        for low, high in _bitmap_runs(volume, layout, descriptor, end - first)
    ]
    if any(clipped(free, low, high) for low, high in own):
        raise Uncertain("damaged")
    return free


def _bitmap_runs(volume: Volume, layout: ExtLayout, descriptor: bytes, blocks: int) -> Iterator[Range]:
    bitmap = volume.read(places_of(descriptor)[0] * layout.block, layout.block)
    if layout.ro_compat & METADATA_CSUM:
        found = crc32c(bitmap[: layout.group_blocks // layout.ratio // 8], layout.seed)
        stored = struct.unpack_from("<H", descriptor, 24)[0]
        if len(descriptor) >= 64:
            stored |= struct.unpack_from("<H", descriptor, 56)[0] << 16
        else:
            found &= 0xFFFF
        if found != stored:
            raise Uncertain("damaged")
    return zero_runs(bitmap, -(-blocks // layout.ratio))


def _whole_clusters(layout: ExtLayout, free: Iterator[Range], bounds: Range) -> Iterator[Range]:
    first, last = bounds
    ratio = layout.ratio
    for low, high in free:
        low = first + -(-(low - first) // ratio) * ratio
        if high != last:
            high = first + (high - first) // ratio * ratio
        if low < high:
            yield low, high


def _counted(layout: ExtLayout, free: List[Range], descriptor: bytes) -> int:
    """The free clusters of a group. Raises Uncertain when its counter says otherwise."""
    clusters = sum(-(-(end - first) // layout.ratio) for first, end in free)
    counter = struct.unpack_from("<H", descriptor, 12)[0]
    if layout.incompat & BITS_64 and len(descriptor) >= 64:
        counter |= struct.unpack_from("<H", descriptor, 44)[0] << 16
    if clusters != counter:
        raise Uncertain("damaged")
    return clusters

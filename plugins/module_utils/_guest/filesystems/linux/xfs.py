# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free blocks of XFS: the tree of free space by block number of every allocation group (kernel ``xfs_format.h``).

::

    group    | superblock | AGF | AGI | AGFL |  trees, inodes, data .. |

Numbers are big endian, block numbers in trees count from the start of their group. Version 4 has no checksums: there
the tree by length must hold the same records.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterator, List, Optional, Tuple

from ...._core.records import dataclass
from ..answer import Identity, Uncertain
from ..checksums import crc32c
from ..runs import Runs
from ..volume import Volume
from .xfs_log import refuse_unclean_log

_MAGIC = b"XFSB"
_NEEDS_REPAIR = 0x10
_KNOWN_INCOMPAT, _KNOWN_RO_COMPAT, _KNOWN_LOG_INCOMPAT = 0xEF, 0xF, 0x1
_META_UUID = 0x4
_LAZY_COUNTERS = 0x2
_SMALLEST_GROUP = 16 << 20
_NO_BLOCK = 0xFFFFFFFF
_BY_NUMBER, _BY_LENGTH = (b"ABTB", b"AB3B"), (b"ABTC", b"AB3C")
Record = Tuple[int, int]


@dataclass(frozen=True)
class XfsLayout:
    """The facts of the superblock. Sizes in bytes, places and counts in blocks."""

    block: int
    sector: int
    blocks: int
    groups: int
    group_blocks: int
    free_blocks: int
    log_start: int
    log_blocks: int
    is_v5: bool
    uuid: bytes

    def offset(self, group: int, block: int) -> int:
        """Where a block of a group lies, in bytes."""
        return (group * self.group_blocks + block) * self.block

    def length(self, group: int) -> int:
        """The blocks of a group; the last may be shorter."""
        return min(self.group_blocks, self.blocks - group * self.group_blocks)


@dataclass(frozen=True)
class _Tree:
    """One tree of a group: its root block, its levels, the magic of its blocks."""

    group: int
    root: int
    levels: int
    magic: bytes


def recognise(volume: Volume) -> Optional[Identity]:
    """What a superblock with the right magic says."""
    if volume.size < 512:
        return None
    raw = volume.read(0, 512)
    block, blocks = struct.unpack_from(">IQ", raw, 4)
    if raw[:4] != _MAGIC or not _is_power(block, 512, 65536) or blocks >> 54:
        return None
    label = raw[108:120].split(b"\0", 1)[0].decode("utf-8", "replace")
    return Identity("xfs", label or None, block * blocks)


def free_runs(volume: Volume) -> Runs:
    """The free blocks; those set aside for the trees themselves count as used. Raises Uncertain."""
    layout = _read_layout(volume)
    log = (layout.log_start, layout.log_start + layout.log_blocks * layout.block)
    refuse_unclean_log(volume, *log)
    runs, counted = Runs(), 0
    for group in range(layout.groups):
        counted += _group_free(volume, layout, group, runs)
    if counted != layout.free_blocks or runs.within(*log):
        raise Uncertain("damaged")
    return runs


def _read_layout(volume: Volume) -> XfsLayout:
    raw = volume.read(0, 512)
    version, sector = struct.unpack_from(">HH", raw, 100)
    is_v5 = version & 15 == 5
    _refuse_features(raw, version)
    block, blocks, realtime = struct.unpack_from(">IQQ", raw, 4)
    group_blocks, groups = struct.unpack_from(">II", raw, 84)
    if not (
        _is_power(block, 512, 65536)
        and _is_power(sector, 512, min(block, 32768))
        and group_blocks * block >= _SMALLEST_GROUP
        and 0 <= (groups - 1) * group_blocks < blocks <= groups * group_blocks
    ):
        raise Uncertain("damaged")
    if blocks * block > volume.size:
        raise Uncertain("too_large")
    if is_v5:
        _refuse_checksum(volume.read(0, sector), 224)
    if realtime:
        raise Uncertain("unsupported")
    has_other_uuid = is_v5 and struct.unpack_from(">I", raw, 216)[0] & _META_UUID
    start, log_blocks = _log_place(raw, block, group_blocks)
    if start + log_blocks * block > blocks * block:
        raise Uncertain("damaged")
    return XfsLayout(
        block=block,
        sector=sector,
        blocks=blocks,
        groups=groups,
        group_blocks=group_blocks,
        free_blocks=struct.unpack_from(">Q", raw, 144)[0],
        log_start=start,
        log_blocks=log_blocks,
        is_v5=is_v5,
        uuid=raw[248:264] if has_other_uuid else raw[32:48],
    )


def _refuse_features(raw: bytes, version: int) -> None:
    if raw[:4] != _MAGIC or version & 15 not in (4, 5):
        raise Uncertain("unknown_features")
    if raw[126]:
        raise Uncertain("unclean")
    if version & 15 == 4:
        if not struct.unpack_from(">I", raw, 200)[0] & _LAZY_COUNTERS:
            raise Uncertain("unsupported")
        return
    read_only, incompatible, log = struct.unpack_from(">III", raw, 212)
    if incompatible & _NEEDS_REPAIR:
        raise Uncertain("errors")
    if incompatible & ~_KNOWN_INCOMPAT or read_only & ~_KNOWN_RO_COMPAT or log & ~_KNOWN_LOG_INCOMPAT:
        raise Uncertain("unknown_features")


def _log_place(raw: bytes, block: int, group_blocks: int) -> Tuple[int, int]:
    """Where the log starts in bytes, and its blocks. Raises Uncertain when it is on another device."""
    start, blocks, shift = struct.unpack_from(">Q", raw, 48)[0], struct.unpack_from(">I", raw, 96)[0], raw[124]
    if not start:
        raise Uncertain("external")
    if shift > 32 or not blocks:
        raise Uncertain("damaged")
    return ((start >> shift) * group_blocks + (start & ((1 << shift) - 1))) * block, blocks


def _group_free(volume: Volume, layout: XfsLayout, group: int, runs: Runs) -> int:
    """Add what is free in a group. The blocks that the superblock counts as free for it."""
    raw = _read_agf(volume, layout, group)
    roots, levels = struct.unpack_from(">II", raw, 16), struct.unpack_from(">II", raw, 28)
    listed, free = struct.unpack_from(">II", raw, 48)
    version = int(layout.is_v5)
    by_number = _Tree(group, roots[0], levels[0], _BY_NUMBER[version])
    last, total, mixed = -(-4 * layout.sector // layout.block), 0, 0
    blocks: List[int] = []
    added = Runs()
    for start, count in _records(volume, layout, by_number, blocks):
        if start < last or not count or start + count > layout.length(group):
            raise Uncertain("damaged")
        last, total, mixed = start + count, total + count, mixed + hash((start, count))
        added.add(start, last)
        runs.add(layout.offset(group, start), layout.offset(group, last))
    if total != free or any(added.within(block, block + 1) for block in blocks):
        raise Uncertain("damaged")
    if not layout.is_v5:
        by_length = _Tree(group, roots[1], levels[1], _BY_LENGTH[version])
        if sum(hash(record) for record in _ordered(_records(volume, layout, by_length, blocks))) != mixed:
            raise Uncertain("damaged")
    return total + listed + int(struct.unpack_from(">I", raw, 60)[0])


def _ordered(records: Iterator[Record]) -> Iterator[Record]:
    """The records of a tree by length. Raises Uncertain when they do not ascend."""
    last = (0, 0)
    for start, count in records:
        if (count, start) <= last:
            raise Uncertain("damaged")
        last = (count, start)
        yield start, count


def _read_agf(volume: Volume, layout: XfsLayout, group: int) -> bytes:
    raw = volume.read(layout.offset(group, 0) + layout.sector, layout.sector)
    magic, version, number, length = struct.unpack_from(">4sIII", raw)
    if (magic, version, number, length) != (b"XAGF", 1, group, layout.length(group)):
        raise Uncertain("damaged")
    if layout.is_v5:
        _refuse_checksum(raw, 216)
        if raw[64:80] != layout.uuid:
            raise Uncertain("damaged")
    return raw


def _records(volume: Volume, layout: XfsLayout, tree: _Tree, blocks: List[int]) -> Iterator[Record]:
    """The (start, count) of all leaves, left to right; the numbers of blocks read are added to ``blocks``."""
    header = 56 if layout.is_v5 else 16
    number, before = tree.root, _NO_BLOCK
    if not 1 <= tree.levels <= 9:
        raise Uncertain("damaged")
    for level in range(tree.levels - 1, 0, -1):
        raw = _tree_block(volume, layout, tree, (number, level))
        blocks.append(number)
        number = struct.unpack_from(">I", raw, header + (layout.block - header) // 12 * 8)[0]
    while number != _NO_BLOCK:
        raw = _tree_block(volume, layout, tree, (number, 0))
        blocks.append(number)
        count, left, right = struct.unpack_from(">HII", raw, 6)
        is_empty = not count and tree.levels > 1
        if left != before or count > (layout.block - header) // 8 or is_empty:
            raise Uncertain("damaged")
        yield from struct.iter_unpack(">II", raw[header : header + 8 * count])
        number, before = right, number
        if not count:
            return


def _tree_block(volume: Volume, layout: XfsLayout, tree: _Tree, place: Tuple[int, int]) -> bytes:
    number, level = place
    if number >= layout.length(tree.group):
        raise Uncertain("damaged")
    offset = layout.offset(tree.group, number)
    raw = volume.read(offset, layout.block)
    if raw[:4] != tree.magic or struct.unpack_from(">H", raw, 4)[0] != level:
        raise Uncertain("damaged")
    if layout.is_v5:
        own, owner = struct.unpack_from(">Q", raw, 16)[0], struct.unpack_from(">I", raw, 48)[0]
        if own * 512 != offset or owner != tree.group or raw[32:48] != layout.uuid:
            raise Uncertain("damaged")
        _refuse_checksum(raw, 52)
    return raw


def _refuse_checksum(raw: bytes, field: int) -> None:
    """Raises Uncertain when the CRC in ``field``, which alone is little endian, is not that of the rest."""
    found = ~crc32c(raw[:field] + bytes(4) + raw[field + 4 :]) & 0xFFFFFFFF
    if found != struct.unpack_from("<I", raw, field)[0]:
        raise Uncertain("damaged")


def _is_power(number: int, least: int, most: int) -> bool:
    return least <= number <= most and number & (number - 1) == 0

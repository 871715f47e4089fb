# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""APFS containers with a checkpoint and a space manager, empty or with a volume: what a reader of free space looks at.

::

    0  superblock   1-8  descriptors: map, superblock   9-16  data: the space manager   17  bitmaps of the pool
    18-33  pool: bitmaps of chunks   34-  chunk info blocks, then the blocks that list them
"""

from __future__ import annotations

import struct
from typing import Sequence, Tuple

from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk

BLOCK = 4096
CHUNK = 8 * BLOCK
RING, RING_BLOCKS, DATA, DATA_BLOCKS, POOL_BITMAP, POOL, POOL_BLOCKS, INFOS = 1, 8, 9, 8, 17, 18, 16, 34
MAP_BLOCK, SUPERBLOCK, MANAGER = RING, RING + 1, DATA
TRANSACTION = 7
VOLUME_BLOCKS = 24
PHYSICAL = 0x40000000
_MANAGER_OID, _LIST = 1024, 2520


def sum_of(block: bytes) -> bytes:
    """The checksum of an object, word for word."""
    first = second = 0
    for (word,) in struct.iter_unpack("<I", block[8:]):
        first = (first + word) % 0xFFFFFFFF
        second = (second + first) % 0xFFFFFFFF
    low = 0xFFFFFFFF - (first + second) % 0xFFFFFFFF
    return struct.pack("<II", low, 0xFFFFFFFF - (first + low) % 0xFFFFFFFF)


def change(disk: BlockDisk, block: int, offset: int, content: bytes) -> None:
    """Write into an object and give it the right checksum."""
    raw = bytearray(disk.get(block * BLOCK, BLOCK))
    raw[offset : offset + len(content)] = content
    disk.put(block * BLOCK, sum_of(raw) + raw[8:])


def _put_object(disk: BlockDisk, block: int, head: Tuple[int, int], fields: Sequence[Tuple[int, bytes]]) -> None:
    oid, kind = head
    raw = bytearray(BLOCK)
    struct.pack_into("<QQII", raw, 8, oid, TRANSACTION, kind, 0)
    for offset, content in fields:
        raw[offset : offset + len(content)] = content
    disk.put(block * BLOCK, sum_of(raw) + raw[8:])


def container(blocks: int = 200, used: Sequence[Tuple[int, int]] = (), *, deep: bool = False) -> BlockDisk:
    """A container in which the ranges ``used`` (in its first 16 chunks) are in use beside its own structures.

    With ``deep`` the chunk info blocks are listed in blocks of their own, as in large containers.
    """
    disk = BlockDisk(blocks * BLOCK)
    chunks = -(-blocks // CHUNK)
    infos = -(-chunks // 126)
    lists = -(-infos // 507) if deep else 0
    taken = [(0, INFOS + infos + lists), *used]
    free = [_put_bitmap(disk, blocks, number, taken) for number in range(chunks)]
    for index in range(infos):
        _put_infos(disk, blocks, index, free)
    addresses = [INFOS + index for index in range(infos)]
    if deep:
        for index in range(lists):
            part = addresses[index * 507 : index * 507 + 507]
            place = INFOS + infos + index
            _put_object(
                disk, place, (place, 0x40000006), ((32, struct.pack(f"<II{len(part)}Q", index, len(part), *part)),)
            )
        addresses = [INFOS + infos + index for index in range(lists)]
    _put_manager(disk, blocks, (chunks, infos, lists, sum(count for count, _bitmap in free)), addresses)
    _put_object(disk, MAP_BLOCK, (RING, 0x4000000C), ((32, struct.pack("<II", 1, 1)), (40, _mapping())))
    for place in (0, SUPERBLOCK):
        _put_superblock(disk, place, blocks)
    return disk


def node(subtype: int, items: Sequence[Tuple[bytes, bytes]], *, fixed: bool = True, level: int = 0) -> bytes:
    """The root of a tree from its flags on, with all that is in it."""
    width = 4 if fixed else 8
    table, keys, values = b"", b"", b""
    for key, value in items:
        place = struct.pack("<HH", len(keys), len(values) + len(value))
        if not fixed:
            place = struct.pack("<HHHH", len(keys), len(key), len(values) + len(value), len(value))
        table, keys, values = table + place, keys + key, value + values
    lengths = (len(items[0][0]), len(items[0][1])) if items and fixed else (0, 0)
    raw = struct.pack("<HHIHH", 1 | (0 if level else 2) | (4 if fixed else 0), level, len(items), 0, width * len(items))
    raw = raw.ljust(24, b"\0") + table + keys
    facts = struct.pack("<IIIIIIQQ", 0x10, BLOCK, *lengths, 16, 16, len(items), 1)
    return raw.ljust(BLOCK - 32 - len(values) - len(facts), b"\0") + values + facts


def put_volume(disk: BlockDisk, first: int) -> None:
    """A volume with a snapshot in the ``VOLUME_BLOCKS`` blocks from ``first`` on, which must be in use.

    ::

        0 object map  1 its tree  2 volume  3 its object map  4 its tree  5 its list of snapshots  6 root of files
        7 extents: 8 to 10  11 snapshots  12 extents of the snapshot: 14 to 20  13 the volume as it was
        21 queue, which is an object of the checkpoint: 22 and 23
    """
    at = [first + number for number in range(VOLUME_BLOCKS)]
    mapped = (struct.pack("<QQ", 2000, TRANSACTION), struct.pack("<IIQ", 0, BLOCK, at[2]))
    inner = [
        (struct.pack("<QQ", 2001, TRANSACTION), struct.pack("<IIQ", 0, BLOCK, at[6])),
        (struct.pack("<QQ", 2002, TRANSACTION), struct.pack("<IIQ", 1, BLOCK, 1)),
    ]
    for place, root, snapshots in ((at[0], at[1], 0), (at[3], at[4], at[5])):
        _put_object(disk, place, (place, PHYSICAL | 0xB), ((48, struct.pack("<QQ", root, snapshots)),))
    trees = (PHYSICAL | 2, PHYSICAL | 2)
    places = struct.pack("<QQQQ", at[3], 2001, at[7], at[11])
    fields = ((32, b"APSB"), (120, struct.pack("<II", *trees)), (128, places))
    _put_object(disk, at[2], (2000, 0xD), fields)
    _put_object(disk, at[13], (at[13], 0xD), fields)
    metadata = struct.pack("<QQ24xIIH", at[12], at[13], PHYSICAL | 2, 0, 2) + b"s\0"
    snapshots = [(_key(1, 5), metadata), (_key(11, (1 << 60) - 1) + b"\2\0s\0", struct.pack("<Q", 5))]
    put_node(disk, at[1], node(0xB, [mapped]), 0xB)
    put_node(disk, at[4], node(0xB, inner), 0xB)
    put_node(disk, at[5], node(0x13, [(struct.pack("<Q", 5), bytes(16))]), 0x13)
    put_node(disk, at[7], node(0xF, [_extent(at[8], 3)], fixed=False), 0xF)
    put_node(disk, at[11], node(0x10, snapshots, fixed=False), 0x10)
    put_node(disk, at[12], node(0xF, [_extent(at[14], 3), _extent(at[17], 4)], fixed=False), 0xF)
    queued = [(struct.pack("<QQ", 6, at[22]), struct.pack("<Q", 2))]
    put_node(disk, at[21], node(9, queued), 9, oid=1025)
    change(disk, MAP_BLOCK, 36, struct.pack("<I", 2))
    change(disk, MAP_BLOCK, 80, struct.pack("<IIIIQQQ", 0x80000002, 9, BLOCK, 0, 0, 1025, at[21]))
    change(disk, MANAGER, 248, struct.pack("<Q", 1025))
    for place in (0, SUPERBLOCK):
        change(disk, place, 0xA0, struct.pack("<Q", at[0]))
        change(disk, place, 0xB8, struct.pack("<Q", 2000))


def put_node(disk: BlockDisk, place: int, content: bytes, subtype: int, *, oid: int = 0, kind: int = 2) -> None:
    """A node of a tree at a block, whose number it has unless it has another ``oid``."""
    _put_object(disk, place, (oid or place, PHYSICAL | kind), ((28, struct.pack("<I", subtype)), (32, content)))


def _key(kind: int, number: int) -> bytes:
    return struct.pack("<Q", kind << 60 | number)


def _extent(start: int, blocks: int) -> Tuple[bytes, bytes]:
    return _key(2, start), struct.pack("<QQI", 1 << 60 | blocks, 2003, 1)


def _put_bitmap(disk: BlockDisk, blocks: int, number: int, taken: Sequence[Tuple[int, int]]) -> Tuple[int, int]:
    """Free blocks of a chunk, and the place of its bitmap; 0 when nothing is in use there."""
    first = number * CHUNK
    count = min(CHUNK, blocks - first)
    marked = set()
    for start, end in taken:
        marked.update(range(max(start, first) - first, min(end, first + count) - first))
    if not marked:
        return count, 0
    value = sum(1 << bit for bit in marked)
    disk.put((POOL + number) * BLOCK, value.to_bytes(BLOCK, "little"))
    return count - len(marked), POOL + number


def _put_infos(disk: BlockDisk, blocks: int, index: int, free: Sequence[Tuple[int, int]]) -> None:
    rows = []
    for number, (count, bitmap) in list(enumerate(free))[index * 126 : index * 126 + 126]:
        length = min(CHUNK, blocks - number * CHUNK)
        rows.append(struct.pack("<QQIIQ", TRANSACTION, number * CHUNK, length, count, bitmap))
    fields = ((32, struct.pack("<II", index, len(rows))), (40, b"".join(rows)))
    _put_object(disk, INFOS + index, (INFOS + index, 0x40000007), fields)


def _mapping() -> bytes:
    return struct.pack("<IIIIQQQ", 0x80000005, 0, BLOCK, 0, 0, _MANAGER_OID, MANAGER)


def _put_manager(disk: BlockDisk, blocks: int, counts: Tuple[int, int, int, int], addresses: Sequence[int]) -> None:
    chunks, infos, lists, free = counts
    fields = (
        (32, struct.pack("<IIII", BLOCK, CHUNK, 126, 507)),
        (48, struct.pack("<QQIIQI", blocks, chunks, infos, lists, free, _LIST)),
        (144, struct.pack("<I", 1)),
        (152, struct.pack("<QIIQQ", POOL_BLOCKS, 1, 1, POOL_BITMAP, POOL)),
        (_LIST, struct.pack(f"<{min(190, len(addresses))}Q", *addresses[:190])),
    )
    _put_object(disk, MANAGER, (_MANAGER_OID, 0x80000005), fields)


def _put_superblock(disk: BlockDisk, place: int, blocks: int) -> None:
    fields = (
        (32, struct.pack("<4sIQQQQ", b"NXSB", BLOCK, blocks, 0, 0, 2)),
        (72, bytes(range(16))),
        (0x68, struct.pack("<IIQQ", RING_BLOCKS, DATA_BLOCKS, RING, DATA)),
        (0x88, struct.pack("<IIII", 0, 2, 0, 1)),
        (0x98, struct.pack("<Q", _MANAGER_OID)),
    )
    _put_object(disk, place, (1, 0x80000001), fields)

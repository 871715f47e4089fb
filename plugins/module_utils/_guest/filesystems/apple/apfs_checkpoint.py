# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The newest checkpoint of an APFS container, from the Apple File System Reference: its superblock and space manager.

::

    block 0      a copy of some superblock: where the ring of descriptors lies
    descriptors  ... [map][map][superblock] [map][superblock] ...    the highest transaction wins
    map          object id -> place of the space manager

A superblock in the ring that does not pass its checksum may have been the newest one: then nothing is certain.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
import sys
from array import array
from itertools import accumulate
from typing import List, Optional, Tuple

from ...._core.ranges import Range
from ...._core.records import dataclass
from ...._core.units import ceil_div
from ..answer import Uncertain, refuse_if
from ..volume import Volume

HEADER = 32
LIST = 40
SUPERBLOCK, MAP, SPACE_MANAGER, ADDRESS_BLOCK, CHUNK_BLOCK = 1, 0xC, 5, 6, 7
_MAGIC = b"NXSB"
_SIZES = (4096, 8192, 16384, 32768, 65536)
_MOST_DESCRIPTORS = 64 << 20
_MODULUS = 0xFFFFFFFF
_VERSION_2, _KNOWN_INCOMPATIBLE, _FUSION = 2, 3, 0x100
_VERSIONED = 1


@dataclass(frozen=True)
class Checkpoint:
    """A superblock with a valid checksum. Places and counts are blocks."""

    raw: bytes
    block: int
    blocks: int
    transaction: int
    descriptors: Range
    fixed: Tuple[Range, ...]


@dataclass(frozen=True)
class SpaceManager:
    """Which blocks are in use, by chunks. ``addresses`` lead to chunk info blocks, by address blocks if ``is_deep``.

    ``queue`` is the root of what waits to become free, 0 without one; ``ephemeral`` are objects and their places.
    """

    chunk_blocks: int
    info_blocks: int
    is_deep: bool
    free: int
    addresses: Tuple[int, ...]
    pool: Range
    pool_bitmaps: Range
    queue: int
    ephemeral: Tuple[Range, ...]


def has_checksum(block: bytes) -> bool:
    """Whether the first 8 bytes are the Fletcher-64 of the rest, in 32-bit words."""
    words = array("I", block[8:])
    if sys.byteorder == "big":
        words.byteswap()
    first, second = sum(words), sum(accumulate(words))
    low = _MODULUS - (first + second) % _MODULUS
    high = _MODULUS - (first + low) % _MODULUS
    return struct.unpack_from("<II", block) == (low, high)


def kind(block: bytes) -> int:
    """The type of an object, without flags."""
    return struct.unpack_from("<H", block, 24)[0]


def transaction(block: bytes) -> int:
    """The transaction in which an object was written."""
    return struct.unpack_from("<Q", block, 16)[0]


def read_first(volume: Volume) -> Optional[Tuple[bytes, int, int]]:
    """Block 0, its size and the blocks of the container; None when it is no superblock."""
    if volume.size < _SIZES[0]:
        return None
    head = volume.read(0, _SIZES[0])
    size, blocks = struct.unpack_from("<IQ", head, 36)
    if head[32:36] != _MAGIC or size not in _SIZES or not blocks or volume.size < size:
        return None
    return volume.read(0, size), size, blocks


def read_checkpoint(volume: Volume) -> Checkpoint:
    """The newest checkpoint. Raises Uncertain for a container in a state or with features that are not known."""
    found = read_first(volume)
    if found is None or not has_checksum(found[0]):
        raise Uncertain("damaged")
    first, block, _blocks = found
    ring = _area(first, 0x70, 0x68)
    refuse_if((ring[1] - ring[0]) * block > _MOST_DESCRIPTORS, "unsupported")
    raw, index = _newest(volume, ring, block)
    refuse_if(raw[72:88] != first[72:88] or transaction(first) > transaction(raw) or _area(raw, 0x70, 0x68) != ring)
    checkpoint = _checkpoint(volume, raw, block, ring)
    start, length = struct.unpack_from("<II", raw, 0x88)
    count = ring[1] - ring[0]
    refuse_if(not 2 <= length <= count or start >= count or (start + length - 1) % count != index)
    return checkpoint


def _area(raw: bytes, base: int, length: int) -> Range:
    start, count = struct.unpack_from("<Q", raw, base)[0], struct.unpack_from("<I", raw, length)[0]
    refuse_if(count >> 31, "unsupported")
    return start, start + count


def _newest(volume: Volume, ring: Range, block: int) -> Tuple[bytes, int]:
    """The superblock with the highest transaction, and its place in the ring."""
    best, place = b"", 0
    for number in range(ring[1] - ring[0]):
        raw = volume.read((ring[0] + number) * block, block)
        if raw[32:36] != _MAGIC and kind(raw) != SUPERBLOCK:
            continue
        refuse_if(raw[32:36] != _MAGIC or kind(raw) != SUPERBLOCK or not has_checksum(raw))
        if not best or transaction(raw) > transaction(best):
            best, place = raw, number
    refuse_if(not best)
    return best, place


def _checkpoint(volume: Volume, raw: bytes, block: int, ring: Range) -> Checkpoint:
    size, blocks, _features, read_only, incompatible = struct.unpack_from("<IQQQQ", raw, 36)
    refuse_if(size != block)
    # One that was converted from HFS+ counts the last block although its partition ends in it.
    refuse_if(blocks * block - volume.size >= block, "too_large")
    refuse_if(incompatible & _FUSION, "raid")
    refuse_if(read_only or incompatible & ~_KNOWN_INCOMPATIBLE or not incompatible & _VERSION_2, "unknown_features")
    blocked, evicted = struct.unpack_from("<QQ", raw, 0x4D8), struct.unpack_from("<Q", raw, 0x4E8)[0]
    refuse_if(blocked[1] or evicted, "resizing")
    return Checkpoint(raw, block, blocks, transaction(raw), ring, tuple(_fixed(raw, ring)))


def _fixed(raw: bytes, ring: Range) -> List[Range]:
    """Blocks that the superblock itself names: descriptors, their data, object map, key bags, EFI driver."""
    found = [(0, 1), ring, _area(raw, 0x78, 0x6C)]
    for offset in (0xA0, 0x4F8):
        place = struct.unpack_from("<Q", raw, offset)[0]
        found.append((place, place + (1 if place else 0)))
    for offset in (0x510, 0x570):
        place, count = struct.unpack_from("<QQ", raw, offset)
        found.append((place, place + count))
    return found


def read_space_manager(volume: Volume, checkpoint: Checkpoint) -> SpaceManager:
    """The space manager of a checkpoint, its numbers compared with the container. Raises Uncertain."""
    mappings = list(_mappings(volume, checkpoint))
    raw = _find_space_manager(volume, checkpoint, mappings)
    blocks, chunks, infos, lists, free, offset = struct.unpack_from("<QQIIQI", raw, 48)
    _refuse_unknown(raw)
    refuse_if((blocks, chunks, infos, lists) not in _counts(checkpoint))
    count = lists or infos
    refuse_if(offset < 48 or offset + 8 * count > len(raw))
    pool, bitmaps, bitmap_base, base = struct.unpack_from("<Q4xIQQ", raw, 152)
    addresses = struct.unpack_from(f"<{count}Q", raw, offset)
    places = (base, base + pool), (bitmap_base, bitmap_base + bitmaps)
    waiting, ephemeral = struct.unpack_from("<Q", raw, 248)[0], tuple((oid, place) for oid, _size, place in mappings)
    return SpaceManager(8 * checkpoint.block, infos, bool(lists), free, addresses, *places, waiting, ephemeral)


def _refuse_unknown(raw: bytes) -> None:
    """Refuse a second device and another geometry than all containers have."""
    size, chunk_blocks, per_info, per_list = struct.unpack_from("<IIII", raw, 32)
    refuse_if(chunk_blocks != 8 * size or (per_info, per_list) != ((size - LIST) // 32, (size - LIST) // 8))
    refuse_if(any(raw[96:128]), "raid")
    refuse_if(struct.unpack_from("<I", raw, 144)[0] & ~_VERSIONED, "unknown_features")


def _counts(checkpoint: Checkpoint) -> Tuple[Tuple[int, int, int, int], ...]:
    """Blocks, chunks, chunk info blocks and their lists, of which a small container needs none."""
    size = checkpoint.block
    chunks = ceil_div(checkpoint.blocks, 8 * size)
    infos = ceil_div(chunks, (size - LIST) // 32)
    lists = ceil_div(infos, (size - LIST) // 8)
    return (checkpoint.blocks, chunks, infos, 0), (checkpoint.blocks, chunks, infos, lists)


def _find_space_manager(volume: Volume, checkpoint: Checkpoint, mappings: List[Tuple[int, int, int]]) -> bytes:
    wanted = struct.unpack_from("<Q", checkpoint.raw, 0x98)[0]
    found = [(size, place) for oid, size, place in mappings if oid == wanted]
    refuse_if(len(found) != 1)
    size, place = found[0]
    block = checkpoint.block
    refuse_if(size < block or size % block)
    raw = volume.read(place * block, size)
    identity = struct.unpack_from("<QQ", raw, 8), kind(raw), struct.unpack_from("<I", raw, 32)[0]
    refuse_if(identity != ((wanted, checkpoint.transaction), SPACE_MANAGER, block) or not has_checksum(raw))
    return raw


def _mappings(volume: Volume, checkpoint: Checkpoint) -> List[Tuple[int, int, int]]:
    """Object, size in bytes and place of what is not yet written to its own place."""
    start, length = struct.unpack_from("<II", checkpoint.raw, 0x88)
    first, end = checkpoint.descriptors
    found: List[Tuple[int, int, int]] = []
    for number in range(start, start + length - 1):
        raw = volume.read((first + number % (end - first)) * checkpoint.block, checkpoint.block)
        count = struct.unpack_from("<I", raw, 36)[0]
        refuse_if(kind(raw) != MAP or transaction(raw) != checkpoint.transaction or LIST + 40 * count > len(raw))
        refuse_if(not has_checksum(raw))
        for offset in range(LIST, LIST + 40 * count, 40):
            size, _pad, _volume, oid, place = struct.unpack_from("<IIQQQ", raw, offset + 8)
            found.append((oid, size, place))
    return found

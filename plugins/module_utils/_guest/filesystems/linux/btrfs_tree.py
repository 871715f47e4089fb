# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trees of Btrfs, walked in the order of their keys; every node is checked before use."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import Iterator, List, NamedTuple, Tuple

from ..answer import Uncertain
from ..volume import Volume
from .btrfs_super import BtrfsSuper, is_sound

Key = Tuple[int, int, int]
Root = Tuple[int, int, int]
_HEADER = 101
_ITEM = struct.Struct("<QBQII")
_POINTER = struct.Struct("<QBQQQ")
_DUP = 0x20
_PROFILES = 0x7F8
_MOST_CHUNKS = 1 << 18


class Chunk(NamedTuple):
    """A range of logical addresses, its type bits, and where on the device its copies begin."""

    start: int
    length: int
    kind: int
    copies: Tuple[int, ...]

    @property
    def end(self) -> int:
        """The address after it."""
        return self.start + self.length


def parse_chunk(superblock: BtrfsSuper, start: int, raw: bytes) -> Tuple[Chunk, int]:
    """The chunk at logical ``start``, and how many bytes it takes in ``raw``. Raises Uncertain."""
    if len(raw) < 80:
        raise Uncertain("damaged")
    length, kind, stripes = struct.unpack_from("<Q16xQ12xH", raw)
    if kind & _PROFILES & ~_DUP:
        raise Uncertain("raid")
    if stripes != (2 if kind & _DUP else 1) or len(raw) < 48 + 32 * stripes or not length or start + length >> 63:
        raise Uncertain("damaged")
    copies = []
    for number in range(stripes):
        device, place = struct.unpack_from("<QQ", raw, 48 + 32 * number)
        if device != superblock.device:
            raise Uncertain("raid")
        if place + length > superblock.device_size:
            raise Uncertain("damaged")
        copies.append(place)
    return Chunk(start, length, kind, tuple(copies)), 48 + 32 * stripes


class Trees:
    """The trees of one file system. ``chunks`` ascend; those of the system come from the superblock."""

    def __init__(self, volume: Volume, superblock: BtrfsSuper) -> None:
        self.volume = volume
        self.superblock = superblock
        self.chunks: List[Chunk] = []

    def load_chunks(self) -> None:
        """Find all chunks. Raises Uncertain."""
        raw, at = self.superblock.system_chunks, 0
        while at + 17 <= len(raw):
            chunk, length = parse_chunk(self.superblock, struct.unpack_from("<Q", raw, at + 9)[0], raw[at + 17 :])
            self.chunks.append(chunk)
            at += 17 + length
        self.chunks.sort()
        found = []
        for key, data in self.items(3, self.superblock.chunk_root):
            if key[1] == 228:
                found.append(parse_chunk(self.superblock, key[2], data)[0])
            if len(found) > _MOST_CHUNKS:
                raise Uncertain("unsupported")
        if any(chunk not in found for chunk in self.chunks) or not found:
            raise Uncertain("damaged")
        self.chunks = found
        _refuse_overlaps([(chunk.start, chunk.end) for chunk in found])
        _refuse_overlaps(sorted((copy, copy + chunk.length) for chunk in found for copy in chunk.copies))

    def items(self, owner: int, root: Root) -> Iterator[Tuple[Key, bytes]]:
        """The items of a tree. Raises Uncertain when a node is bad or keys do not ascend."""
        last: Key = (-1, 0, 0)
        for key, data in self._walk(owner, root):
            if key <= last:
                raise Uncertain("damaged")
            last = key
            yield key, data

    def _walk(self, owner: int, root: Root) -> Iterator[Tuple[Key, bytes]]:
        address, level, generation = root
        if level > 7:
            raise Uncertain("damaged")
        raw = self._node(owner, (address, level, generation))
        count = struct.unpack_from("<I", raw, 96)[0]
        if level == 0:
            yield from _leaf_items(raw, count)
            return
        if not 0 < count <= (len(raw) - _HEADER) // _POINTER.size:
            raise Uncertain("damaged")
        for number in range(count):
            one, two, three, child, born = _POINTER.unpack_from(raw, _HEADER + number * _POINTER.size)
            is_first = True
            for key, data in self._walk(owner, (child, level - 1, born)):
                if is_first and key != (one, two, three):
                    raise Uncertain("damaged")
                is_first = False
                yield key, data

    def _node(self, owner: int, root: Root) -> bytes:
        """A node, from the first copy that is sound."""
        address, level, generation = root
        chunk = self._chunk_of(address)
        for copy in chunk.copies:
            raw = self.volume.read(copy + address - chunk.start, self.superblock.node)
            own, born, of = struct.unpack_from("<Q24xQQ", raw, 48)
            is_right = (own, born, of, raw[100]) == (address, generation, owner, level)
            if is_right and raw[32:48] == self.superblock.fsid and is_sound(raw, self.superblock.checksum):
                return raw
        raise Uncertain("damaged")

    def _chunk_of(self, address: int) -> Chunk:
        index = bisect_right([chunk.start for chunk in self.chunks], address) - 1
        if index < 0 or address + self.superblock.node > self.chunks[index].end:
            raise Uncertain("damaged")
        return self.chunks[index]


def _leaf_items(raw: bytes, count: int) -> Iterator[Tuple[Key, bytes]]:
    if count > (len(raw) - _HEADER) // _ITEM.size:
        raise Uncertain("damaged")
    for number in range(count):
        one, two, three, offset, size = _ITEM.unpack_from(raw, _HEADER + number * _ITEM.size)
        if _HEADER + offset + size > len(raw):
            raise Uncertain("damaged")
        yield (one, two, three), raw[_HEADER + offset : _HEADER + offset + size]


def _refuse_overlaps(ranges: List[Tuple[int, int]]) -> None:
    for (_start, end), (following, _end) in zip(ranges, ranges[1:]):
        if following < end:
            raise Uncertain("damaged")

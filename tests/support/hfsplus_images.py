# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HFS+ volumes: small ones made of what a reader of free space looks at, and empty ones that kernels mount."""

from __future__ import annotations

import struct
from typing import List, Sequence, Set, Tuple

from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk

Extent = Tuple[int, int]
UNMOUNTED, JOURNALED = 0x100, 0x2000
NOW = 3_700_000_000


def fork(size: int, extents: Sequence[Extent]) -> bytes:
    """The data of a fork: its size, and its extents (first block, blocks)."""
    pairs = b"".join(struct.pack(">II", *extent) for extent in extents)
    return struct.pack(">QII", size, 0, sum(count for _first, count in extents)) + pairs.ljust(64, b"\0")


class HfsVolume:
    """What is built: change its fields before. Blocks 0 and the last are headers, 1 and on the special files."""

    def __init__(self, blocks: int = 100, block: int = 4096) -> None:
        self.block, self.blocks = block, blocks
        self.kind, self.version = b"H+", 4
        self.attributes = UNMOUNTED
        self.bitmap: List[Extent] = [(1, 1)]
        self.used: Set[int] = {0, 1, 2, 3, blocks - 1}
        self.catalog: List[Extent] = [(2, 2)]
        self.journal_block = 0
        self.alternate: Sequence[Tuple[int, bytes]] = ()
        self.miscounted = 0

    def build(self, tail: int = 0) -> BlockDisk:
        """The volume, with its alternate header at the end of ``tail`` bytes behind it."""
        disk = BlockDisk(self.blocks * self.block + tail)
        value = sum(1 << (self.blocks + 7 - number) for number in self.used)
        length = -(-self.blocks // 8)
        raw = (value >> (self.blocks + 8 - 8 * length) if self.blocks + 8 > 8 * length else value).to_bytes(
            length, "big"
        )
        done = 0
        for first, count in self.bitmap:
            part = raw[done : done + count * self.block]
            disk.put(first * self.block, part)
            done += len(part)
        header = self._header()
        disk.put(1024, header)
        copy = bytearray(header)
        for offset, content in self.alternate:
            copy[offset : offset + len(content)] = content
        disk.put(disk.size - 1024, bytes(copy))
        return disk

    def _header(self) -> bytes:
        free = self.blocks - len(self.used) + self.miscounted
        raw = struct.pack(">2sHI4sI", self.kind, self.version, self.attributes, b"test", self.journal_block)
        raw = raw.ljust(40, b"\0") + struct.pack(">III", self.block, self.blocks, free)
        raw = raw.ljust(112, b"\0") + fork(-(-self.blocks // 8), self.bitmap)
        return (raw + fork(0, ()) + fork(8192, self.catalog)).ljust(512, b"\0")


def journal_info(flags: int, place: int, size: int) -> bytes:
    """The block that says where the journal is."""
    return struct.pack(">I32xQQ", flags, place, size)


def journal_header(start: int, end: int, order: str = "<") -> bytes:
    """The beginning of a journal."""
    return struct.pack(f"{order}IIQQ", 0x4A4E4C78, 0x12345678, start, end)


def wrapped(inner: BlockDisk, *, first: int = 16, unit: int = 4096) -> BlockDisk:
    """The volume ``inner`` embedded in one of HFS, from sector ``first`` and one allocation block on."""
    offset = first * 512 + unit
    disk = BlockDisk(offset + inner.size + 1024)
    head = bytearray(162)
    struct.pack_into(">2s18xI4xH", head, 0, b"BD", unit, first)
    struct.pack_into(">2sHH", head, 124, b"H+", 1, inner.size // unit)
    disk.put(1024, bytes(head))
    disk.put(offset, inner.get(0, inner.size))
    return disk


def formatted(size: int, block: int = 4096, name: str = "test") -> BlockDisk:
    """An empty volume with its trees, which Linux mounts and writes."""
    node = max(4096, block)
    blocks = size // block
    bitmap_blocks = -(-blocks // (8 * block))
    first = -(-1536 // block)
    trees = first + bitmap_blocks, first + bitmap_blocks + 4 * node // block
    end = trees[1] + 64 * node // block
    made = HfsVolume(blocks, block)
    made.used = set(range(end)) | set(range((size - 1024) // block, blocks))
    made.bitmap = [(first, bitmap_blocks)]
    disk = made.build()
    head = struct.pack(">2sHI4sI", b"H+", 4, UNMOUNTED, b"10.0", 0) + struct.pack(">IIII", NOW, NOW, 0, NOW)
    head += struct.pack(">IIIII", 0, 0, block, blocks, blocks - len(made.used))
    head += struct.pack(">IIIIIQ", end, block, block, 16, 1, 1) + bytes(32)
    head += fork(bitmap_blocks * block, made.bitmap) + fork(4 * node, [(trees[0], 4 * node // block)])
    head += fork(64 * node, [(trees[1], 64 * node // block)])
    for place in (1024, size - 1024):
        disk.put(place, head.ljust(512, b"\0"))
    disk.put(trees[0] * block, _tree(node, (4, 0), 10, 2))
    disk.put(trees[1] * block, _tree(node, (64, 1), 516, 6) + _catalog_leaf(node, name))
    return disk


def _tree(node: int, counts: Tuple[int, int], longest_key: int, attributes: int) -> bytes:
    """The header node of a tree of ``counts`` nodes and leaves."""
    nodes, leaves = counts
    raw = bytearray(node)
    struct.pack_into(">IIbBH", raw, 0, 0, 0, 1, 0, 3)
    fields = (leaves, leaves, 2 * leaves, leaves, leaves, node, longest_key, nodes, nodes - 1 - leaves)
    struct.pack_into(">HIIIIHHII", raw, 14, *fields)
    struct.pack_into(">HIBBI", raw, 14 + 30, 0, nodes * node, 0, 0xCF if leaves else 0, attributes)
    raw[248] = 0xC0 if leaves else 0x80
    struct.pack_into(">HHHH", raw, node - 8, node - 8, 248, 120, 14)
    return bytes(raw)


def _catalog_leaf(node: int, name: str) -> bytes:
    """The node with the root folder and its thread."""
    text = name.encode("utf-16-be")
    folder = struct.pack(">HIH", 6 + len(text), 1, len(name)) + text
    folder += struct.pack(">hHIIIIIII", 1, 0, 0, 2, NOW, NOW, NOW, NOW, 0)
    folder += struct.pack(">IIBBHI", 0, 0, 0, 0, 0o40755, 0) + bytes(40)
    thread = struct.pack(">HIHhhIH", 6, 2, 0, 3, 0, 1, len(name)) + text
    raw = bytearray(node)
    struct.pack_into(">IIbBH", raw, 0, 0, 0, -1, 1, 2)
    content = folder + thread + bytes(len(thread) % 2)
    raw[14 : 14 + len(content)] = content
    struct.pack_into(">HHH", raw, node - 6, 14 + len(content), 14 + len(folder), 14)
    return bytes(raw)

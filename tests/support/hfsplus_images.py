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


def fork(size: int, extents: Sequence[Extent], blocks: int = 0) -> bytes:
    """The data of a fork: its size, and its extents (first block, blocks), of which it may say that it has more."""
    pairs = b"".join(struct.pack(">II", *extent) for extent in extents[:8])
    return struct.pack(">QII", size, 0, blocks or sum(count for _first, count in extents)) + pairs.ljust(64, b"\0")


class HfsVolume:
    """What is built: change its fields before. Blocks 0 and the last are headers, 1 and on the special files.

    ``files`` are the extents of files; ``overflow`` and ``attributes_file`` are where such trees lie, if anywhere,
    ``more`` the records of the first (file, fork, first block, extents), ``named`` those of the other.
    """

    def __init__(self, blocks: int = 100, block: int = 4096) -> None:
        self.block, self.blocks = block, blocks
        self.kind, self.version = b"H+", 4
        self.attributes = UNMOUNTED
        self.bitmap: List[Extent] = [(1, 1)]
        self.used: Set[int] = {0, 1, 2, 3, blocks - 1}
        self.catalog: List[Extent] = [(2, 2)]
        self.files: List[Sequence[Extent]] = []
        self.overflow: List[Extent] = []
        self.attributes_file: List[Extent] = []
        self.more: List[Tuple[int, int, int, Sequence[Extent]]] = []
        self.named: List[bytes] = []
        self.catalog_blocks = 0
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
        self._put_tree(disk, self.catalog, 516, self._catalog_records())
        self._put_tree(disk, self.overflow, 10, [overflow_record(*one) for one in self.more])
        self._put_tree(disk, self.attributes_file, 266, self.named)
        header = self._header()
        disk.put(1024, header)
        copy = bytearray(header)
        for offset, content in self.alternate:
            copy[offset : offset + len(content)] = content
        disk.put(disk.size - 1024, bytes(copy))
        return disk

    def _catalog_records(self) -> List[bytes]:
        return [*root_folder("test"), *(file_record(number, one) for number, one in enumerate(self.files))]

    def _put_tree(self, disk: BlockDisk, extents: Sequence[Extent], longest_key: int, records: List[bytes]) -> None:
        """A tree of two nodes, the second a leaf with these records."""
        size = sum(count for _first, count in extents) * self.block
        if not size:
            return
        node = min(size // 2, 32768)
        raw = tree_header(node, (2, 1 if records else 0), longest_key, 6, len(records)) + leaf(node, records)
        done = 0
        for first, count in extents:
            disk.put(first * self.block, raw[done : done + count * self.block])
            done += count * self.block

    def _header(self) -> bytes:
        free = self.blocks - len(self.used) + self.miscounted
        raw = struct.pack(">2sHI4sI", self.kind, self.version, self.attributes, b"test", self.journal_block)
        raw = raw.ljust(40, b"\0") + struct.pack(">III", self.block, self.blocks, free)
        raw = raw.ljust(112, b"\0") + fork(-(-self.blocks // 8), self.bitmap)
        for extents, told in ((self.overflow, 0), (self.catalog, self.catalog_blocks), (self.attributes_file, 0)):
            size = sum(count for _first, count in extents) * self.block
            raw += fork(size, extents, told)
        return raw.ljust(512, b"\0")


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
    made.bitmap, made.catalog = [(first, bitmap_blocks)], []
    disk = made.build()
    head = struct.pack(">2sHI4sI", b"H+", 4, UNMOUNTED, b"10.0", 0) + struct.pack(">IIII", NOW, NOW, 0, NOW)
    head += struct.pack(">IIIII", 0, 0, block, blocks, blocks - len(made.used))
    head += struct.pack(">IIIIIQ", end, block, block, 16, 1, 1) + bytes(32)
    head += fork(bitmap_blocks * block, made.bitmap) + fork(4 * node, [(trees[0], 4 * node // block)])
    head += fork(64 * node, [(trees[1], 64 * node // block)])
    for place in (1024, size - 1024):
        disk.put(place, head.ljust(512, b"\0"))
    disk.put(trees[0] * block, tree_header(node, (4, 0), 10, 2, 0))
    disk.put(trees[1] * block, tree_header(node, (64, 1), 516, 6, 2) + leaf(node, root_folder(name)))
    return disk


def tree_header(node: int, counts: Tuple[int, int], longest_key: int, attributes: int, records: int) -> bytes:
    """The header node of a tree of ``counts`` nodes and leaves, which is one or none."""
    nodes, leaves = counts
    raw = bytearray(node)
    struct.pack_into(">IIbBH", raw, 0, 0, 0, 1, 0, 3)
    fields = (leaves, leaves, records, leaves, leaves, node, longest_key, nodes, nodes - 1 - leaves)
    struct.pack_into(">HIIIIHHII", raw, 14, *fields)
    struct.pack_into(">HIBBI", raw, 14 + 30, 0, nodes * node, 0, 0xCF if leaves else 0, attributes)
    raw[248] = 0xC0 if leaves else 0x80
    struct.pack_into(">HHHH", raw, node - 8, node - 8, 248, 120, 14)
    return bytes(raw)


def root_folder(name: str) -> List[bytes]:
    """The records of the root folder and its thread."""
    text = name.encode("utf-16-be")
    folder = struct.pack(">HIH", 6 + len(text), 1, len(name)) + text
    folder += struct.pack(">hHIIIIIII", 1, 0, 0, 2, NOW, NOW, NOW, NOW, 0)
    folder += struct.pack(">IIBBHI", 0, 0, 0, 0, 0o40755, 0) + bytes(40)
    thread = struct.pack(">HIHhhIH", 6, 2, 0, 3, 0, 1, len(name)) + text
    return [folder, thread + bytes(len(thread) % 2)]


def file_record(number: int, extents: Sequence[Extent], blocks: int = 0) -> bytes:
    """A file of the root folder whose data are in these extents, first of all blocks that it has."""
    name = f"file{number:04}"
    head = struct.pack(">HIH", 6 + 2 * len(name), 2, len(name)) + name.encode("utf-16-be")
    told = blocks or sum(count for _first, count in extents)
    fixed = struct.pack(">hHII", 2, 0, 0, 16 + number).ljust(88, b"\0")
    return head + fixed + fork(told * 512, extents[:8], told) + fork(0, ())


def overflow_record(file: int, kind: int, start: int, extents: Sequence[Extent]) -> bytes:
    """Up to eight extents of a file or of its resources (``kind`` 255), from its block ``start`` on."""
    return struct.pack(">HBxII", 10, kind, file, start) + fork(0, extents)[16:]


def attribute_record(name: str, content: bytes) -> bytes:
    """An attribute of the file 16."""
    return struct.pack(">HHIIH", 12 + 2 * len(name), 0, 16, 0, len(name)) + name.encode("utf-16-be") + content


def leaf(node: int, records: Sequence[bytes]) -> bytes:
    """A node with these records, the only leaf."""
    raw = bytearray(node)
    struct.pack_into(">IIbBH", raw, 0, 0, 0, -1, 1, len(records))
    at = 14
    for number, record in enumerate([*records, b""]):
        struct.pack_into(">H", raw, node - 2 * number - 2, at)
        raw[at : at + len(record)] = record
        at += len(record)
    assert at <= node - 2 * len(records) - 2
    return bytes(raw)

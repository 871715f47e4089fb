# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free bytes of Btrfs on one device: what no chunk takes, and in chunks what the extent tree does not name.

::

    logical   | chunk: extents ..   free ..  |              chunk item: where its one or two copies lie
    device    | 1 MiB used | copy | unallocated: free | copy | ..       less 64 KiB at each superblock

Of every block group the extents must add up to what it says is used.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

from ...._core.ranges import Range, complement
from ..answer import Identity, Uncertain
from ..runs import MOST, Runs
from ..volume import Volume
from .btrfs_super import PLACES, BtrfsSuper, parse_super, read_super
from .btrfs_tree import Chunk, Root, Trees

_EXTENT, _METADATA, _BLOCK_GROUP, _ROOT = 168, 169, 192, 132
_EXTENT_TREE, _ROOT_TREE, _GROUP_TREE = 2, 1, 11
_FIRST_USABLE, _KEPT_AT_SUPER = 1 << 20, 64 << 10


class _Usage(NamedTuple):
    """Of each chunk, in order: its free logical ranges, and the bytes of its extents."""

    free: List[Runs]
    used: List[int]


Groups = Dict[int, Tuple[int, int, int]]


def recognise(volume: Volume) -> Optional[Identity]:
    """What a superblock with the right magic says."""
    raw = read_super(volume)
    if raw is None:
        return None
    label = raw[299:555].split(b"\0", 1)[0].decode("utf-8", "replace")
    return Identity("btrfs", label or None, struct.unpack_from("<Q", raw, 209)[0])


def free_runs(volume: Volume) -> Runs:
    """The free bytes. Raises Uncertain."""
    superblock = parse_super(volume)
    trees = Trees(volume, superblock)
    trees.load_chunks()
    roots = _roots(trees)
    groups: Groups = {}
    usage = _usage(trees, roots[_EXTENT_TREE], groups)
    if superblock.has_group_tree:
        if groups or _GROUP_TREE not in roots:
            raise Uncertain("damaged")
        for key, data in trees.items(_GROUP_TREE, roots[_GROUP_TREE]):
            _note_group(groups, key, data)
    _refuse_groups(trees.chunks, groups, usage)
    return _on_device(superblock, trees.chunks, usage)


def _roots(trees: Trees) -> Dict[int, Root]:
    """The roots of the trees that are read."""
    found: Dict[int, Root] = {}
    for key, data in trees.items(_ROOT_TREE, trees.superblock.root):
        if key[1] == _ROOT and key[0] in (_EXTENT_TREE, _GROUP_TREE):
            if len(data) < 239:
                raise Uncertain("damaged")
            generation, address = struct.unpack_from("<Q8xQ", data, 160)
            found[key[0]] = (address, data[238], generation)
    if _EXTENT_TREE not in found:
        raise Uncertain("damaged")
    return found


def _usage(trees: Trees, root: Root, groups: Groups) -> _Usage:
    """What the extent tree leaves of each chunk; block groups found on the way are noted."""
    chunks = trees.chunks
    most = max(1024, MOST // len(chunks))
    usage = _Usage([Runs(most=most) for _chunk in chunks], [0] * len(chunks))
    index, position = 0, chunks[0].start
    for key, data in trees.items(_EXTENT_TREE, root):
        if key[1] not in (_EXTENT, _METADATA):
            _note_group(groups, key, data)
            continue
        start, length = key[0], key[2] if key[1] == _EXTENT else trees.superblock.node
        while index + 1 < len(chunks) and chunks[index].end <= start:
            usage.free[index].add(position, chunks[index].end)
            index += 1
            position = chunks[index].start
        if start < position or start + length > chunks[index].end:
            raise Uncertain("damaged")
        usage.free[index].add(position, start)
        usage.used[index] += length
        position = start + length
    for last in range(index, len(chunks)):
        usage.free[last].add(position if last == index else chunks[last].start, chunks[last].end)
    return usage


def _note_group(groups: Groups, key: Tuple[int, int, int], data: bytes) -> None:
    if key[1] == _BLOCK_GROUP:
        if len(data) < 24:
            raise Uncertain("damaged")
        used, _owner, flags = struct.unpack_from("<QQQ", data)
        groups[key[0]] = (key[2], used, flags)


def _refuse_groups(chunks: List[Chunk], groups: Groups, usage: _Usage) -> None:
    """Every chunk has a block group that is as long and as full. Raises Uncertain."""
    if len(groups) != len(chunks):
        raise Uncertain("damaged")
    for chunk, used in zip(chunks, usage.used):
        if groups.get(chunk.start) != (chunk.length, used, chunk.kind):
            raise Uncertain("damaged")


def _on_device(superblock: BtrfsSuper, chunks: List[Chunk], usage: _Usage) -> Runs:
    """The free ranges of the device: of each copy of a chunk, and between them."""
    copies = sorted((copy, index) for index, chunk in enumerate(chunks) for copy in chunk.copies)
    taken = [(copy, copy + chunks[index].length) for copy, index in copies]
    kept = [(0, _FIRST_USABLE)] + [(place, place + _KEPT_AT_SUPER) for place in PLACES[1:]]
    runs = Runs()

    def pieces() -> Iterator[Range]:
        position = 0
        for (copy, index), (_start, end) in zip(copies, taken):
            yield position, copy
            shift = copy - chunks[index].start
            for low, high in usage.free[index]:
                yield low + shift, high + shift
            position = end
        yield position, superblock.device_size

    for low, high in pieces():
        if low < high:
            runs.extend(complement(kept, low, high))
    return runs

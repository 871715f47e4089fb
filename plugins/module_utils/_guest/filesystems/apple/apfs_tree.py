# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trees of APFS, from the Apple File System Reference: nodes of one block, each with its checksum.

::

    node   header | flags, level, count | places of keys and values | keys -> | .. | <- values | root only: facts

The children of a node are named by object: a physical one is the number of its block, others are looked up.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Callable, Iterator, NamedTuple, Tuple

from ..answer import refuse_if
from ..volume import Volume
from .apfs_checkpoint import Checkpoint, has_checksum, kind, transaction

_ROOT_KIND, _NODE_KIND = 2, 3
_ROOT, _LEAF, _FIXED = 1, 2, 4
_DATA, _FACTS = 56, 40
_NO_VALUE = 0xFFFF
_DEEPEST = 16
Item = Tuple[bytes, bytes]


class Tree(NamedTuple):
    """A tree by the object of its root. ``place`` gives the block of a node, and takes note of it."""

    root: int
    subtype: int
    place: Callable[[int], int]


class _Shape(NamedTuple):
    """How long keys and values are in nodes with fixed places."""

    key: int
    value: int


def items_of(volume: Volume, checkpoint: Checkpoint, tree: Tree) -> Iterator[Item]:
    """Key and value of all items in their order; a value is empty where there is none. Raises Uncertain."""
    raw = _node(volume, checkpoint, tree, tree.root)
    flags, level = struct.unpack_from("<HH", raw, 32)
    refuse_if(not flags & _ROOT or kind(raw) != _ROOT_KIND or level > _DEEPEST)
    size, key, value = struct.unpack_from("<4xIII", raw, len(raw) - _FACTS)
    refuse_if(size != checkpoint.block, "unsupported")
    yield from _walked(volume, checkpoint, tree, (raw, level), _Shape(key, value))


def _walked(
    volume: Volume, checkpoint: Checkpoint, tree: Tree, node: Tuple[bytes, int], shape: _Shape
) -> Iterator[Item]:
    raw, level = node
    if not level:
        yield from _items(raw, shape)
        return
    for _key, value in _items(raw, _Shape(shape.key, 8)):
        refuse_if(len(value) < 8)
        child = _node(volume, checkpoint, tree, struct.unpack_from("<Q", value)[0])
        refuse_if(kind(child) != _NODE_KIND or struct.unpack_from("<H", child, 34)[0] != level - 1)
        yield from _walked(volume, checkpoint, tree, (child, level - 1), shape)


def _node(volume: Volume, checkpoint: Checkpoint, tree: Tree, oid: int) -> bytes:
    raw = volume.read(tree.place(oid) * checkpoint.block, checkpoint.block)
    own, subtype = struct.unpack_from("<Q", raw, 8)[0], struct.unpack_from("<I", raw, 28)[0]
    refuse_if((own, subtype) != (oid, tree.subtype) or transaction(raw) > checkpoint.transaction)
    refuse_if(not has_checksum(raw))
    return raw


def _items(raw: bytes, shape: _Shape) -> Iterator[Item]:
    flags, level, count, at, length = struct.unpack_from("<HHIHH", raw, 32)
    start, end = _DATA + at, len(raw) - (_FACTS if flags & _ROOT else 0)
    keys, width = start + length, 4 if flags & _FIXED else 8
    refuse_if(count * width > length or keys > end or bool(flags & _LEAF) == bool(level))
    for place in range(start, start + count * width, width):
        if flags & _FIXED:
            (key, value), (key_bytes, value_bytes) = struct.unpack_from("<HH", raw, place), shape
        else:
            key, key_bytes, value, value_bytes = struct.unpack_from("<HHHH", raw, place)
        if value == _NO_VALUE:
            value = value_bytes = 0
        low, high = keys + key, end - value
        refuse_if(low + key_bytes > end or high < keys or high + value_bytes > end)
        yield raw[low : low + key_bytes], raw[high : high + value_bytes]

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The trees of HFS+, from Apple's TN1150: header node, and leaves in a chain with their records.

::

    node   links, kind, height, records | record, record, ...   .. offsets of the records, from the end
    record key length, key, data

Nodes have no checksums: links in both directions, kinds, heights and the count of records must agree.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterator, List, NamedTuple, Tuple

from ...._core.ranges import Range
from ..answer import refuse_if
from ..volume import Volume
from .hfsplus_layout import Header

_LEAF, _HEADER_NODE = -1, 1
_DESCRIPTOR = struct.Struct(">IIbBHH")
_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768)
_SMALLEST = 512


class Tree(NamedTuple):
    """What the header node says, and where the nodes lie, as ranges of blocks."""

    extents: Tuple[Range, ...]
    node: int
    nodes: int
    records: int
    first: int
    last: int


def open_tree(volume: Volume, header: Header, extents: List[Range]) -> Tree:
    """The tree in a special file. Raises Uncertain where its header makes no sense."""
    held = sum(end - start for start, end in extents) * header.block
    refuse_if(held < _SMALLEST)
    raw = _at(volume, header, extents, (0, _SMALLEST))
    kind = _DESCRIPTOR.unpack_from(raw)[2]
    records, first, last, node = struct.unpack_from(">6xIIIH", raw, 14)
    nodes = struct.unpack_from(">I", raw, 14 + 22)[0]
    refuse_if(kind != _HEADER_NODE or node not in _SIZES or not 0 < nodes * node <= held)
    return Tree(tuple(extents), node, nodes, records, first, last)


def records_of(volume: Volume, header: Header, tree: Tree) -> Iterator[Tuple[bytes, bytes]]:
    """Key and data of all records, from the first leaf to the last. Raises Uncertain where leaves contradict."""
    number, before, count, seen = tree.first, 0, 0, 0
    while number:
        refuse_if(number >= tree.nodes or seen >= tree.nodes)
        raw = _at(volume, header, tree.extents, (number * tree.node, tree.node))
        following, back, kind, height, records, _reserved = _DESCRIPTOR.unpack_from(raw)
        refuse_if((back, kind, height) != (before, _LEAF, 1) or not records)
        yield from _in_node(raw, records)
        before, number = number, following
        count, seen = count + records, seen + 1
    refuse_if(before != tree.last or count != tree.records)


def _in_node(raw: bytes, records: int) -> Iterator[Tuple[bytes, bytes]]:
    refuse_if(_DESCRIPTOR.size + 2 * (records + 1) > len(raw))
    offsets = struct.unpack_from(f">{records + 1}H", raw, len(raw) - 2 * (records + 1))[::-1]
    last = len(raw) - 2 * (records + 1)
    for start, end in zip(offsets, offsets[1:]):
        refuse_if(not _DESCRIPTOR.size <= start < end <= last)
        data = start + 2 + int.from_bytes(raw[start : start + 2], "big")
        refuse_if(data > end)
        yield raw[start + 2 : data], raw[data:end]


def _at(volume: Volume, header: Header, extents: List[Range] | Tuple[Range, ...], place: Tuple[int, int]) -> bytes:
    """Bytes (offset, length) of a special file."""
    offset, left = place
    found, base = [], 0
    for start, end in extents:
        length = (end - start) * header.block
        low, high = max(offset, base), min(offset + left, base + length)
        if low < high:
            found.append(volume.read(header.offset + start * header.block + low - base, high - low))
        base += length
    return b"".join(found)

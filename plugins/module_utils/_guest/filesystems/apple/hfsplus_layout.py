# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""HFS+ and HFSX on disk, from Apple's TN1150: volume header, forks, journal. All numbers are big-endian.

::

    1024 bytes | volume header | ... | alternate header | 512 bytes

The volume may be wrapped in one of HFS, which says where it is embedded.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import List, Optional, Tuple

from ...._core.ranges import Range
from ...._core.records import dataclass
from ..answer import Uncertain, refuse_if
from ..volume import Volume

HEADER, HEADER_BYTES, ALTERNATE = 1024, 512, 1024
FORKS = (112, 192, 272, 352, 432)
_VERSIONS = {b"H+": 4, b"HX": 5}
_UNMOUNTED, _INCONSISTENT, _JOURNALED = 0x100, 0x800, 0x2000
# Locks, spared blocks, no cache, reused ids, times, zeroed nodes, protected content: none matters for what is free.
_HARMLESS = 0x80 | 0x200 | 0x400 | 0x1000 | 0x4000 | 0x8000 | 1 << 30 | 1 << 31
_IN_VOLUME, _NEEDS_INIT = 1, 4
_JOURNAL_MAGIC, _ENDIAN_MARK = 0x4A4E4C78, 0x12345678


@dataclass(frozen=True)
class Header:
    """A volume header. ``offset`` is where the volume begins in its partition, in bytes; ``end`` where it may end."""

    raw: bytes
    offset: int
    end: int
    attributes: int
    block: int
    blocks: int
    free: int

    @property
    def size(self) -> int:
        """The bytes of the volume itself."""
        return self.block * self.blocks


def read_header(volume: Volume) -> Optional[Header]:
    """The header of the volume, also of one that is wrapped in HFS. None when there is none that makes sense."""
    offset, end = 0, volume.size
    if end < HEADER + HEADER_BYTES + ALTERNATE:
        return None
    raw = volume.read(HEADER, HEADER_BYTES)
    if raw[:2] == b"BD":
        if raw[124:126] != b"H+":
            return None
        unit, first, start, count = *struct.unpack_from(">I4xH", raw, 20), *struct.unpack_from(">HH", raw, 126)
        offset = first * 512 + start * unit
        end = offset + count * unit
        if end > volume.size or count * unit < 4096:
            return None
        raw = volume.read(offset + HEADER, HEADER_BYTES)
    version, attributes = struct.unpack_from(">HI", raw, 2)
    block, blocks, free = struct.unpack_from(">III", raw, 40)
    if _VERSIONS.get(raw[:2]) != version or block < 512 or block & (block - 1) or not blocks:
        return None
    return Header(raw, offset, end, attributes, block, blocks, free)


def alternate_place(volume: Volume, header: Header) -> int:
    """Where the alternate header is, from the beginning of the volume: 1024 bytes before the end of its partition.

    That may be behind the last whole block. Raises Uncertain unless it has the same geometry and place of the bitmap.
    """
    refuse_if(header.offset + header.size > header.end, "too_large")
    for end in (header.size, (header.end - header.offset) // 512 * 512):
        raw = volume.read(header.offset + end - ALTERNATE, HEADER_BYTES)
        if raw[:4] == header.raw[:4] and raw[40:48] == header.raw[40:48] and raw[112:192] == header.raw[112:192]:
            return end - ALTERNATE
    raise Uncertain("damaged")


def refuse_unclean(header: Header) -> None:
    """Raise Uncertain unless the volume was unmounted, without damage and unknown attributes."""
    attributes = header.attributes
    refuse_if(attributes & _INCONSISTENT, "errors")
    refuse_if(not attributes & _UNMOUNTED, "unclean")
    refuse_if(attributes & ~(_HARMLESS | _UNMOUNTED | _JOURNALED), "unknown_features")


def journal_blocks(volume: Volume, header: Header) -> List[Range]:
    """The blocks of an empty journal and of what describes it, none without one.

    Raises Uncertain for a journal that must be replayed or lies on another device.
    """
    if not header.attributes & _JOURNALED:
        return []
    block = struct.unpack_from(">I", header.raw, 12)[0]
    raw = volume.read(header.offset + block * header.block, 52)
    flags, place, size = struct.unpack(">I32xQQ", raw)
    refuse_if(not flags & _IN_VOLUME, "external")
    if not flags & _NEEDS_INIT:
        _refuse_entries(volume.read(header.offset + place, 24))
    return [(block, block + 1), (place // header.block, -(-(place + size) // header.block))]


def _refuse_entries(raw: bytes) -> None:
    """A journal is written in the byte order of the machine; it is empty where it begins at its end."""
    for order in "<>":
        magic, mark, start, end = struct.unpack(f"{order}IIQQ", raw)
        if (magic, mark) == (_JOURNAL_MAGIC, _ENDIAN_MARK):
            refuse_if(start != end, "unclean")
            return
    raise Uncertain("damaged")


def fork(header: Header, offset: int) -> Tuple[int, int, List[Range]]:
    """Bytes, blocks and first extents, as ranges of blocks, of the special file whose fork lies at ``offset``."""
    size, blocks = struct.unpack_from(">Q4xI", header.raw, offset)
    return size, blocks, extents_of(header.raw[offset + 16 : offset + 80])


def extents_of(raw: bytes) -> List[Range]:
    """Eight extents as ranges of blocks, without empty ones."""
    pairs = struct.unpack_from(">16I", raw)
    return [(start, start + count) for start, count in zip(pairs[::2], pairs[1::2]) if count]

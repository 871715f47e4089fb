# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Apple Partition Maps, read only, as Inside Macintosh: Devices describes them: a block for each partition, from block
1 on; numbers are big-endian.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import List, NamedTuple

from ..._formats.image import GuestView

_BLOCKS = (512, 1024, 2048, 4096)
_MOST = 128
_NO_DATA = ("Apple_partition_map", "Apple_Free", "Apple_Void")


class MapEntry(NamedTuple):
    """A partition that holds something, by its number in the map; places are bytes."""

    number: int
    name: str
    kind: str
    start: int
    end: int


def read_map(disk: GuestView) -> List[MapEntry]:
    """The partitions of a map that hold something; empty for a disk without a map, or with one that makes no sense."""
    for block in _BLOCKS:
        if _read(disk, block)[:2] == b"PM":
            return _entries(disk, block)
    return []


def _entries(disk: GuestView, block: int) -> List[MapEntry]:
    count = min(struct.unpack_from(">I", _read(disk, block), 4)[0], _MOST)
    found = []
    for number in range(1, count + 1):
        raw = _read(disk, number * block)
        if raw[:2] != b"PM":
            break
        start, length = struct.unpack_from(">II", raw, 8)
        name, kind = (raw[at : at + 32].split(b"\0")[0].decode("ascii", "replace") for at in (16, 48))
        if kind not in _NO_DATA and length:
            found.append(MapEntry(number, name, kind, start * block, (start + length) * block))
    return found


def _read(disk: GuestView, offset: int) -> bytes:
    raw = bytearray(512)
    if offset + len(raw) <= disk.size:
        disk.pread_into(offset, raw)
    return bytes(raw)

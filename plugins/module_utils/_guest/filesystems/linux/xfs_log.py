# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the log of XFS is clean: the last thing in it is the record of an unmount (kernel ``xfs_log_recover.c``).

The log is a ring. Every block begins with the number of the cycle that wrote it, but a record's header, where the
number follows the magic. Where the number drops is the head.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct

from ..answer import Uncertain
from ..volume import Volume

_SECTOR = 512
_RECORD = 0xFEEDBABE
_UNMOUNT = 0x20
_HEADER_BYTES = 32768
# Longer than a record and than all records that may be under way at once.
_WINDOW = 4096


def refuse_unclean_log(volume: Volume, start: int, end: int) -> None:
    """Raises Uncertain unless the log in bytes ``start`` to ``end`` ends with an unmount."""
    count = (end - start) // _SECTOR
    first, last = _cycle(volume, start, 0), _cycle(volume, start, count - 1)
    if not first or last not in (first, first - 1, 0):
        raise Uncertain("unclean")
    head = count if last == first else _drop(volume, start, first, count)
    window = min(_WINDOW, head)
    before = volume.read(start + (head - window) * _SECTOR, window * _SECTOR)
    after = volume.read(start + head * _SECTOR, min(_WINDOW, count - head) * _SECTOR)
    is_ordered = all(_cycle_of(before, at) == first for at in range(0, len(before), _SECTOR)) and all(
        _cycle_of(after, at) == last for at in range(0, len(after), _SECTOR)
    )
    if not is_ordered or not _ends_with_unmount(before):
        raise Uncertain("unclean")


def _drop(volume: Volume, start: int, first: int, count: int) -> int:
    """The first block of another cycle than block 0, by bisection."""
    low, high = 0, count - 1
    while high - low > 1:
        middle = (low + high) // 2
        if _cycle(volume, start, middle) == first:
            low = middle
        else:
            high = middle
    return high


def _cycle(volume: Volume, start: int, number: int) -> int:
    return _cycle_of(volume.read(start + number * _SECTOR, 8), 0)


def _cycle_of(raw: bytes, at: int) -> int:
    first, second = struct.unpack_from(">II", raw, at)
    return int(second if first == _RECORD else first)


def _ends_with_unmount(raw: bytes) -> bool:
    """Whether the last record that begins in ``raw`` is one unmount, and ends where ``raw`` does."""
    at = next((at for at in range(len(raw) - _SECTOR, -1, -_SECTOR) if raw[at : at + 4] == b"\xfe\xed\xba\xbe"), None)
    if at is None:
        return False
    version, length = struct.unpack_from(">II", raw, at + 8)
    operations = struct.unpack_from(">I", raw, at + 40)[0]
    header = struct.unpack_from(">I", raw, at + 320)[0] if version == 2 else _HEADER_BYTES
    body = at + max(1, -(-header // _HEADER_BYTES)) * _SECTOR
    ends = body + -(-length // _SECTOR) * _SECTOR == len(raw) and length > 0
    return ends and operations == 1 and bool(raw[body + 9] & _UNMOUNT)

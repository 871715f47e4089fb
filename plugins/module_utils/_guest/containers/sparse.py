# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files with holes in pax archives, of all the kinds that GNU tar makes (its manual, "Sparse Formats").

::

    0.0, 0.1    the map is in the header: GNU.sparse.offset and .numbytes again and again, or GNU.sparse.map
    1.0         the map comes first in the member: | count\\n offset\\n length\\n ... pad to 512 | data |
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import Dict, Iterator, List, Sequence, Tuple

from ..._formats.damage import DamagedSource
from ..._formats.mapping import ByteSource
from .segments import Stretch

PAX_SPARSE = "GNU.sparse."
MAP = PAX_SPARSE + "map"
Pairs = List[Tuple[int, int]]

_BLOCK = 512
_MOST_STRETCHES = 1 << 20
_NUMBER = re.compile(r"[0-9]{1,18}")


def decimal(text: str, path: str, offset: int) -> int:
    """A number of a pax header. Raises Damaged."""
    if not _NUMBER.fullmatch(text):
        raise DamagedSource("A number in the archive is impossible", path, offset, found=text[:20])
    return int(text)


def real_size(overrides: Dict[str, str], path: str, offset: int) -> int:
    """The length of the file with its holes. Raises Damaged."""
    text = overrides.get(PAX_SPARSE + "realsize") or overrides.get(PAX_SPARSE + "size") or ""
    return decimal(text, path, offset)


def pax_pairs(source: ByteSource, overrides: Dict[str, str], place: Tuple[int, int]) -> Tuple[int, Pairs]:
    """Where the bytes of the member at ``place`` begin, and the offsets and lengths that they have in the file.

    Raises Damaged.
    """
    data, size = place
    if overrides.get(PAX_SPARSE + "major", "0") != "0":
        lines = _Lines(source, data, size)
        count = next(lines)
        if count > _MOST_STRETCHES:
            raise _wrong(source.path, data, count)
        pairs = [(next(lines), next(lines)) for _number in range(count)]
        return lines.end, pairs
    numbers = [decimal(text, source.path, data) for text in overrides.get(MAP, "").split(",") if text]
    if len(numbers) % 2 or len(numbers) > 2 * _MOST_STRETCHES:
        raise _wrong(source.path, data, len(numbers))
    return data, list(zip(numbers[::2], numbers[1::2]))


class _Lines(Iterator[int]):
    """The numbers at the start of a member, one a line; ``end`` is after the block of the last one."""

    def __init__(self, source: ByteSource, start: int, size: int) -> None:
        self.end = start
        self._source = source
        self._last = start + size
        self._rest = b""

    def __next__(self) -> int:
        while b"\n" not in self._rest:
            raw = bytearray(min(_BLOCK, self._last - self.end))
            if len(self._rest) > _BLOCK or not raw or self._source.pread_into(self.end, raw) < len(raw):
                raise _wrong(self._source.path, self.end, len(self._rest))
            self._rest += bytes(raw)
            self.end += len(raw)
        line, _newline, self._rest = self._rest.partition(b"\n")
        return decimal(line.decode("ascii", "replace"), self._source.path, self.end)


def placed(pairs: Sequence[Tuple[int, int]], place: Tuple[int, int], real: int, path: str) -> Tuple[Stretch, ...]:
    """The stretches of a file of ``real`` bytes whose stored ones are at ``place``. Raises Damaged."""
    data, size = place
    found: List[Stretch] = []
    position, used = 0, 0
    for start, length in pairs:
        if start < position or start + length > real or used + length > size:
            raise _wrong(path, data, (start, length))
        if length:
            found.append((start, length, data + used))
        position, used = start + length, used + length
    return tuple(found)


def _wrong(path: str, offset: int, found: object) -> DamagedSource:
    return DamagedSource("The map of a sparse member is wrong", path, offset, found=found)

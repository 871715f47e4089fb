# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The master file table of NTFS, and the streams whose places it tells."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import Iterator, List, Tuple

from ..answer import refuse_if
from ..volume import Volume
from .ntfs_layout import (
    DATA,
    HOLE,
    IN_USE,
    LIST,
    Attribute,
    Boot,
    Run,
    attributes,
    fixed_up,
    runs_of,
    value_of,
)

_PIECE = 256 << 10
_LONGEST_LIST = 1 << 20
_MOST_RECORDS = 1 << 23
_REFERENCE = (1 << 48) - 1


class Stream:
    """The bytes of an attribute: ``size`` of them, of which those from ``initialised`` on are not on the disk."""

    def __init__(self, volume: Volume, cluster: int, runs: List[Run], sizes: Tuple[int, int]) -> None:
        self.size, self.initialised = sizes
        self._volume = volume
        self._cluster = cluster
        self._runs = runs
        self._starts = [0]
        for _first, count in runs:
            self._starts.append(self._starts[-1] + count * cluster)
        refuse_if(not 0 <= self.initialised <= self.size <= self._starts[-1])

    def read(self, offset: int, length: int) -> bytes:
        """Bytes that are on the disk; holes read as zeros. Raises Uncertain."""
        refuse_if(offset + length > self.initialised)
        found = []
        index = bisect_right(self._starts, offset) - 1
        while length:
            first, count = self._runs[index]
            within = offset - self._starts[index]
            part = min(length, count * self._cluster - within)
            place = first * self._cluster + within
            found.append(bytes(part) if first == HOLE else self._volume.read(place, part))
            offset, length, index = offset + part, length - part, index + 1
        return b"".join(found)


class Resident(Stream):
    """The bytes of an attribute that lies in its record."""

    def __init__(self, content: bytes) -> None:
        self.size = self.initialised = len(content)
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        refuse_if(offset + length > self.size)
        return self._content[offset : offset + length]


class Records:
    """The records of a volume. ``table`` is the table itself, as a stream."""

    def __init__(self, volume: Volume, boot: Boot) -> None:
        self._volume = volume
        self._boot = boot
        first = volume.read(boot.mft_cluster * boot.cluster, boot.record)
        self.table = self._bootstrapped(_checked(first))

    def _bootstrapped(self, record: bytes) -> Stream:
        """The table from its first record; where the rest of it lies stands in records of its earlier parts."""
        found = list(attributes(record))
        parts = [one for one in found if (one.type, one.name) == (DATA, b"")]
        lists = [one for one in found if one.type == LIST]
        if lists:
            self.table = self._joined(parts, is_whole=False)
            parts = []
            for part in self._listed(lists[0]):
                parts.append(part)
                self.table = self._joined(parts, is_whole=False)
        return self._joined(parts)

    def record(self, number: int) -> bytes:
        """A record that is in use, fixed up. Raises Uncertain."""
        return _checked(self.table.read(number * self._boot.record, self._boot.record))

    def stream(self, number: int) -> Stream:
        """The unnamed data of a file, also when its runs are spread over records. Raises Uncertain."""
        found = list(attributes(self.record(number)))
        lists = [one for one in found if one.type == LIST]
        if lists:
            return self._joined(list(self._listed(lists[0])))
        parts = [one for one in found if (one.type, one.name) == (DATA, b"")]
        if len(parts) == 1 and parts[0].is_resident:
            return Resident(value_of(parts[0]))
        return self._joined(parts)

    def _listed(self, attribute: Attribute) -> Iterator[Attribute]:
        """The parts of the unnamed data that an attribute list names, in its order."""
        for first, number in _entries(self._content(attribute)):
            for one in attributes(self.record(number)):
                if (one.type, one.name) == (DATA, b"") and struct.unpack_from("<Q", one.raw, 16)[0] == first:
                    yield one

    def _content(self, attribute: Attribute) -> bytes:
        if attribute.is_resident:
            return value_of(attribute)
        stream = self._joined([attribute])
        refuse_if(stream.size > _LONGEST_LIST)
        return stream.read(0, stream.size)

    def _joined(self, parts: List[Attribute], *, is_whole: bool = True) -> Stream:
        """A stream of attributes of which each goes on where the one before ends."""
        runs: List[Run] = []
        following = 0
        for one in parts:
            first, last = struct.unpack_from("<qq", one.raw, 16)
            refuse_if(one.is_resident or first != following)
            runs += runs_of(one, self._boot.clusters)
            following = last + 1
        refuse_if(not parts)
        size, initialised = struct.unpack_from("<QQ", parts[0].raw, 48)
        held = following * self._boot.cluster
        sizes = (size, initialised) if is_whole else (min(size, held), min(initialised, held))
        return Stream(self._volume, self._boot.cluster, runs, sizes)

    def all(self) -> Iterator[Tuple[int, bytes]]:
        """Number and content of all records in use, fixed up. Raises Uncertain."""
        size = self._boot.record
        count = self.table.initialised // size
        refuse_if(count > _MOST_RECORDS, "costly")
        for base in range(0, count, _PIECE // size):
            number = min(_PIECE // size, count - base)
            raw = self.table.read(base * size, number * size)
            for offset in range(0, len(raw), size):
                if raw[offset : offset + 4] != b"FILE":
                    # One that was never used is empty.
                    refuse_if(raw[offset : offset + size].strip(b"\0"))
                elif raw[offset + 22] & IN_USE:
                    yield base + offset // size, _checked(raw[offset : offset + size])


def _checked(raw: bytes) -> bytes:
    refuse_if(raw[:4] != b"FILE" or not raw[22] & IN_USE)
    return fixed_up(raw)


def _entries(raw: bytes) -> Iterator[Tuple[int, int]]:
    """First cluster and record of each part of the unnamed data that a list names."""
    offset = 0
    while offset + 26 <= len(raw):
        kind, length, name_length = struct.unpack_from("<IHB", raw, offset)
        first, reference = struct.unpack_from("<QQ", raw, offset + 8)
        refuse_if(length < 26)
        if kind == DATA and not name_length:
            yield first, reference & _REFERENCE
        offset += length

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where file systems may be on a guest disk: partitions by MBR, GPT (or its backup) or Apple's map, or all of it."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import List, Optional

from ..._core.records import dataclass
from ..._core.units import SECTOR
from ..._formats.image import Readable
from ..gpt import checked_entries
from ..partitions import read_partitions
from .answer import Uncertain

_PROTECTIVE = 0xEE
_EXTENDED = ("0x05", "0x0f", "0x85")
_MOST_MAP_ENTRIES = 256
# Nothing of a file system is here: the first sectors of a disk belong to tables and boot loaders.
_FIRST_BYTE = SECTOR


@dataclass(frozen=True)
class Area:
    """Bytes of the disk that one partition takes. ``type`` as its table says it, a GUID in small letters or 0x07."""

    number: Optional[int]
    start: int
    size: int
    type: Optional[str]

    @property
    def end(self) -> int:
        """The byte after it."""
        return self.start + self.size


def find_areas(disk: Readable) -> Optional[List[Area]]:
    """The partitions, ascending; None when there is no table, or none that makes sense.

    Raises Uncertain (partition_table) for a GPT or map whose copies are bad or disagree, or whose partitions make no
    sense.
    """
    if disk.size < 3 * SECTOR:
        return None
    first = _read(disk, 0, SECTOR)
    if first[:2] == b"ER":
        found = _apple_map(disk, first)
        if found is not None:
            return _sound(disk, found)
    if first[510:] != b"\x55\xaa":
        return None
    if any(first[offset + 4] == _PROTECTIVE for offset in range(446, 510, 16)):
        return _sound(disk, _gpt(disk))
    try:
        return _sound(disk, _mbr(disk))
    except Uncertain:
        return None


def _sound(disk: Readable, areas: List[Area]) -> List[Area]:
    areas = sorted(areas, key=lambda area: area.start)
    position = _FIRST_BYTE
    for area in areas:
        if area.start < position or area.size <= 0 or area.end > disk.size:
            raise Uncertain("partition_table")
        position = area.end
    return areas


def _mbr(disk: Readable) -> List[Area]:
    table = read_partitions(disk)
    if table is None or table["scheme"] != "mbr":
        raise Uncertain("partition_table")
    extended = [one for one in table["entries"] if one["type"] in _EXTENDED]
    found = [
        Area(one["number"], one["start"], one["size"], one["type"])
        for one in table["entries"]
        if one["type"] not in _EXTENDED
    ]
    for one in found:
        is_inside = [e for e in extended if e["start"] < one.start and one.end <= e["start"] + e["size"]]
        if one.number is not None and one.number > 4 and not is_inside:
            raise Uncertain("partition_table")
    return found


def _gpt(disk: Readable) -> List[Area]:
    """The entries of the sound tables, with sectors of 512 or 4096 bytes, in front and at the end: all say the same."""
    found: List[List[Area]] = []
    for sector in (SECTOR, 4096):
        last = disk.size // sector - 1
        for own in (1, last):
            if own < 1:
                continue
            header = _read(disk, own * sector, SECTOR)
            sound = checked_entries(disk, header, own_sector=own, sector_bytes=sector)
            if sound is not None:
                found.append(_gpt_areas(sound[1], struct.unpack_from("<I", header, 84)[0], sector))
    if not found or any(areas != found[0] for areas in found):
        raise Uncertain("partition_table")
    return found[0]


def _gpt_areas(entries: bytes, width: int, sector: int) -> List[Area]:
    found = []
    for number, at in enumerate(range(0, len(entries), width), 1):
        if any(entries[at : at + 16]):
            first, last = struct.unpack_from("<QQ", entries, at + 32)
            found.append(Area(number, first * sector, (last - first + 1) * sector, _guid(entries[at : at + 16])))
    return found


def _guid(raw: bytes) -> str:
    first, second, third = struct.unpack_from("<IHH", raw)
    return f"{first:08x}-{second:04x}-{third:04x}-{raw[8:10].hex()}-{raw[10:16].hex()}"


def _apple_map(disk: Readable, first: bytes) -> Optional[List[Area]]:
    """The entries of Apple's partition map; None when there is none. Numbers are big endian."""
    block = struct.unpack_from(">H", first, 2)[0]
    if block not in (512, 1024, 2048, 4096) or 2 * block > disk.size or _read(disk, block, 2) != b"PM":
        return None
    count = struct.unpack(">I", _read(disk, block + 4, 4))[0]
    if not 0 < count <= _MOST_MAP_ENTRIES or (count + 1) * block > disk.size:
        raise Uncertain("partition_table")
    found = []
    for number in range(1, count + 1):
        raw = _read(disk, number * block, 80)
        kind = raw[48:80].split(b"\0", 1)[0].decode("ascii", "replace")
        start, blocks = struct.unpack_from(">II", raw, 8)
        if raw[:2] != b"PM" or struct.unpack_from(">I", raw, 4)[0] != count:
            raise Uncertain("partition_table")
        if kind not in ("Apple_Free", "Apple_Void"):
            found.append(Area(number, start * block, blocks * block, kind))
    return found


def _read(disk: Readable, offset: int, length: int) -> bytes:
    buffer = bytearray(length)
    disk.pread_into(offset, buffer)
    return bytes(buffer)

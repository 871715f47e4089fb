# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""NTFS on disk: boot sector, records with their fixups, attributes and run lists, as ntfs-3g's ``layout.h`` has them.

::

    record      "FILE" | fixups | attribute, attribute, ... | end mark
    attribute   resident: the value itself; else runs of clusters, also spread over several records by a list
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterator, List, NamedTuple, Optional, Tuple

from ...._core.records import dataclass
from ..answer import Uncertain, refuse_if
from ..volume import Volume

LIST, DATA, VOLUME_NAME, VOLUME_INFORMATION, FILE_NAME = 0x20, 0x80, 0x60, 0x70, 0x30
IN_USE = 1
_END = 0xFFFFFFFF
_STEP = 512
_LARGEST_CLUSTER = 2 << 20
_LARGEST_RECORD = 1 << 16
_GEOMETRY = slice(11, 80)
HOLE = -1
Run = Tuple[int, int]


@dataclass(frozen=True)
class Boot:
    """What the boot sector says, in bytes, clusters where the name says so."""

    sector: int
    cluster: int
    record: int
    sectors: int
    clusters: int
    mft_cluster: int
    mirror_cluster: int


class Attribute(NamedTuple):
    """One attribute of a record, its name as it is stored (UTF-16)."""

    type: int
    name: bytes
    raw: bytes

    @property
    def is_resident(self) -> bool:
        """Whether the value lies in the record."""
        return not self.raw[8]


def read_boot(volume: Volume) -> Optional[Boot]:
    """The boot sector, None when it is none of NTFS."""
    if volume.size < _STEP:
        return None
    raw = volume.read(0, _STEP)
    sector, factor = struct.unpack_from("<HB", raw, 11)
    sectors, mft, mirror, record = struct.unpack_from("<QQQb", raw, 40)
    count = factor if factor <= 128 else 1 << (256 - factor)
    if raw[3:11] != b"NTFS    " or raw[510:] != b"\x55\xaa" or sector not in (256, 512, 1024, 2048, 4096):
        return None
    cluster = sector * count
    if not cluster or cluster & (cluster - 1) or cluster > _LARGEST_CLUSTER or not count <= sectors < 1 << 55:
        return None
    size = record * cluster if record > 0 else 1 << -record
    if size % _STEP or not _STEP <= size <= _LARGEST_RECORD:
        return None
    return Boot(sector, cluster, size, sectors, sectors // count, mft, mirror)


def refuse_other_backup(volume: Volume, boot: Boot) -> None:
    """The sector after the last one of the volume repeats the boot sector: raise Uncertain where it differs."""
    backup = volume.read(boot.sectors * boot.sector, _STEP)
    refuse_if(backup[3:11] != b"NTFS    " or backup[_GEOMETRY] != volume.read(0, _STEP)[_GEOMETRY])


def fixed_up(raw: bytes) -> bytes:
    """A record or page with the last two bytes of each 512 as they were before it was written. Raises Uncertain."""
    place, count = struct.unpack_from("<HH", raw, 4)
    refuse_if(count != len(raw) // _STEP + 1 or place + 2 * count > _STEP - 2)
    fixed = bytearray(raw)
    mark = raw[place : place + 2]
    for number in range(1, count):
        end = number * _STEP
        refuse_if(raw[end - 2 : end] != mark)
        fixed[end - 2 : end] = raw[place + 2 * number : place + 2 * number + 2]
    return bytes(fixed)


def attributes(record: bytes) -> Iterator[Attribute]:
    """The attributes of a record that is fixed up, each long enough for its own fields. Raises Uncertain."""
    offset, used = struct.unpack_from("<H", record, 20)[0], struct.unpack_from("<I", record, 24)[0]
    refuse_if(used > len(record))
    while offset + 4 <= used:
        kind = struct.unpack_from("<I", record, offset)[0]
        if kind == _END:
            return
        length = struct.unpack_from("<I", record, offset + 4)[0] if offset + 16 <= used else 0
        resident = length >= 24 and not record[offset + 8]
        refuse_if(length < (24 if resident else 64) or length % 8 or offset + length > used)
        raw = record[offset : offset + length]
        start = struct.unpack_from("<H", raw, 10)[0]
        yield Attribute(kind, raw[start : start + 2 * raw[9]], raw)
        offset += length
    raise Uncertain("damaged")


def value_of(attribute: Attribute) -> bytes:
    """The value of a resident attribute. Raises Uncertain."""
    length, start = struct.unpack_from("<IH", attribute.raw, 16)
    refuse_if(not attribute.is_resident or start + length > len(attribute.raw))
    return attribute.raw[start : start + length]


def runs_of(attribute: Attribute, clusters: int) -> List[Run]:
    """The runs (first cluster or HOLE, clusters) of an attribute that is not resident, of ``clusters`` in the volume.

    Raises Uncertain where they leave the volume, or are not as many as the attribute says.
    """
    raw = attribute.raw
    first, last, place = struct.unpack_from("<qqH", raw, 16)
    found: List[Run] = []
    cluster, left = 0, last + 1 - first
    while place < len(raw) and raw[place]:
        widths = raw[place]
        middle = place + 1 + (widths & 15)
        end = middle + (widths >> 4)
        count = int.from_bytes(raw[place + 1 : middle], "little", signed=True)
        refuse_if(end > len(raw) or not 0 < count <= left or first < 0)
        left -= count
        cluster += int.from_bytes(raw[middle:end], "little", signed=True)
        refuse_if(middle < end and not 0 <= cluster <= clusters - count)
        found.append((cluster if middle < end else HOLE, count))
        place = end
    refuse_if(left or place >= len(raw))
    return found

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The metadata of an LVM2 volume group: where it lies on a physical volume, and its text as plain values.

::

    0 .. 3        offset in the label      metadata area
    | label, one sector: physical volume |  | header | text, a ring .. |

The text is ``name { key = value  section { .. } }``; values are numbers, strings and lists.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
import struct
import zlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ...._core.records import dataclass
from ..answer import Uncertain
from ..volume import Volume

SECTOR = 512
_INITIAL = 0xF597A6CF
_AREA_MAGIC = b" LVM2 x[5A%r0N*>"
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|[\[\]{}=,]|#[^\n]*|[^\s\[\]{}=,"#]+')
_DEEPEST, _LONGEST_TEXT = 12, 4 << 20
Section = Dict[str, Any]
Place = Tuple[int, int]


@dataclass(frozen=True)
class Label:
    """What the label says: the volume's id as text, its bytes, and the places (offset, length) of metadata areas."""

    id: str
    size: int
    metadata: Tuple[Place, ...]


def checksum(message: bytes) -> int:
    """CRC-32 as LVM counts it: another start, and not inverted at the end."""
    return zlib.crc32(message, _INITIAL ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def find_label(volume: Volume) -> Optional[bytes]:
    """The sector with the label, None when there is none."""
    for number in range(4):
        if (number + 1) * SECTOR <= volume.size:
            raw = volume.read(number * SECTOR, SECTOR)
            if raw[:8] == b"LABELONE" and raw[24:32] == b"LVM2 001":
                return raw
    return None


def parse_label(raw: bytes) -> Label:
    """What a label says. Raises Uncertain (damaged)."""
    stored, at = struct.unpack_from("<II", raw, 16)
    if checksum(raw[20:]) != stored or not 32 <= at <= SECTOR - 72:
        raise Uncertain("damaged")
    id = raw[at : at + 32].decode("ascii", "replace")
    dashed = "-".join(id[first:last] for first, last in ((0, 6), (6, 10), (10, 14), (14, 18), (18, 22), (22, 26)))
    places = _places(raw, at + 40)
    next(places)
    return Label(f"{dashed}-{id[26:]}", struct.unpack_from("<Q", raw, at + 32)[0], next(places))


def _places(raw: bytes, at: int) -> Iterator[Tuple[Place, ...]]:
    """Lists of places, each ended by zeros."""
    found: List[Place] = []
    while at + 16 <= len(raw):
        place = struct.unpack_from("<QQ", raw, at)
        at += 16
        if place[0]:
            found.append(place)
        else:
            yield tuple(found)
            found = []
    raise Uncertain("damaged")


def read_group(volume: Volume, label: Label) -> Tuple[str, Section]:
    """Name and section of the volume group, from the area with the newest text. Raises Uncertain."""
    newest: Optional[Tuple[str, Section]] = None
    for place in label.metadata:
        text = _area_text(volume, place)
        if text is not None:
            name, group = _group_in(parse_text(text))
            if newest is None or number(group, "seqno") > number(newest[1], "seqno"):
                newest = name, group
    if newest is None:
        raise Uncertain("raid")
    return newest


def _area_text(volume: Volume, place: Place) -> Optional[str]:
    """The text in an area, None when the area is not in use. Raises Uncertain when a checksum is wrong."""
    start, length = place
    raw = volume.read(start, SECTOR)
    if raw[4:20] != _AREA_MAGIC or checksum(raw[4:]) != struct.unpack_from("<I", raw)[0]:
        raise Uncertain("damaged")
    offset, size, stored, flags = struct.unpack_from("<QQII", raw, 40)
    if not offset or flags & 1:
        return None
    if not SECTOR <= offset < length or not 0 < size <= min(length - SECTOR, _LONGEST_TEXT):
        raise Uncertain("damaged")
    first = min(size, length - offset)
    text = volume.read(start + offset, first) + volume.read(start + SECTOR, size - first)
    if checksum(text) != stored:
        raise Uncertain("damaged")
    return text.rstrip(b"\0").decode("utf-8", "replace")


def _group_in(text: Section) -> Tuple[str, Section]:
    groups = [(name, value) for name, value in text.items() if isinstance(value, dict)]
    if len(groups) != 1:
        raise Uncertain("damaged")
    return groups[0]


def number(section: Section, key: str) -> int:
    """A number of a section. Raises Uncertain when it is none."""
    value = section.get(key)
    if not isinstance(value, int) or value < 0:
        raise Uncertain("damaged")
    return value


def sections(section: Section, key: str) -> Section:
    """The sections in one of a section, by name; none when it is left out."""
    found = section.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(value, dict) for value in found.values()):
        raise Uncertain("damaged")
    return found


def parse_text(text: str) -> Section:
    """The values of a text. Raises Uncertain (damaged)."""
    tokens = [token for token in _TOKEN.findall(text) if not token.startswith("#")]
    tokens.reverse()
    found = _section(tokens, 0)
    if tokens:
        raise Uncertain("damaged")
    return found


def _section(tokens: List[str], depth: int) -> Section:
    """Take the tokens of a section, which ascend from the end of the list."""
    found: Section = {}
    while tokens and tokens[-1] != "}":
        key = tokens.pop()
        mark = tokens.pop() if tokens else ""
        if mark not in ("{", "=") or key in found or depth > _DEEPEST:
            raise Uncertain("damaged")
        if mark == "=":
            found[key] = _value(tokens)
        else:
            found[key] = _section(tokens, depth + 1)
            if not tokens:
                raise Uncertain("damaged")
            tokens.pop()
    return found


def _value(tokens: List[str]) -> Any:
    if not tokens:
        raise Uncertain("damaged")
    token = tokens.pop()
    if token != "[":
        return _plain(token)
    items: List[Any] = []
    while tokens and tokens[-1] != "]":
        token = tokens.pop()
        if token != ",":
            items.append(_plain(token))
    if not tokens:
        raise Uncertain("damaged")
    tokens.pop()
    return items


def _plain(token: str) -> Any:
    if token.startswith('"'):
        return token[1:-1]
    return int(token) if token.lstrip("-").isdigit() and token.isascii() and len(token) < 20 else token

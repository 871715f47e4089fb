# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A physical volume of LVM2: the extents that no logical volume has, and the logical volumes that are plain ranges.

A logical volume is read only when it is visible, all of its segments are linear and on this physical volume, and no
other volume stands on it: a snapshot reads old blocks of its origin, a mirror keeps a second copy.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Tuple

from ...._core.ranges import Range, complement
from ...._core.records import dataclass
from ..answer import Identity, Uncertain
from ..runs import Runs
from ..volume import Volume
from .lvm_text import SECTOR, Label, Section, find_label, number, parse_label, read_group, sections


@dataclass(frozen=True)
class LogicalVolume:
    """A logical volume: (offset, length) on the physical volume in its own order, or why it is not read."""

    name: str
    pieces: Tuple[Tuple[int, int], ...]
    reason: Optional[str] = None


@dataclass(frozen=True)
class PhysicalVolume:
    """Name of the group, what is free of the physical volume, and its logical volumes."""

    group: str
    free: Runs
    volumes: Tuple[LogicalVolume, ...]


def recognise(volume: Volume) -> Optional[Identity]:
    """A physical volume, sound or not."""
    return None if find_label(volume) is None else Identity("lvm2", None, volume.size)


def read_physical(volume: Volume) -> PhysicalVolume:
    """What is on a recognised physical volume. Raises Uncertain."""
    raw = find_label(volume)
    if raw is None:
        raise Uncertain("unrecognised")
    label = parse_label(raw)
    name, group = read_group(volume, label)
    own, section = _own(group, label)
    extent, start = number(group, "extent_size") * SECTOR, number(section, "pe_start") * SECTOR
    count = number(section, "pe_count")
    _refuse_group(group, section)
    _refuse_places(volume, label, (start, start + count * extent))
    logical = sections(group, "logical_volumes")
    used = sorted(piece for one in logical.values() for piece in _own_extents(one, own))
    _refuse_shared(used, count)
    free = Runs((start + a * extent, start + b * extent) for a, b in complement(used, 0, count))
    referenced = set(_references(logical))
    volumes = tuple(
        _logical(title, one, own, (start, extent), title in referenced) for title, one in sorted(logical.items())
    )
    return PhysicalVolume(name, free, volumes)


def _own(group: Section, label: Label) -> Tuple[str, Section]:
    """The section of this physical volume, and its name in the text."""
    found = [(name, one) for name, one in sections(group, "physical_volumes").items() if one.get("id") == label.id]
    if len(found) != 1:
        raise Uncertain("damaged")
    return found[0]


def _refuse_group(group: Section, own: Section) -> None:
    marks = [*_marks(group), *_marks(own)]
    if {"PARTIAL", "EXPORTED", "MISSING", "CLUSTERED"} & set(marks):
        raise Uncertain("unsupported")
    if not number(group, "extent_size"):
        raise Uncertain("damaged")
    for one in sections(group, "logical_volumes").values():
        if {"PVMOVE", "LOCKED"} & set(_marks(one)):
            raise Uncertain("resizing")


def _marks(section: Section) -> List[Any]:
    return [mark for key in ("status", "flags") for mark in _listed(section.get(key))]


def _listed(value: Any) -> List[Any]:
    return value if isinstance(value, list) else [value]


def _refuse_places(volume: Volume, label: Label, extents: Range) -> None:
    """Extents lie within the volume and beside the metadata."""
    if extents[1] > min(label.size, volume.size):
        raise Uncertain("too_large")
    for offset, length in label.metadata:
        if extents[0] < 4 * SECTOR or (offset < extents[1] and offset + length > extents[0]):
            raise Uncertain("damaged")


def _segments(logical: Section) -> Iterator[Section]:
    found = {name: one for name, one in logical.items() if isinstance(one, dict) and name.startswith("segment")}
    if len(found) != number(logical, "segment_count"):
        raise Uncertain("damaged")
    for index in range(1, len(found) + 1):
        if f"segment{index}" not in found:
            raise Uncertain("damaged")
        yield found[f"segment{index}"]


def _own_extents(logical: Section, own: str) -> Iterator[Range]:
    """The extents (first, end) of this physical volume that a logical volume takes."""
    for segment in _segments(logical):
        named = sum(_listed(value).count(own) for value in segment.values())
        stripes = segment.get("stripes", [])
        if not isinstance(stripes, list) or len(stripes) % 2 or named != stripes[::2].count(own):
            raise Uncertain("unsupported")
        if not named:
            continue
        parts = number(segment, "stripe_count")
        count = number(segment, "extent_count")
        if segment.get("type") != "striped" or not parts or count % parts or not count:
            raise Uncertain("unsupported")
        for place in _firsts(stripes, own):
            yield place, place + count // parts


def _firsts(stripes: List[Any], own: str) -> Iterator[int]:
    for name, first in zip(stripes[::2], stripes[1::2]):
        if name == own:
            if not isinstance(first, int) or first < 0:
                raise Uncertain("damaged")
            yield first


def _refuse_shared(used: List[Range], count: int) -> None:
    """No extent is used twice or lies beyond the end."""
    position = 0
    for first, end in used:
        if first < position or end > count:
            raise Uncertain("damaged")
        position = end


def _references(logical: Dict[str, Section]) -> Iterator[str]:
    """Names of logical volumes that segments of others name."""
    for one in logical.values():
        for segment in _segments(one):
            for value in segment.values():
                yield from (name for name in _listed(value) if isinstance(name, str) and name in logical)


def _logical(name: str, section: Section, own: str, grid: Tuple[int, int], is_referenced: bool) -> LogicalVolume:
    start, extent = grid
    pieces: List[Tuple[int, int]] = []
    expected = 0
    if is_referenced or "VISIBLE" not in _marks(section):
        return LogicalVolume(name, (), "unsupported")
    for segment in _segments(section):
        stripes = segment.get("stripes", [])
        if segment.get("type") != "striped":
            return LogicalVolume(name, (), "unsupported")
        if len(stripes) != 2 or stripes[0] != own:
            return LogicalVolume(name, (), "raid")
        if number(segment, "start_extent") != expected:
            raise Uncertain("damaged")
        count = number(segment, "extent_count")
        expected += count
        pieces.append((start + stripes[1] * extent, count * extent))
    return LogicalVolume(name, tuple(pieces))

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which partition of a larger disk grows, and where those behind it go: pure rules over places in bytes.

::

    | p1 | data   | recovery |                 .    the disk has become longer
    | p1 | data                     | recovery |    what only has to be there moves to the end
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from itertools import takewhile
from typing import List, NamedTuple, Optional, Sequence, Tuple

from .._core.errors import BadRequest, Unsupported
from .._core.records import dataclass
from .._core.units import MIB, format_size, round_up

ALIGNMENT = MIB
LITTLE = 16 * MIB
"""A gain that is not worth a refusal when partitions behind cannot move for it."""

_WHERE = "partition_table"
_MOVED = {
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac": "Windows recovery",
    "e3c9e316-0b5c-4db8-817d-f92df00215ae": "Microsoft reserved",
    "52637672-7900-11aa-aa11-00306543ecac": "Apple APFS recovery",
    "426f6f74-0000-11aa-aa11-00306543ecac": "Apple recovery",
    "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f": "Linux swap",
    "8da63339-0007-60c0-c436-083ac8230908": "Linux reserved",
    "516e7cb5-6ecf-11d6-8ff8-00022d09712b": "FreeBSD swap",
    "0x82": "Linux swap",
    "0x27": "Windows recovery",
    "0x12": "recovery",
    "0xde": "recovery",
}
_FIXED = {
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "EFI system",
    "21686148-6449-6e6f-744e-656564454649": "BIOS boot",
    "83bd6b9d-7f41-11dc-be0b-001560b84f0f": "FreeBSD boot",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "extended boot loader",
    "9e1a2d38-c612-4316-aa26-8b49521e5a8b": "PReP boot",
    "0xef": "EFI system",
}
_MANAGED = {
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": "dynamic disks of Windows (LDM)",
    "af9b60a0-1431-4f62-bc68-3311714a69ad": "dynamic disks of Windows (LDM)",
    "0x42": "dynamic disks of Windows (LDM)",
    "e75caf8f-f680-4cee-afa3-b001e56efc2d": "Storage Spaces of Windows",
    "53746f72-6167-11aa-aa11-00306543ecac": "Apple Core Storage",
}


@dataclass(frozen=True)
class Part:
    """A partition in bytes. ``kind`` is the GUID of its type, or ``0x..`` of a boot record.

    What moves with it begins at ``block``. ``inner`` are the kinds of the partitions in an extended one.
    """

    number: int
    kind: str
    guid: Optional[str]
    name: Optional[str]
    start: int
    end: int
    block: int
    active: bool = False
    inner: Optional[Tuple[str, ...]] = None

    @property
    def label(self) -> str:
        """How messages call it."""
        known = {**_MOVED, **_FIXED, **_MANAGED}.get(self.kind)
        words = [word for word in (known, self.name and f'"{self.name}"', format_size(self.end - self.start)) if word]
        return f"partition {self.number} ({', '.join(words)})"

    @property
    def is_movable(self) -> bool:
        """Whether it only has to be there, wherever it lies."""
        kinds = (self.kind,) if self.inner is None else self.inner
        return not self.active and bool(kinds) and all(kind in _MOVED for kind in kinds)


class Arrangement(NamedTuple):
    """Where a partition ends then, and the new places of those behind it that move."""

    end: int
    moved: Tuple[Tuple[Part, int], ...] = ()


def choose(parts: Sequence[Part], wanted: Optional[str]) -> Part:
    """The partition that is meant by number, GUID or label, else the last that holds data. Raises BadRequest."""
    _refuse_managed(parts)
    if wanted is not None:
        return _named(parts, wanted)
    for part in sorted(parts, key=lambda one: -one.start):
        if part.kind in _FIXED:
            _refuse_blocked(part)
        if not part.is_movable:
            return part
    text = f"{_WHERE}: the disk has no partition that holds data"
    raise BadRequest(text, hint="Name one with grow_partition, or leave the partition table to the guest.")


def _refuse_managed(parts: Sequence[Part]) -> None:
    for part in parts:
        if part.kind in _MANAGED:
            text = f"{_WHERE}: {part.label} belongs to {_MANAGED[part.kind]}, which keeps a table of its own"
            hint = "Set partition_table: fix, and let the guest grow it with its own tools."
            raise Unsupported(text, found=part.kind, hint=hint)


def _named(parts: Sequence[Part], wanted: str) -> Part:
    bare = wanted.strip().strip("{}").lower()
    found = [part for part in parts if part.guid is not None and part.guid == bare]
    found = found or [part for part in parts if part.name and part.name == wanted]
    found = found or [part for part in parts if str(part.number) == bare]
    if len(found) != 1:
        known = [part.label for part in sorted(parts, key=lambda one: one.start)]
        many = "several partitions are" if found else "no partition is"
        hint = f"Give its number, GUID or label; there are {', '.join(known[:9])}."
        raise BadRequest(f"grow_partition: {many} called {wanted[:60]!r}", found=known[:20], hint=hint)
    return found[0]


def arrange(parts: Sequence[Part], target: Part, limit: int, *, size: int) -> Arrangement:
    """How ``target`` gets what is free up to byte ``limit`` of a disk of ``size`` bytes.

    Raises Unsupported for partitions behind it that must stay, BadRequest for those that cannot move so little.
    """
    behind = sorted((part for part in parts if part.start >= target.end), key=lambda one: -one.start)
    free = limit
    moved: List[Tuple[Part, int]] = []
    for part in behind:
        place = (free - (part.end - part.start)) // ALIGNMENT * ALIGNMENT
        if place > part.start and part.is_movable:
            moved.append((part, place))
        elif place > part.start and place - part.start >= LITTLE:
            _refuse_blocked(part)
        free = max(place, part.start) - (part.start - part.block) if part.is_movable else part.block
    end = max(target.end, free // ALIGNMENT * ALIGNMENT)
    moved = _from_nearest(behind[::-1], moved)
    if not moved or end == target.end:
        return Arrangement(end)
    if any(_overlaps(one, place, other) for one, place in moved for other in behind):
        still = max(target.end, behind[-1].block // ALIGNMENT * ALIGNMENT)
        if end - still < LITTLE:
            return Arrangement(still)
        _refuse_overlap(behind, limit, size)
    return Arrangement(end, tuple(moved))


def _from_nearest(behind: Sequence[Part], moved: Sequence[Tuple[Part, int]]) -> List[Tuple[Part, int]]:
    """Those that move, from the first behind on; one that stays leaves those behind it where they are."""
    places = dict(moved)
    return [(part, places[part]) for part in takewhile(places.__contains__, behind)]


def _overlaps(part: Part, place: int, other: Part) -> bool:
    """Whether the new place of one, with what moves with it, lies in the old place of another."""
    distance = place - part.start
    return part.block + distance < other.end and other.block < part.end + distance


def _refuse_overlap(behind: Sequence[Part], limit: int, size: int) -> None:
    length = behind[0].end - behind[-1].block
    least = round_up(behind[0].end + length + size - limit + len(behind) * ALIGNMENT, ALIGNMENT)
    what = ", ".join(part.label for part in behind[::-1])
    text = f"{_WHERE}: {what} would have to move by less than its own length, which cannot be done safely"
    hint = f"Give the disk at least {format_size(least)} ({least} bytes), or set partition_table: fix."
    raise BadRequest(text, found=size, expected=f"at least {least} bytes", hint=hint)


def _refuse_blocked(part: Part) -> None:
    text = f"{_WHERE}: {part.label} lies at the end and is not of a kind that is moved"
    hint = "Name it with grow_partition if it is the one to grow, or set partition_table: fix and do it in the guest."
    raise Unsupported(text, found=part.kind, hint=hint)

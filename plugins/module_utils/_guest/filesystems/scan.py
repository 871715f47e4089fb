# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""All file systems of a guest disk, and what is certainly free in them: one look at a view.

Of a place where more than one thing is recognised nothing is free; nor is anything on a disk into which its guest is
hibernated, and nothing that no recognised file system has.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from heapq import merge
from typing import Iterator, List, Optional, Sequence, Tuple, Union

from ..._core.extents import Extent
from ..._core.records import dataclass, replace
from ..._formats.image import GuestView
from ..._formats.place import Place
from .answer import Answer, Identity, Uncertain
from .areas import Area, find_areas
from .containers import lvm
from .containers.opaque import opaque
from .registry import Reader, readers_for
from .runs import Runs
from .volume import Volume

_NOTHING = Runs()


@dataclass(frozen=True)
class FreeSpace:
    """The answers in the order of the disk, and all that is free, in guest bytes; how many were read to know it."""

    answers: Tuple[Answer, ...]
    free: Runs
    bytes_read: int = 0


class _Counted:
    """A guest disk that counts what is read of it."""

    def __init__(self, disk: GuestView) -> None:
        self.size = disk.size
        self.bytes_read = 0
        self._disk = disk

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        return self._disk.extents(start, length)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        self.bytes_read += len(buffer)
        self._disk.pread_into(offset, buffer)

    def places(self, start: int, length: int) -> Iterator[Place]:
        return self._disk.places(start, length)

    def close(self) -> None:
        self._disk.close()


@dataclass(frozen=True)
class _Where:
    """Where something may be: a number, a name from its container, its volume, the type that the table says."""

    number: Optional[int]
    name: Optional[str]
    volume: Volume
    type: Optional[str]

    @property
    def start(self) -> int:
        """The first byte on the disk."""
        return min((offset for offset, _length in self.volume.pieces), default=0)


def find_free_space(disk: GuestView, *, swap: bool = False, reason: Optional[str] = None) -> FreeSpace:
    """What is free on a guest disk. ``swap`` counts the pages of swap areas as free.

    With a ``reason`` (a key of REASONS) file systems are named, but nothing is free.
    """
    counted = _Counted(disk)
    answers = _answers(counted, swap)
    if any(answer.reason == "hibernated" for answer in answers):
        reason = reason or "hibernated"
    if reason is not None:
        answers = [_refused(answer, reason) for answer in answers]
    return FreeSpace(tuple(answers), _united([answer.free for answer in answers]), counted.bytes_read)


def _refused(answer: Answer, reason: str) -> Answer:
    return replace(answer, free=_NOTHING, reason=answer.reason or reason)


def _answers(disk: GuestView, swap: bool) -> List[Answer]:
    whole = _Where(None, None, Volume(disk, [(0, disk.size)]), None)
    try:
        areas = find_areas(disk)
    except Uncertain as uncertain:
        return [_no(whole, None, uncertain.code)]
    found = list(_of_place(whole, swap))
    if not areas:
        return found
    if found[0].type or found[0].reason == "ambiguous":
        return [_refused(found[0], "ambiguous")]
    return [answer for area in areas for answer in _of_place(_of_area(disk, area), swap)]


def _of_area(disk: GuestView, area: Area) -> _Where:
    return _Where(area.number, None, Volume(disk, [(area.start, area.size)]), area.type)


def _of_place(place: _Where, swap: bool) -> Iterator[Answer]:
    """What is said of one place: of a physical volume also what is said of its logical volumes."""
    closed = opaque(place.volume, place.type)
    if closed is not None:
        yield _no(place, closed[0], closed[1])
        return
    readers = list(_accepting(place.volume))
    physical = lvm.recognise(place.volume)
    if len(readers) + (physical is not None) + _is_divided(place) > 1:
        yield _no(place, None, "ambiguous")
    elif physical is not None and place.name is not None:
        yield _no(place, "lvm2", "unsupported")
    elif physical is not None:
        yield from _of_physical(place, swap)
    elif readers:
        yield _of_reader(place, readers[0], swap)
    else:
        yield _no(place, None, "unrecognised")


def _is_divided(place: _Where) -> bool:
    """Whether a partition or a logical volume is a disk of its own, with a table, as one that a guest of the guest has.

    Whoever divides it may leave the superblock of what was there before, between the table and the first partition.
    """
    if place.number is None and place.name is None:
        return False
    try:
        return bool(find_areas(place.volume))
    except Uncertain:
        return True


def _accepting(volume: Volume) -> Iterator[Tuple[Reader, Identity]]:
    for reader in readers_for(volume):
        identity = reader.recognise(volume)
        if identity is not None:
            yield reader, identity


def _of_reader(place: _Where, reader: Tuple[Reader, Identity], swap: bool) -> Answer:
    read, identity = reader
    volume = place.volume
    label = identity.label if place.name is None else identity.label or place.name
    answer = Answer(place.number, place.start, identity.type, label, min(identity.size, volume.size), _NOTHING)
    try:
        if identity.size > volume.size:
            raise Uncertain("too_large")
        runs = read.free_runs(volume)
    except Uncertain as uncertain:
        return _refused(answer, uncertain.code)
    if identity.type == "swap" and not swap:
        return answer
    return replace(answer, free=_on_disk(volume, runs))


def _of_physical(place: _Where, swap: bool) -> Iterator[Answer]:
    volume = place.volume
    answer = Answer(place.number, place.start, "lvm2", None, volume.size, _NOTHING)
    try:
        physical = lvm.read_physical(volume)
    except Uncertain as uncertain:
        yield _refused(answer, uncertain.code)
        return
    yield replace(answer, label=physical.group, free=_on_disk(volume, physical.free))
    for logical in physical.volumes:
        name = f"{physical.group}/{logical.name}"
        pieces = [piece for start, length in logical.pieces for piece in volume.on_disk(start, start + length)]
        inner = _Where(place.number, name, Volume(volume.disk, pieces), None)
        if logical.reason is not None:
            yield replace(_no(inner, None, logical.reason), offset=place.start)
        else:
            yield from _of_place(inner, swap)


def _no(place: _Where, type: Optional[str], reason: Optional[str]) -> Answer:
    return Answer(place.number, place.start, type, place.name, place.volume.size, _NOTHING, reason)


def _on_disk(volume: Volume, runs: Runs) -> Runs:
    """Ranges of a volume as ranges of the disk."""
    placed = []
    base = 0
    for offset, length in volume.pieces:
        placed.append((offset, base, length))
        base += length
    found = Runs()
    for offset, base, length in sorted(placed):
        found.extend((low - base + offset, high - base + offset) for low, high in runs.between(base, base + length))
    return found


def _united(parts: Sequence[Runs]) -> Runs:
    """The ranges of all, which are disjoint."""
    return Runs(merge(*parts))

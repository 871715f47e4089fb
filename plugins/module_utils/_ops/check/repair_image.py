# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repairing one image.

No step leaves an image worse than before, and what a step relies on is on the medium before it.

::

    mark in use | forget entries | copy clusters after all others | name the copies | header: right and closed | cut
                ^ sync           ^ sync                          ^ sync            ^ sync                     ^ sync

A file that lacks the end of its last cluster gets it before the header is written. A copy goes where no entry points,
and entries change only when their clusters are there. The header is one sector. When it alone changes, the image is not
marked: the one write does all.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ..._change.image import entry_steps
from ..._core.errors import Unsupported
from ..._core.findings import ERROR, Finding, is_allowed
from ..._core.plan import CopyRanges, Move, Resize, Step, Sync, WriteBytes
from ..._core.records import dataclass, replace
from ..._core.units import round_up
from ..._formats.hds.bat import Run
from ..._formats.hds.header import (
    CLOSED,
    CLOSED_WITH_EXTENSION,
    ENTRY_BYTES,
    FLAG_EMPTY,
    FLAGS_UNKNOWN,
    HEADER_BYTES,
    IN_USE,
    IN_USE_OFFSET,
    HdsHeader,
    pack_header,
    unpack_header,
)
from .examination import ImageExam
from .table import Faults

_MOST_COPIES = 1 << 20
_ZERO_PIECE = 256 << 10


@dataclass(frozen=True)
class ImageRepair:
    """What an image will be: ``zeroed`` byte ranges of its table, ``relocated`` runs of clusters in their new slots."""

    exam: ImageExam
    raw: bytes
    zeroed: Tuple[Tuple[int, int], ...]
    moves: Tuple[Move, ...]
    relocated: Tuple[Run, ...]
    size: int
    repaired: Tuple[Finding, ...]

    @property
    def is_heavy(self) -> bool:
        """Whether the table changes."""
        return bool(self.zeroed or self.relocated)

    @property
    def changed_ranges(self) -> List[Tuple[int, int]]:
        """The byte ranges of metadata that change, in order."""
        head = [(0, HEADER_BYTES)] if self.raw != self.exam.raw or self.is_heavy else []
        return sorted([*head, *self.zeroed, *_entry_ranges(self.relocated)])


class _Placed(NamedTuple):
    """Clusters in slots of their own: how their data move, where they are then, and the end of what is in use."""

    moves: Tuple[Move, ...]
    relocated: Tuple[Run, ...]
    end: int


def plan_image_repair(exam: ImageExam, level: str) -> Optional[ImageRepair]:
    """What a repair of ``level`` does to an image; None for nothing. Raises Unsupported for too many shared slots."""
    header = exam.header
    repaired = tuple(one for one in exam.findings if is_allowed(one.repairable, level))
    if header is None or exam.is_frozen or exam.outside or not repaired:
        return None
    codes = {one.code for one in repaired}
    faults = exam.faults if any(code.startswith("entry_") and code != "entry_surplus" for code in codes) else None
    drops = exam.drops_extension or (faults is not None and faults.loses)
    placed = _relocate(exam, header, faults, exam.end_of_use(with_extension=not drops))
    changes_end = faults is not None or bool(codes & {"leak_tail", "image_too_short", "tail_unaligned"})
    zeroed = _entry_ranges(faults.dropped()) if faults is not None else []
    zeroed += exam.surplus if "entry_surplus" in codes else ()
    raw = pack_header(_final_header(exam, header, repaired, drops=drops))
    size = placed.end if changes_end else exam.stat.size
    return ImageRepair(exam, raw, tuple(sorted(zeroed)), placed.moves, placed.relocated, size, repaired)


def _relocate(exam: ImageExam, header: HdsHeader, faults: Optional[Faults], end: int) -> _Placed:
    """Slots after everything (what is in use ends at ``end``) for clusters that need one of their own."""
    if faults is None or not faults.copies:
        return _Placed((), (), end)
    size, step = exam.stat.size, header.cluster_bytes
    if faults.copies > _MOST_COPIES:
        text = "More clusters share their slots than a repair can part"
        raise Unsupported(text, path=exam.path, hint="Restore the image from a copy.")
    # What no entry names may be what an entry has lost, so nothing in the file is overwritten.
    end = max(end, header.data_start + round_up(max(0, size - header.data_start), step))
    moves: List[Move] = []
    relocated: List[Run] = []
    for run in faults.copied():
        there = min(run.count * step, max(0, size - run.offset))
        if there:
            moves.append(Move(exam.path, run.offset, end, there))
        relocated.append(Run(run.cluster, run.count, end))
        end += run.count * step
    return _Placed(tuple(moves), tuple(relocated), end)


def _entry_ranges(runs: Iterable[Run]) -> List[Tuple[int, int]]:
    spans: List[Tuple[int, int]] = []
    for run in runs:
        if spans and spans[-1][1] == run.cluster:
            spans[-1] = (spans[-1][0], run.cluster + run.count)
        else:
            spans.append((run.cluster, run.cluster + run.count))
    return [(HEADER_BYTES + ENTRY_BYTES * start, HEADER_BYTES + ENTRY_BYTES * end) for start, end in spans]


def _final_header(exam: ImageExam, header: HdsHeader, repaired: Sequence[Finding], *, drops: bool) -> HdsHeader:
    codes, left = {one.code for one in repaired}, [one for one in exam.findings if one not in repaired]
    flags, data_off, in_use = header.flags, header.data_off, header.in_use
    if "flag_empty" in codes and flags != FLAGS_UNKNOWN:
        flags &= ~FLAG_EMPTY
    if any(one.code == "header_data_off" for one in left):
        data_off = unpack_header(exam.raw, version=header.version)[1].data_off
    is_clean = all(one.severity != ERROR for one in left)
    if (header.is_dirty and is_clean and "image_dirty" in codes) or (drops and in_use == CLOSED_WITH_EXTENSION):
        in_use = CLOSED
    return replace(header, flags=flags, data_off=data_off, in_use=in_use, ext_off=0 if drops else header.ext_off)


def repair_steps(repair: ImageRepair) -> Iterator[Step]:
    """The steps, in an order in which each may be the last."""
    path, size = repair.exam.path, repair.exam.stat.size
    if repair.is_heavy:
        yield WriteBytes(path, IN_USE_OFFSET, struct.pack("<I", IN_USE))
        yield Sync(files=(path,))
    if repair.zeroed:
        yield from _zero_steps(path, repair.zeroed)
        yield Sync(files=(path,))
    if repair.relocated:
        yield from _relocation_steps(repair)
    elif repair.size > size:
        yield Resize(path, repair.size)
        yield Sync(files=(path,))
    if repair.raw != repair.exam.raw or repair.is_heavy:
        yield WriteBytes(path, 0, repair.raw)
        yield Sync(files=(path,))
    if repair.size < size and not repair.relocated:
        yield Resize(path, repair.size)
        yield Sync(files=(path,))


def _zero_steps(path: str, ranges: Sequence[Tuple[int, int]]) -> Iterator[Step]:
    for start, end in ranges:
        for offset in range(start, end, _ZERO_PIECE):
            yield WriteBytes(path, offset, bytes(min(_ZERO_PIECE, end - offset)))


def _relocation_steps(repair: ImageRepair) -> Iterator[Step]:
    path, header = repair.exam.path, repair.exam.header
    if repair.moves:
        yield CopyRanges(path, repair.moves)
    yield Resize(path, repair.size)
    yield Sync(files=(path,))
    if header is not None:
        yield from entry_steps(path, header, _entries(repair.relocated, header.cluster_bytes))
    yield Sync(files=(path,))


def _entries(runs: Sequence[Run], step: int) -> Iterator[Tuple[int, int]]:
    for run in sorted(runs):
        for index in range(run.count):
            yield run.cluster + index, run.offset + index * step

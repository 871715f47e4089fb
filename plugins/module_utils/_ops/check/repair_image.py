# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Repairing one image.

Each step leaves an image that is no worse than before, and what a step relies on is on the medium before it.

::

    mark in use | forget entries | copy clusters after all others | name the copies | header: right and closed | cut
                ^ sync           ^ sync                          ^ sync            ^ sync                     ^ sync

A file that lacks the end of its last cluster gets it before the header is written. A copy goes where no entry points
any more, and entries change only when their clusters are there. The header is one sector. When it alone is to be
changed, the image is not marked: the one write does all.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Iterator, List, Optional, Tuple

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

_MOST_COPIES = 1 << 20
_ZERO_PIECE = 256 << 10


@dataclass(frozen=True)
class ImageRepair:
    """What an image will be.

    ``zeroed`` are byte ranges of its table; ``relocated`` are runs of clusters in their new slots.
    """

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
        entries = [
            (HEADER_BYTES + ENTRY_BYTES * run.cluster, HEADER_BYTES + ENTRY_BYTES * (run.cluster + run.count))
            for run in self.relocated
        ]
        head = [(0, HEADER_BYTES)] if self.raw != self.exam.raw or self.is_heavy else []
        return sorted([*head, *self.zeroed, *entries])


def plan_image_repair(exam: ImageExam, level: str) -> Optional[ImageRepair]:
    """What a repair of ``level`` does to an image; None for nothing.

    Raises Unsupported when a copied cluster cannot be named.
    """
    header = exam.header
    repaired = tuple(one for one in exam.findings if is_allowed(one.repairable, level))
    if header is None or exam.is_frozen or exam.outside or not repaired:
        return None
    codes = {one.code for one in repaired}
    faults = exam.faults if any(code.startswith("entry_") and code != "entry_surplus" for code in codes) else None
    loses = faults is not None and faults.loses
    drops = exam.drops_extension or loses
    end = exam.end_of_use(with_extension=not drops)
    size = exam.stat.size
    moves: List[Move] = []
    relocated: List[Run] = []
    if faults is not None:
        if faults.copied:
            # What no entry names may be what an entry has lost, so nothing in the file is overwritten.
            end = max(end, header.data_start + round_up(max(0, size - header.data_start), header.cluster_bytes))
        moves, relocated, end = _relocate(exam, header, faults.copied, end)
    if (
        faults is not None
        or codes & {"leak_tail", "image_too_short", "tail_unaligned"}
        or (loses and exam.extension is not None)
    ):
        size = end
    zeroed = _entry_ranges(faults.dropped) if faults is not None else []
    zeroed += exam.surplus if "entry_surplus" in codes else ()
    final = _final_header(exam, header, codes, level, drops=drops)
    return ImageRepair(exam, pack_header(final), tuple(sorted(zeroed)), tuple(moves), tuple(relocated), size, repaired)


def _relocate(
    exam: ImageExam, header: HdsHeader, copied: Tuple[Run, ...], end: int
) -> Tuple[List[Move], List[Run], int]:
    """Slots after everything for clusters that need one of their own."""
    step = header.cluster_bytes
    if sum(run.count for run in copied) > _MOST_COPIES:
        raise Unsupported(
            "More clusters share their slots than a repair can part",
            path=exam.path,
            hint="Restore the image from a copy.",
        )
    moves: List[Move] = []
    relocated: List[Run] = []
    for run in copied:
        there = min(run.count * step, max(0, exam.stat.size - run.offset))
        if there:
            moves.append(Move(exam.path, run.offset, end, there))
        relocated.append(Run(run.cluster, run.count, end))
        end += run.count * step
    return moves, relocated, end


def _entry_ranges(runs: Tuple[Run, ...]) -> List[Tuple[int, int]]:
    return [
        (HEADER_BYTES + ENTRY_BYTES * run.cluster, HEADER_BYTES + ENTRY_BYTES * (run.cluster + run.count))
        for run in runs
    ]


def _final_header(exam: ImageExam, header: HdsHeader, codes: set[str], level: str, *, drops: bool) -> HdsHeader:
    flags = header.flags
    if "flag_empty" in codes and flags != FLAGS_UNKNOWN:
        flags &= ~FLAG_EMPTY
    data_off = header.data_off
    if any(one.code == "header_data_off" and one not in _allowed(exam, level) for one in exam.findings):
        data_off = unpack_header(exam.raw, version=header.version)[1].data_off
    in_use = header.in_use
    is_clean = all(is_allowed(one.repairable, level) for one in exam.findings if one.severity == ERROR)
    if (header.is_dirty and is_clean and "image_dirty" in codes) or (drops and in_use == CLOSED_WITH_EXTENSION):
        in_use = CLOSED
    return replace(header, flags=flags, data_off=data_off, in_use=in_use, ext_off=0 if drops else header.ext_off)


def _allowed(exam: ImageExam, level: str) -> List[Finding]:
    return [one for one in exam.findings if is_allowed(one.repairable, level)]


def repair_steps(repair: ImageRepair) -> Iterator[Step]:
    """The steps, in an order in which each may be the last."""
    path, size = repair.exam.path, repair.exam.stat.size
    if repair.is_heavy:
        yield WriteBytes(path, IN_USE_OFFSET, struct.pack("<I", IN_USE))
        yield Sync(files=(path,))
    if repair.zeroed:
        for start, end in repair.zeroed:
            for offset in range(start, end, _ZERO_PIECE):
                yield WriteBytes(path, offset, bytes(min(_ZERO_PIECE, end - offset)))
        yield Sync(files=(path,))
    if repair.relocated:
        if repair.moves:
            yield CopyRanges(path, repair.moves)
        yield Resize(path, repair.size)
        yield Sync(files=(path,))
        yield from _copy_entry_steps(repair)
        yield Sync(files=(path,))
    elif repair.size > size:
        yield Resize(path, repair.size)
        yield Sync(files=(path,))
    if repair.raw != repair.exam.raw or repair.is_heavy:
        yield WriteBytes(path, 0, repair.raw)
        yield Sync(files=(path,))
    if repair.size < size and not repair.relocated:
        yield Resize(path, repair.size)
        yield Sync(files=(path,))


def _copy_entry_steps(repair: ImageRepair) -> Iterator[Step]:
    header = repair.exam.header
    if header is None:
        return
    step = header.cluster_bytes
    yield from entry_steps(
        repair.exam.path,
        header,
        (
            (run.cluster + index, run.offset + index * step)
            for run in sorted(repair.relocated)
            for index in range(run.count)
        ),
    )

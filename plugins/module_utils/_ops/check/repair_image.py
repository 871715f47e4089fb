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
from typing import Iterable, Iterator, List, Optional, Sequence, Tuple

from ..._core.errors import Unsupported
from ..._core.findings import ERROR, Finding, is_allowed
from ..._core.plan import CopyRanges, Move, Resize, Step, Sync, WriteBytes
from ..._core.ranges import Range
from ..._core.records import dataclass, replace
from ..._core.units import round_up
from ..._formats.hds.bat import Run
from ..._formats.hds.bat_pieces import entry_pieces
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

_MOST_ENTRY = (1 << 32) - 1
_ZERO_PIECE = 256 << 10
_MOST_SPANS = 1 << 12
_WINDOW = 1 << 16
"""Of a table with more changes than that, pieces of so many entries are written, the right ones among them again."""

Spans = Tuple[Range, ...]


class _Copies:
    """The moves into slots of their own: made anew whenever they are asked for, as a table may ask for millions."""

    def __init__(self, faults: Faults, path: str, slot: int) -> None:
        self._faults = faults
        self._path = path
        self._slot = slot

    def __iter__(self) -> Iterator[Move]:
        step, size, slot = self._faults.header.cluster_bytes, self._faults.file_size, self._slot
        for run in self._faults.copied():
            there = min(run.count * step, max(0, size - run.offset))
            if there:
                yield Move(self._path, run.offset, slot, there)
            slot += run.count * step


@dataclass(frozen=True)
class ImageRepair:
    """What an image will be.

    ``surplus`` are byte ranges of its table that become zero, ``forgotten`` and ``named`` ranges of guest clusters
    whose entries are written in the first and in the second turn; clusters that need a slot of their own get those from
    byte ``slot`` on.
    """

    exam: ImageExam
    raw: bytes
    surplus: Spans
    faults: Optional[Faults]
    forgotten: Spans
    named: Spans
    slot: int
    size: int
    repaired: Tuple[Finding, ...]

    @property
    def is_heavy(self) -> bool:
        """Whether the table changes."""
        return bool(self.surplus or self.forgotten or self.named)

    @property
    def moves(self) -> Iterable[Move]:
        """The clusters that are copied."""
        if self.faults is None or not self.named:
            return ()
        return _Copies(self.faults, self.exam.path, self.slot)

    @property
    def changed_ranges(self) -> List[Range]:
        """The byte ranges of metadata that change, in order."""
        ranges = [(0, HEADER_BYTES)] if self.raw != self.exam.raw or self.is_heavy else []
        for start, end in sorted([*self.surplus, *map(_bytes_of, self.forgotten), *map(_bytes_of, self.named)]):
            if ranges and start < ranges[-1][1]:
                start, end = ranges[-1][0], max(end, ranges.pop()[1])
            ranges.append((start, end))
        return ranges


def _bytes_of(span: Range) -> Range:
    return HEADER_BYTES + ENTRY_BYTES * span[0], HEADER_BYTES + ENTRY_BYTES * span[1]


def plan_image_repair(exam: ImageExam, level: str) -> Optional[ImageRepair]:
    """What a repair of ``level`` does to an image; None for nothing.

    Raises Unsupported where clusters share their slots and the file would become too long for its table.
    """
    header = exam.header
    repaired = tuple(one for one in exam.findings if is_allowed(one.repairable, level))
    if header is None or exam.is_frozen or exam.outside or not repaired:
        return None
    codes = {one.code for one in repaired}
    faults = exam.faults if any(code.startswith("entry_") and code != "entry_surplus" for code in codes) else None
    drops = exam.drops_extension or (faults is not None and faults.loses)
    end = exam.end_of_use(with_extension=not drops)
    slot, end = (end, end) if faults is None or not faults.copies else _slots(exam, header, faults, end)
    changes_end = faults is not None or bool(codes & {"leak_tail", "image_too_short", "tail_unaligned"})
    return ImageRepair(
        exam,
        pack_header(_final_header(exam, header, repaired, drops=drops)),
        tuple(sorted(exam.surplus)) if "entry_surplus" in codes else (),
        faults,
        _spans(faults.dropped()) if faults is not None else (),
        _spans(faults.copied()) if faults is not None else (),
        slot,
        end if changes_end else exam.stat.size,
        repaired,
    )


def _slots(exam: ImageExam, header: HdsHeader, faults: Faults, end: int) -> Tuple[int, int]:
    """The first of the slots after everything for clusters that need one of their own, and the end of the last one."""
    size, step = exam.stat.size, header.cluster_bytes
    # What no entry names may be what an entry has lost, so nothing in the file is overwritten.
    slot = max(end, header.data_start + round_up(max(0, size - header.data_start), step))
    end = slot + faults.copies * step
    if (end - step) // header.entry_bytes > _MOST_ENTRY or slot % header.entry_bytes:
        text = "So many clusters share their slots that the file would become too long for its table"
        hint = "Read the disk as it is with hdd_convert, snapshot by snapshot."
        raise Unsupported(text, path=exam.path, found=faults.copies, hint=hint)
    return slot, end


def _spans(runs: Iterable[Run]) -> Spans:
    """The ranges of guest clusters in ascending runs; when there are many, those in one window are one range."""
    spans: List[Range] = []
    for run in runs:
        if spans and (spans[-1][1] == run.cluster or _are_near(spans, run.cluster)):
            spans[-1] = (spans[-1][0], run.cluster + run.count)
        else:
            spans.append((run.cluster, run.cluster + run.count))
    return tuple(spans)


def _are_near(spans: Sequence[Range], cluster: int) -> bool:
    return len(spans) > _MOST_SPANS and (spans[-1][1] - 1) // _WINDOW == cluster // _WINDOW


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
    if repair.surplus or repair.forgotten:
        yield from _forgetting_steps(repair)
        yield Sync(files=(path,))
    if repair.named:
        yield from _naming_steps(repair)
    elif repair.size > size:
        yield Resize(path, repair.size)
        yield Sync(files=(path,))
    if repair.raw != repair.exam.raw or repair.is_heavy:
        yield WriteBytes(path, 0, repair.raw)
        yield Sync(files=(path,))
    if repair.size < size and not repair.named:
        yield Resize(path, repair.size)
        yield Sync(files=(path,))


def _forgetting_steps(repair: ImageRepair) -> Iterator[Step]:
    path, header, faults = repair.exam.path, repair.exam.header, repair.faults
    if header is not None and faults is not None:
        for offset, piece in entry_pieces(header, repair.forgotten, faults.readable()):
            yield WriteBytes(path, offset, piece)
    for start, end in repair.surplus:
        for offset in range(start, end, _ZERO_PIECE):
            yield WriteBytes(path, offset, bytes(min(_ZERO_PIECE, end - offset)))


def _naming_steps(repair: ImageRepair) -> Iterator[Step]:
    path, header, faults = repair.exam.path, repair.exam.header, repair.faults
    if header is None or faults is None:
        return
    yield CopyRanges(path, repair.moves)
    yield Resize(path, repair.size)
    yield Sync(files=(path,))
    for offset, piece in entry_pieces(header, repair.named, faults.parted(repair.slot)):
        yield WriteBytes(path, offset, piece)
    yield Sync(files=(path,))

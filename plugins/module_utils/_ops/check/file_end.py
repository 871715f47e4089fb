# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules for how the end of an image file fits its clusters (findings ``leak_*``, ``tail_*``, ``image_too_short``)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Optional

from ..._core.findings import LOSSY, SAFE, Finding, found
from ..._core.units import ceil_div, round_up
from ..._formats.hds.bat import RunTable
from ..._formats.hds.header import HdsHeader
from .examination import ImageExam


def examine_end(exam: ImageExam, header: HdsHeader, table: RunTable, *, is_held: bool) -> Iterator[Finding]:
    """Judge the end of the file; a process that writes to it (``is_held``) may have reserved more."""
    if exam.is_frozen:
        return
    faults, size, step = exam.faults, exam.stat.size, header.cluster_bytes
    keeps_extension = exam.extension is not None and not (faults is not None and faults.loses)
    end = exam.end_of_use(with_extension=keeps_extension)
    if faults is not None and faults.copies:
        # Copies go after everything, so that nothing is overwritten that an entry may have lost.
        end = max(end, header.data_start + round_up(max(0, size - header.data_start), step))
    wrong = _length(exam, header, end, is_held=is_held)
    if wrong is not None:
        yield wrong
    used = table.clusters_used if faults is None else faults.kept
    if exam.extension is not None and keeps_extension:
        used += sum(ceil_div(stop - start, step) for start, stop in exam.extension.pinned)
    unused = ceil_div(min(end, max(size, header.data_start)) - header.data_start, step) - used
    if unused > 0:
        text = f"{unused} slots within the file are unused; hdd_compact gives them back."
        yield found("leak_inside", exam.path, text)


def _length(exam: ImageExam, header: HdsHeader, end: int, *, is_held: bool) -> Optional[Finding]:
    """How the file ends, when ``end`` is where what is in use ends."""
    path, size, start = exam.path, exam.stat.size, header.data_start
    if size > end and not is_held:
        return _tail(exam, size - end)
    if size < start and not exam.table:
        text = f"The file ends at byte {size}, before its data area begins at {start}."
        return found("image_too_short", path, text)
    if start < size < end and exam.faults is None:
        text = f"The file ends at byte {size}; ploop wants whole clusters, up to {end}."
        return found("tail_unaligned", path, text)
    return None


def _tail(exam: ImageExam, length: int) -> Finding:
    text, degree = f"The last {length} bytes of the file belong to no cluster.", SAFE
    if exam.faults is not None:
        text, degree = f"{text} They may be what a wrong entry of the table has lost.", LOSSY
    elif exam.surplus or not exam.table:
        # Nothing proves that nobody needs them.
        text, degree = f"{text} They may belong to entries that the table has lost.", LOSSY
    return found("leak_tail", exam.path, text, repairable=degree)

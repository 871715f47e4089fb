# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading every cluster of a disk, to learn whether the medium gives it back (finding ``data_unreadable``)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, List, Tuple

from ..._core.errors import DiskError
from ..._core.findings import Finding, found
from ..._core.units import counted
from ..._io.buffers import new_buffer
from ..._io.port import File, Port
from .examination import Examination, ImageExam

_SLICE = 256 << 10
_AHEAD = 32 << 20
_SHOWN = 5


def read_clusters(port: Port, examined: Examination) -> Tuple[List[Finding], int]:
    """Read what the images hold, but no holes; returns findings for what cannot be read, and the bytes read."""
    findings: List[Finding] = []
    total = 0
    for image in examined.images:
        if not image.stat.inode or any(one.code in ("image_missing", "image_unreadable") for one in image.findings):
            continue
        try:
            file = port.open_read(image.path)
        except DiskError as error:
            findings.append(found("image_unreadable", image.path, str(error)))
            continue
        try:
            bad, read = _read_image(file, image)
        finally:
            file.close()
        total += read
        findings += _unreadable(image, bad)
    return findings, total


def _unreadable(image: ImageExam, bad: List[int]) -> Iterator[Finding]:
    if bad:
        offsets = ", ".join(map(str, bad[:_SHOWN])) + (", ..." if len(bad) > _SHOWN else "")
        places = counted(len(bad), "place")
        text = f"{places} cannot be read, at the bytes {offsets} of the file. Restore them from a copy."
        yield found("data_unreadable", image.path, text)


def _ranges(image: ImageExam) -> Iterator[Tuple[int, int]]:
    """The parts of the file that hold guest data."""
    if image.header is None or image.table is None:
        yield 0, image.stat.size
        return
    for run in image.table.runs():
        yield run.offset, min(image.stat.size, run.offset + run.count * image.header.cluster_bytes)


def _read_image(file: File, image: ImageExam) -> Tuple[List[int], int]:
    buffer = new_buffer(_SLICE)
    bad: List[int] = []
    read = 0
    for start, end in _ranges(image):
        for data_start, data_end in file.data_ranges(start, end) if start < end else ():
            for offset in range(data_start, data_end, _SLICE):
                if (offset - data_start) % _AHEAD == 0:
                    file.will_need(offset, min(_AHEAD, data_end - offset))
                try:
                    read += file.pread_into(offset, buffer[: min(_SLICE, data_end - offset)])
                except DiskError:
                    bad.append(offset)
    return bad, read

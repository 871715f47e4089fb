# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Holes and zeros: finding them at the speed of memory.

``startswith`` compares with memcmp; a comparison of memoryviews is thirty times slower, and so is any other test. One
byte of each grain already rules out most grains.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import os
from typing import Iterator, Tuple

from .failures import REFUSED
from .kernel import repeated
from .port import Buffer

GRAIN = 4096
_ZEROS = bytes(256 * 1024)


def is_zero(buffer: Buffer) -> bool:
    """Whether every byte of ``buffer`` is zero. An empty buffer is."""
    return _is_zero_range(memoryview(buffer), 0, len(buffer))


def data_parts(buffer: Buffer, length: int, grain: int = GRAIN) -> Iterator[Tuple[int, int]]:
    """The parts ``(start, end)`` of the first ``length`` bytes that are not zero, on multiples of ``grain``, joined.

    Ascending. A part may begin and end with zeros inside a grain; between the parts all is zero.
    """
    view = memoryview(buffer)
    if _is_zero_range(view, 0, length):
        return
    start = 0
    for zero in _zero_grains(view, length, grain):
        if start < zero:
            yield start, zero
        start = zero + grain
    if start < length:
        yield start, length


def _zero_grains(view: memoryview, length: int, grain: int) -> Iterator[int]:
    """Where the grains that are zero begin, ascending."""
    first = view[1 % grain : length : grain].tobytes()
    index = first.find(0)
    if index >= 0:
        second = view[grain // 2 : length : grain].tobytes()
    while index >= 0:
        if index >= len(second) or not second[index]:
            start = index * grain
            if _is_zero_range(view, start, min(start + grain, length)):
                yield start
        index = first.find(0, index + 1)
    # A last grain of one byte has no sample.
    start = len(first) * grain
    if start < length and _is_zero_range(view, start, length):
        yield start


def _is_zero_range(view: memoryview, start: int, end: int) -> bool:
    while end - start > len(_ZEROS):
        if not _ZEROS.startswith(view[start : start + len(_ZEROS)]):
            return False
        start += len(_ZEROS)
    return _ZEROS.startswith(view[start:end])


def seek_ranges(descriptor: int, start: int, end: int) -> Iterator[Tuple[int, int]]:
    """The parts of a file that are no holes, by SEEK_DATA and SEEK_HOLE; one part where the file system cannot say.

    Safe in threads although it moves the file position: both calls start from the offset given, and nobody uses the
    position.
    """
    position = start
    while position < end:
        try:
            begin = repeated(os.lseek, descriptor, position, os.SEEK_DATA)
            if begin >= end:
                return
            position = repeated(os.lseek, descriptor, begin, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno not in REFUSED:
                raise
            yield position, end
            return
        if position <= begin:
            yield begin, end
            return
        yield begin, min(position, end)


def holes(parts: Iterator[Tuple[int, int]], start: int, end: int) -> Iterator[Tuple[int, int]]:
    """What ``parts``, ascending, leave of the range."""
    for begin, stop in parts:
        if start < begin:
            yield start, begin
        start = stop
    if start < end:
        yield start, end

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Holes and zeros: finding them at the speed of memory.

``bytearray == bytes`` and ``startswith`` compare with memcmp; a comparison of memoryviews is sixty times slower, and
so is any other test. One byte of each grain already rules out most grains.
"""

from __future__ import annotations

import errno
import os
from typing import Iterator, Tuple, Union

from .failures import REFUSED
from .kernel import repeated
from .port import Buffer

GRAIN = 4096
_ZEROS = bytes(256 * 1024)


def is_zero(buffer: Buffer) -> bool:
    """Whether every byte of ``buffer`` is zero. An empty buffer is."""
    content = _comparable(buffer, len(buffer))
    return _is_zero_range(content, 0, len(content))


def data_parts(buffer: Union[bytearray, memoryview], length: int, grain: int = GRAIN) -> Iterator[Tuple[int, int]]:
    """The parts ``(start, end)`` of the first ``length`` bytes that are not zero, on multiples of ``grain``, joined, ascending.

    A part may begin and end with zeros inside a grain; what lies between the parts is all zero.
    """
    content = _comparable(buffer, length)
    if _is_zero_range(content, 0, length):
        return
    start = 0
    for zero in _zero_grains(content, length, grain):
        if start < zero:
            yield start, zero
        start = zero + grain
    if start < length:
        yield start, length


def _zero_grains(content: Union[bytes, bytearray], length: int, grain: int) -> Iterator[int]:
    """Where the grains that are zero begin, ascending."""
    first = content[1 % grain : length : grain]
    second = content[grain // 2 : length : grain]
    page = bytes(grain)
    index = first.find(0)
    while index >= 0:
        if index >= len(second) or not second[index]:
            start = index * grain
            if content.startswith(page, start) if start + grain <= length else _is_zero_range(content, start, length):
                yield start
        index = first.find(0, index + 1)
    # A last grain of one byte has no sample.
    start = len(first) * grain
    if start < length and _is_zero_range(content, start, length):
        yield start


def _is_zero_range(content: Union[bytes, bytearray], start: int, end: int) -> bool:
    while end - start >= len(_ZEROS):
        if not content.startswith(_ZEROS, start):
            return False
        start += len(_ZEROS)
    return content.startswith(_ZEROS[: end - start], start)


def _comparable(buffer: Buffer, length: int) -> Union[bytes, bytearray]:
    """``buffer`` as something that compares fast: itself, what a whole view looks at, or a copy."""
    if not isinstance(buffer, memoryview):
        return buffer
    whole = buffer.obj
    if isinstance(whole, (bytes, bytearray)) and len(whole) == buffer.nbytes and buffer.c_contiguous:
        return whole
    return bytes(buffer[:length])


def seek_ranges(descriptor: int, start: int, end: int) -> Iterator[Tuple[int, int]]:
    """The parts of a file that are no holes, by SEEK_DATA and SEEK_HOLE; one part where the file system cannot tell.

    Safe in threads although it moves the file position: both calls start from the offset given, and nobody uses the position.
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

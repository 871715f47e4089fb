# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading an image whose bytes lie in runs of its file: what it is made of, the bytes, and their places.

::

    guest    |....######....########|    .: no run
    file     |hdr ########  ######  |    each run lies in one piece, in any order
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterable, Iterator, Protocol, Tuple, Union

from .._core.extents import DATA, ZERO, Extent
from .._io.buffers import clear
from .._io.port import File
from .damage import DamagedImage
from .place import Place

StoredRun = Tuple[int, int, int]
"""Guest offset, length and file offset of bytes that lie in one piece."""


class ByteSource(Protocol):
    """What an image is read from: a file, or what stands for one."""

    path: str

    def size(self) -> int:
        """The length now."""

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; fewer bytes than asked come back only at the end."""

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The parts ``(start, end)`` of the range that are no holes, ascending."""

    def close(self) -> None:
        """Release everything."""


def read_stored(source: ByteSource, offset: int, view: memoryview) -> None:
    """Fill ``view`` from file byte ``offset``. Raises Damaged when the file ends before."""
    got = source.pread_into(offset, view)
    if got < len(view):
        raise DamagedImage("The file ends within its data", source.path, offset + got, expected=len(view), found=got)


def read_runs(source: ByteSource, runs: Iterable[StoredRun], offset: int, view: memoryview) -> None:
    """Fill ``view`` with guest bytes from ``offset``; between the runs, ascending within its range, are zeros."""
    position = 0
    for guest, length, place in runs:
        begin = guest - offset
        if position < begin:
            clear(view[position:begin])
        position = begin + length
        read_stored(source, place, view[begin:position])
    clear(view[position:])


def run_extents(
    source: ByteSource, runs: Iterable[StoredRun], position: int, end: int, missing: str
) -> Iterator[Extent]:
    """What the guest range is made of: DATA, ZERO for holes of the host file, ``missing`` between the runs."""
    for guest, length, offset in runs:
        if guest > position:
            yield Extent(position, guest - position, missing)
        position = guest
        shift = guest - offset
        for data_start, data_end in source.data_ranges(offset, offset + length):
            if data_start + shift > position:
                yield Extent(position, data_start + shift - position, ZERO)
            yield Extent(data_start + shift, data_end - data_start, DATA)
            position = data_end + shift
        if position < guest + length:
            yield Extent(position, guest + length - position, ZERO)
            position = guest + length
    if position < end:
        yield Extent(position, end - position, missing)


def run_places(file: File, runs: Iterable[StoredRun]) -> Iterator[Place]:
    """The places of the runs."""
    return (Place(guest, length, file, offset) for guest, length, offset in runs if length)

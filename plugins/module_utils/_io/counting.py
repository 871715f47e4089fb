# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file that stores nothing: a writer is run dry on it to predict how long its file will be."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Tuple, Union

from .buffers import clear
from .port import Buffer, File


class CountingFile:
    """A new, empty file that knows only its length and how many bytes were written to it. Implements ``File``.

    ``bytes_written`` counts what ``pwrite`` was given, twice where it was given twice. Reads give zeros, whatever was
    written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.bytes_written = 0
        self._size = 0

    def size(self) -> int:
        """The length now."""
        return self._size

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Zeros up to the end of the file."""
        view = memoryview(buffer)
        length = max(0, min(len(view), self._size - offset))
        clear(view[:length])
        return length

    def pwrite(self, offset: int, buffer: Buffer) -> None:
        """Count all of ``buffer``."""
        length = memoryview(buffer).nbytes
        self.bytes_written += length
        self._size = max(self._size, offset + length if length > 0 else 0)

    def truncate(self, size: int) -> None:
        """Cut, or grow."""
        self._size = size

    def allocate(self, offset: int, length: int) -> None:
        """Grow when the range ends past the file; nothing is reserved."""
        if length:
            self._size = max(self._size, offset + length)

    def punch_hole(self, offset: int, length: int) -> bool:  # pylint: disable=unused-argument
        """True: nothing is stored, so nothing changes."""
        return True

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """All of the range that lies in the file: there are no holes."""
        end = min(end, self._size)
        return iter(((start, end),) if start < end else ())

    def copy_from(self, source: File, source_offset: int, offset: int, length: int) -> int:  # pylint: disable=unused-argument
        """0, always: the caller is to write, so that the bytes are counted."""
        return 0

    def share_from(self, source: File, source_offset: int, offset: int, length: int) -> bool:  # pylint: disable=unused-argument
        """True: the file is as long as if it had the blocks, and nothing is read for it."""
        self.allocate(offset, length)
        return True

    def copy_on_server(self, source: File, source_offset: int, offset: int, length: int) -> bool:  # pylint: disable=unused-argument
        """False, always: what is shared need not be copied."""
        return False

    def take_attributes(self, source: File) -> None:
        """Nothing has attributes here."""

    def sync(self) -> None:
        """Nothing is to be synced."""

    def start_writeback(self, offset: int, length: int) -> None:
        """Nothing is to be written back."""

    def will_need(self, offset: int, length: int) -> None:
        """Nothing is to be read."""

    def close(self) -> None:
        """Nothing is to be released; the counts stay."""

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a new plain image in one pass."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from ..._io.port import Buffer, File
from ..bounds import check_next


class RawWriter:
    """Fills a new file, empty or a clone of what it is to hold; what is never written stays a hole, or as it is."""

    def __init__(self, file: File, *, size_bytes: int) -> None:
        self.file = file
        self._size = size_bytes
        self._position = 0

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at byte ``offset``. Raises BadRequest when that goes back or leaves the disk."""
        length = memoryview(buffer).nbytes
        self.place(offset, length)
        if length > 0:
            self.file.pwrite(offset, buffer)

    def place(self, offset: int, length: int) -> int:
        """The place in the file for bytes that the caller stores there himself. Raises BadRequest as ``write`` does."""
        check_next(self.file.path, self._position, self._size, offset, length)
        self._position = offset + length
        return offset

    def finish(self) -> None:
        """Give the file its length."""
        self.file.truncate(self._size)

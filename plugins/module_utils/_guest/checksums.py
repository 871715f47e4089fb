# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checksums of whole files and guest disks, at a cost that follows the data and not the size."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from .._formats.image import GuestView
from .._io.buffers import new_buffer
from .._io.copy import SLICE
from .._io.port import File, Port
from .slices import data_slices

_ZEROS = bytes(SLICE)


class FileDigest:
    """The checksum of what comes in ascending order; what is skipped counts as zeros."""

    def __init__(self, algorithm: str) -> None:
        import hashlib

        self._hash = hashlib.new(algorithm)
        self._position = 0

    def add(self, offset: int, content: memoryview) -> None:
        """Take in what lies at ``offset``."""
        self.skip_to(offset)
        self._hash.update(content)
        self._position += len(content)

    def skip_to(self, offset: int) -> None:
        """Take in zeros up to ``offset``."""
        while self._position < offset:
            part = min(SLICE, offset - self._position)
            self._hash.update(_ZEROS if part == SLICE else _ZEROS[:part])
            self._position += part

    def hexdigest(self) -> str:
        """The checksum of everything so far."""
        return self._hash.hexdigest()


def file_checksum(port: Port, path: str, algorithm: str) -> str:
    """The checksum of a whole file; its holes are not read."""
    file = port.open_read(path)
    try:
        return checksum_of(file, algorithm)
    finally:
        file.close()


def checksum_of(file: File, algorithm: str) -> str:
    """The checksum of an open file; its holes are not read."""
    digest = FileDigest(algorithm)
    window = new_buffer(SLICE)
    size = file.size()
    for start, end in file.data_ranges(0, size):
        for offset in range(start, end, SLICE):
            part = window[: min(SLICE, end - offset)]
            file.pread_into(offset, part)
            digest.add(offset, part)
    digest.skip_to(size)
    return digest.hexdigest()


def guest_checksum(view: GuestView, algorithm: str) -> str:
    """The checksum of the whole guest disk, zeros included."""
    digest = FileDigest(algorithm)
    window = new_buffer(SLICE)
    for offset, length in data_slices(view.extents(0, view.size), view.size):
        view.pread_into(offset, window[:length])
        digest.add(offset, window[:length])
    digest.skip_to(view.size)
    return digest.hexdigest()

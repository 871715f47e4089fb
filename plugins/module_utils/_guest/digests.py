# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checksums of guest content and of files, at a cost that follows the data and not the size."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct

from .._formats.image import GuestView
from .._io.buffers import new_buffer
from .._io.copy import SLICE
from .._io.crc import fast_crc32
from .._io.port import File, Port
from .slices import data_slices

_ZEROS = bytes(SLICE)
# A place in bytes, and the CRC-32 of what is there or ends there.
_PIECE = struct.Struct("<QI")


class ContentDigest:
    """A digest of guest content that does not depend on how it is stored: non-zero slices and where they lie.

    SHA-256 over the place and the CRC-32 of each slice: identifiers must be stable and distinct, not unforgeable
    (docs/adr/0013-identifiers-from-crc-32.md).
    """

    def __init__(self) -> None:
        # Outputs without ids from their content need none of it.
        import hashlib

        self._hash = hashlib.sha256()
        self._crc32 = fast_crc32()

    def add(self, offset: int, content: memoryview) -> None:
        """Take in a slice of the grid that is not zero."""
        self._hash.update(_PIECE.pack(offset, self._crc32(content, 0)))

    def value(self, size: int) -> str:
        """The digest of a disk of ``size`` bytes."""
        self._hash.update(size.to_bytes(8, "little"))
        return self._hash.hexdigest()


class LayerDigest:
    """A digest of what one layer holds, data and zeros, that does not depend on the pieces in which it comes.

    As in ContentDigest; a range has one CRC-32 for each slice of the grid that it touches.
    """

    def __init__(self) -> None:
        import hashlib

        self._hash = hashlib.sha256()
        self._crc32 = fast_crc32()
        self._kind = b""
        self._end = 0
        self._checksum = 0

    def add(self, offset: int, content: memoryview) -> None:
        """Take in data, ascending."""
        self._go_on(b"data", offset)
        while len(content):
            part = content[: SLICE - self._end % SLICE]
            content = content[len(part) :]
            self._checksum = self._crc32(part, self._checksum)
            self._end += len(part)
            if not self._end % SLICE:
                self._close_piece()

    def add_zeros(self, offset: int, length: int) -> None:
        """Take in zeros that may hide something, ascending."""
        self._go_on(b"zero", offset)
        self._end += length

    def _go_on(self, kind: bytes, offset: int) -> None:
        if (kind, offset) != (self._kind, self._end):
            self._close_piece()
            self._hash.update(kind + offset.to_bytes(8, "little"))
            self._kind, self._end = kind, offset

    def _close_piece(self) -> None:
        self._hash.update(_PIECE.pack(self._end, self._checksum))
        self._checksum = 0

    def value(self, size: int) -> str:
        """The digest of a layer of a disk of ``size`` bytes."""
        self._close_piece()
        self._hash.update(size.to_bytes(8, "little"))
        return self._hash.hexdigest()


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

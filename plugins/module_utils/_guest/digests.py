# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Digests of guest content that identifiers are made from."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct

from .._io.copy import SLICE
from .._io.host.crc import fast_crc32

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

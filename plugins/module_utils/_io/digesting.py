# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The digest of a file while it is written, so that it need not be read again."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import hashlib
from typing import Iterator, Optional, Protocol, Tuple, Union

from .._core.errors import Unsupported
from .buffers import new_buffer
from .port import Buffer, File

_ZEROS = bytes(256 << 10)


class _Digest(Protocol):
    """What hashlib gives."""

    def update(self, data: Buffer, /) -> None:
        """Go on with ``data``."""

    def hexdigest(self) -> str:
        """The digest of everything so far."""


class DigestingFile:
    """Passes everything on to ``file`` and keeps its digest for as long as bytes come in ascending order.

    Implements ``File``.

    ::

        hashed            known to be zeros
        |-----------------|- - - - - - - - - |  length

    Only a file that is empty at first, and that nobody else writes to, can be followed. What lies between two writes is
    zeros. A write that goes back, a cut into what is hashed and a failed call end the hashing: then only
    reading the file gives its digest. Only one thread may write.
    """

    def __init__(self, file: File, algorithm: str) -> None:
        self.path = file.path
        self._file = file
        self._hash: Optional[_Digest] = _new_hash(algorithm)
        self._hashed = 0
        self._length = 0
        if file.size():
            self._hash = None

    def hexdigest(self) -> Optional[str]:
        """The digest of the file as it is now, or None when the file must be read for it.

        More may be written afterwards.
        """
        if self._hash is None:
            return None
        self._hash_zeros(self._length)
        return self._hash.hexdigest()

    def size(self) -> int:
        """The length now."""
        return self._file.size()

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; fewer bytes than asked come back only at the end of the file."""
        return self._file.pread_into(offset, buffer)

    def pwrite(self, offset: int, buffer: Buffer) -> None:
        """Write all of ``buffer`` at ``offset``."""
        view = memoryview(buffer)
        if not view.nbytes:
            self._file.pwrite(offset, buffer)
            return
        follows = self._follow(offset)
        self._file.pwrite(offset, buffer)
        if follows is not None:
            self._hash_zeros_with(follows, offset)
            follows.update(view)
            self._advance(follows, offset + view.nbytes)

    def _follow(self, offset: int) -> Optional[_Digest]:
        """The digest to go on with, if bytes at ``offset`` continue it.

        It is given up until they have been stored without a failure.
        """
        follows = self._hash if offset >= self._hashed else None
        self._hash = None
        return follows

    def _advance(self, follows: _Digest, end: int) -> None:
        self._hash = follows
        self._hashed = end
        self._length = max(self._length, end)

    def _hash_zeros(self, end: int) -> None:
        if self._hash is not None:
            self._hash_zeros_with(self._hash, end)
            self._hashed = max(self._hashed, end)

    def _hash_zeros_with(self, digest: _Digest, end: int) -> None:
        zeros = memoryview(_ZEROS)
        for position in range(self._hashed, end, len(_ZEROS)):
            digest.update(zeros[: end - position])

    def truncate(self, size: int) -> None:
        """Cut, or grow with a hole."""
        follows = self._follow(size)
        self._file.truncate(size)
        self._hash = follows
        self._length = size

    def allocate(self, offset: int, length: int) -> None:
        """Reserve host blocks for the range; the file grows when it must, new bytes read as zeros."""
        follows = self._follow(self._hashed)
        self._file.allocate(offset, length)
        self._hash = follows
        if length:
            self._length = max(self._length, offset + length)

    def punch_hole(self, offset: int, length: int) -> bool:
        """Give the host blocks of a range back. What is not hashed yet there is zeros as it is."""
        before = self._hash
        follows = self._follow(offset)
        done = self._file.punch_hole(offset, length)
        self._hash = follows if done and length > 0 else before
        return done

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The parts ``(start, end)`` of the range that are no holes, ascending; all of it where the host cannot say."""
        return self._file.data_ranges(start, end)

    def copy_from(self, source: File, source_offset: int, offset: int, length: int) -> int:
        """Let the kernel copy (or share) bytes, and read what it copied for the digest. Returns how many it did."""
        before = self._hash
        follows = self._follow(offset)
        done = self._file.copy_from(source, source_offset, offset, length)
        if not done:
            self._hash = before
            return 0
        if follows is not None and self._read_back(follows, offset, done):
            self._advance(follows, offset + done)
        return done

    def share_from(self, source: File, source_offset: int, offset: int, length: int) -> bool:  # pylint: disable=unused-argument
        """False, always: what is written passes by here, what is shared would have to be read."""
        return False

    def copy_on_server(self, source: File, source_offset: int, offset: int, length: int) -> bool:  # pylint: disable=unused-argument
        """False, always, for the same reason."""
        return False

    def _read_back(self, digest: _Digest, offset: int, length: int) -> bool:
        """Hash a range of the file; False when the file has become shorter."""
        self._hash_zeros_with(digest, offset)
        buffer = new_buffer(min(length, len(_ZEROS)))
        for position in range(offset, offset + length, len(_ZEROS)):
            part = buffer[: offset + length - position]
            if self._file.pread_into(position, part) < len(part):
                return False
            digest.update(part)
        return True

    def take_attributes(self, source: File) -> None:
        """Get the owner, the permissions and more of a file."""
        self._file.take_attributes(source)

    def sync(self) -> None:
        """Return when content and length have reached the medium."""
        self._file.sync()

    def start_writeback(self, offset: int, length: int) -> None:
        """Begin to write a range back, so that the next ``sync`` finds little to do. A hint."""
        self._file.start_writeback(offset, length)

    def will_need(self, offset: int, length: int) -> None:
        """Begin to read a range. A hint."""
        self._file.will_need(offset, length)

    def close(self) -> None:
        """Release the file; a second call does nothing. The digest stays."""
        self._file.close()


def _new_hash(algorithm: str) -> _Digest:
    """A digest of fixed length.

    Raises Unsupported where Python, or a rule of the host (FIPS), has none of that name.
    """
    try:
        found = hashlib.new(algorithm)
    except ValueError as error:
        raise Unsupported(
            f"This host cannot compute {algorithm} checksums",
            found=algorithm,
            hint="Choose another algorithm, such as sha256.",
        ) from error
    if not found.digest_size:
        raise Unsupported(
            f"{algorithm} has no length of its own", found=algorithm, hint="Choose another algorithm, such as sha256."
        )
    return found

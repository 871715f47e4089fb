# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""``OsFile``: an open file of the host."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import os
from typing import Iterator, List, Optional, Tuple, Union

from ..._core.errors import IoFailure
from .. import kernel, sparse
from ..buffers import new_buffer
from ..capabilities import Capabilities
from ..failures import HOST_ERRORS, reported, translated
from ..kernel import release
from ..port import Buffer, File

# macOS refuses more than 2 GiB in one call, Linux cuts it short.
_LARGEST_TRANSFER = 1 << 30
# On ext4 long writes into new places are a third faster where their blocks are taken in one piece before. Not
# elsewhere: XFS would keep what it takes ahead of later writers for good, Btrfs would compress nothing.
_LONG_WRITE = 512 << 10
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ZEROS = bytes(256 * 1024)


class OsFile:
    """A regular file of the host. Implements ``File``."""

    def __init__(self, path: str, descriptor: int, capabilities: Capabilities) -> None:
        self.path = path
        self._descriptor = descriptor
        self._can = capabilities
        self._reserves = capabilities.reserve
        self._is_ext4: Optional[bool] = None
        self._is_remote: Optional[bool] = None

    @property
    def _is_on_ext4(self) -> bool:
        if self._is_ext4 is None:
            self._is_ext4 = kernel.is_ext4(self._descriptor)
        return self._is_ext4

    @property
    def _is_on_server(self) -> bool:
        if self._is_remote is None:
            # A disk of this host may be served by a process of it (fuseblk).
            self._is_remote = kernel.is_remote(self._descriptor) and not self._is_on_device
        return self._is_remote

    @property
    def _is_on_device(self) -> bool:
        """Whether the file system is on one block device; networks, Btrfs and ZFS have a number without one."""
        with reported("look at", self.path):
            return os.major(os.fstat(self._descriptor).st_dev) != 0

    def size(self) -> int:
        """The length now."""
        with reported("look at", self.path):
            return os.fstat(self._descriptor).st_size

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; fewer bytes than asked come back only at the end of the file."""
        view = memoryview(buffer)
        done = 0
        try:
            while done < len(view):
                step = self._pread(offset + done, view[done : done + _LARGEST_TRANSFER])
                if not step:
                    break
                done += step
        except HOST_ERRORS as error:
            raise translated(error, "read", self.path, offset + done) from error
        return done

    def _pread(self, offset: int, view: memoryview) -> int:
        if self._can.vectored:
            return os.preadv(self._descriptor, (view,), offset)
        content = os.pread(self._descriptor, len(view), offset)
        view[: len(content)] = content
        return len(content)

    def pwrite(self, offset: int, buffer: Buffer) -> None:
        """Write all of ``buffer`` at ``offset``."""
        view = memoryview(buffer)
        done = 0
        if self._reserves and len(view) >= _LONG_WRITE:
            self._reserves = self._is_on_ext4 and kernel.reserve(self._descriptor, offset, len(view))
        try:
            while done < len(view):
                step = os.pwrite(self._descriptor, view[done : done + _LARGEST_TRANSFER], offset + done)
                if not step:
                    text = f"Cannot write {self.path}: the host took nothing"
                    raise IoFailure(text, path=self.path, offset=offset + done, found="0 bytes")
                done += step
        except HOST_ERRORS as error:
            raise translated(error, "write", self.path, offset + done) from error

    def truncate(self, size: int) -> None:
        """Cut, or grow with a hole."""
        with reported("set the length of", self.path, size):
            os.ftruncate(self._descriptor, size)

    def allocate(self, offset: int, length: int) -> None:
        """Reserve host blocks for the range; the file grows when it must, new bytes read as zeros."""
        if not length:
            return
        self._reserves = False
        with reported("reserve blocks of", self.path, offset):
            if not (self._can.fallocate and kernel.fallocate(self._descriptor, offset, length)):
                self._allocate_by_writing(offset, offset + length)

    def punch_hole(self, offset: int, length: int) -> bool:
        """Give the host blocks of a range back; False, with nothing done, where the host cannot."""
        if length <= 0:
            return True
        with reported("punch a hole into", self.path, offset):
            return self._can.punch_hole and kernel.punch_hole(self._descriptor, offset, length)

    def _allocate_by_writing(self, start: int, end: int) -> None:
        size = self.size()
        if end > size and self._can.preallocate and kernel.preallocate(self._descriptor, end - size):
            os.ftruncate(self._descriptor, end)
            end = size
        for begin, stop in [*self._unreserved(start, min(end, size)), (max(start, size), end)]:
            for position in range(begin, stop, len(_ZEROS)):
                self.pwrite(position, memoryview(_ZEROS)[: stop - position])

    def _unreserved(self, start: int, end: int) -> List[Tuple[int, int]]:
        """The holes of a range; where they are not known, what reads as zeros."""
        if self._can.seek_hole:
            return list(sparse.holes(self.data_ranges(start, end), start, end))
        found: List[Tuple[int, int]] = []
        buffer = new_buffer(len(_ZEROS))
        for position in range(start, end, len(buffer)):
            length = self.pread_into(position, buffer[: end - position])
            parts = ((position + begin, position + stop) for begin, stop in sparse.data_parts(buffer, length))
            found.extend(sparse.holes(parts, position, position + length))
        return found

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The parts of the range that are no holes, ascending. Nothing past the end of the file is data."""
        end = min(end, self.size())
        if not self._can.seek_hole:
            return iter(((start, end),) if start < end else ())
        return self._seek_ranges(start, end)

    def _seek_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        with reported("find the holes of", self.path, start):
            yield from sparse.seek_ranges(self._descriptor, start, end)

    def copy_from(self, source: File, source_offset: int, offset: int, length: int) -> int:
        """Let the kernel share bytes, or copy them where that is done elsewhere; returns how many it did.

        On a disk of this host the kernel copies page by page, at half the speed of long reads and writes.
        """
        if not isinstance(source, OsFile) or length <= 0:
            return 0
        here, there = self._descriptor, source._descriptor  # pylint: disable=protected-access
        done = 0
        with reported(f"copy {source.path} to", self.path, offset):
            if self._can.clone:
                done = kernel.clone_range(there, source_offset, here, offset, length)
            if self._can.copy_file_range and done < length and not self._is_on_device:
                done += kernel.copy_range(there, source_offset + done, here, offset + done, length - done)
        return done

    def share_from(self, source: File, source_offset: int, offset: int, length: int) -> bool:
        """Let a range have the blocks of another file, as a clone has; False where the host cannot."""
        if not isinstance(source, OsFile) or not self._can.clone:
            return False
        with reported(f"share blocks of {source.path} with", self.path, offset):
            return kernel.clone_range(source._descriptor, source_offset, self._descriptor, offset, length) == length

    def copy_on_server(self, source: File, source_offset: int, offset: int, length: int) -> bool:
        """Let the server of a network file system copy a range; False where none does.

        Clients and servers refuse in many ways, some of them (CIFS) with EIO. All but a full disk is left to the write
        that follows, which says what is wrong.
        """
        if not isinstance(source, OsFile) or not self._can.copy_file_range:
            return False
        # pylint: disable=protected-access
        if not (self._is_on_server and source._is_on_server):
            return False
        there = source._descriptor
        with reported(f"copy {source.path} to", self.path, offset):
            try:
                return kernel.copy_range(there, source_offset, self._descriptor, offset, length) == length
            except OSError as error:
                if error.errno in _FULL:
                    raise
                return False

    def take_attributes(self, source: File) -> None:
        """Get owner (where the process may), permissions, access control list and extended attributes of a file."""
        if isinstance(source, OsFile):
            from .attributes import take_over

            with reported("set the owner and mode of", self.path):
                take_over(source._descriptor, self._descriptor)

    def sync(self) -> None:
        """Return when content and length have reached the medium."""
        with reported("sync", self.path):
            kernel.sync(self._descriptor, full=self._can.full_fsync)

    def start_writeback(self, offset: int, length: int) -> None:
        """Begin to write a range back, so that the next ``sync`` finds little to do. A hint."""
        try:
            if self._can.sync_file_range and kernel.sync_file_range(self._descriptor, offset, length):
                return
            if self._can.fadvise:
                os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        except HOST_ERRORS:
            pass

    def will_need(self, offset: int, length: int) -> None:
        """Begin to read a range. A hint."""
        try:
            if self._can.fadvise:
                os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_WILLNEED)
            elif self._can.read_advice:
                kernel.read_advice(self._descriptor, offset, length)
        except HOST_ERRORS:
            pass

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            release(descriptor)

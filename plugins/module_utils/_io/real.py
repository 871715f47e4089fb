# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""``OsPort``: the operating system behind the port."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import os
import stat as modes
from typing import Iterator, List, Optional, Sequence, Tuple, Union

from .._core.errors import DiskError, IoFailure
from . import kernel, sparse
from .access import write_refusal
from .buffers import new_buffer
from .capabilities import Capabilities, detect
from .failures import HOST_ERRORS, REFUSED, not_regular, reported, translated
from .kernel import release, repeated
from .locking.locks import Locks, OsLock
from .port import DIRECTORY, FILE, OTHER, SYMLINK, Buffer, File, Holder, Stat
from .process import umask

# O_NONBLOCK: a FIFO, or a device without a medium, must not make us wait.
_OPEN_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NONBLOCK
_NOT_OPENABLE = (errno.EISDIR, errno.ENXIO, errno.ENODEV)

# macOS refuses more than 2 GiB in one call, Linux cuts it short.
_LARGEST_TRANSFER = 1 << 30
# On ext4 long writes into new places are a third faster where their blocks are taken in one piece before. Not
# elsewhere: XFS would keep what it takes ahead of later writers for good, Btrfs would compress nothing.
_LONG_WRITE = 512 << 10
_ZEROS = bytes(256 * 1024)
_BLOCK = 4096
# Marks of macOS that a clone may take over from its source; with others it might be neither written nor removed, or not
# seen.
_HARMLESS_FLAGS = modes.UF_COMPRESSED | modes.SF_ARCHIVED
_NAMELESS = getattr(os, "O_TMPFILE", 0)


class OsFile:
    """A regular file of the host. Implements ``File``."""

    def __init__(self, path: str, descriptor: int, capabilities: Capabilities) -> None:
        self.path = path
        self._descriptor = descriptor
        self._can = capabilities
        self._reserves = capabilities.reserve
        self._is_ext4: Optional[bool] = None

    @property
    def _is_on_ext4(self) -> bool:
        if self._is_ext4 is None:
            self._is_ext4 = kernel.is_ext4(self._descriptor)
        return self._is_ext4

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


class OsPort:
    """The file system of the host and its locks. Implements ``Port``."""

    def __init__(self, capabilities: Optional[Capabilities] = None) -> None:
        self.capabilities = detect() if capabilities is None else capabilities
        self._locks = Locks(self.capabilities)

    def open_read(self, path: str) -> OsFile:
        """Open a regular file for reading; anything else (a FIFO, a device, a directory) is refused without waiting."""
        quiet = getattr(os, "O_NOATIME", 0)
        if quiet:
            try:
                return self._open(path, os.O_RDONLY | quiet)
            except IoFailure as error:
                # Only the owner of a file may leave its access time alone.
                if error.found != "EPERM":
                    raise
        return self._open(path, os.O_RDONLY)

    def open_write(self, path: str) -> OsFile:
        """Open a regular file for reading and writing."""
        return self._open(path, os.O_RDWR)

    def create(self, path: str, mode: int = 0o666) -> OsFile:
        """Create a file that must not exist, for reading and writing."""
        with reported("create", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OPEN_FLAGS, mode)
        return OsFile(path, descriptor, self.capabilities)

    def clone(self, source: File, path: str) -> Optional[OsFile]:
        """Create a file that must not exist with all blocks of ``source``; None where the host cannot."""
        if not isinstance(source, OsFile) or not self.capabilities.clone_file:
            return None
        with reported(f"clone {source.path} to", path):
            descriptor = source._descriptor  # pylint: disable=protected-access
            if not _is_clonable(os.fstat(descriptor)) or not kernel.clone_file(descriptor, path):
                return None
            try:
                # It has the times of its source, and the mode, which may forbid to write.
                repeated(os.chmod, path, 0o666 & ~umask(), follow_symlinks=os.chmod not in os.supports_follow_symlinks)
                repeated(os.utime, path, follow_symlinks=False)
                return self._open(path, os.O_RDWR | os.O_NOFOLLOW)
            except BaseException:
                self.remove(path)
                raise

    def _open(self, path: str, flags: int) -> OsFile:
        try:
            descriptor = os.open(path, flags | _OPEN_FLAGS)
        except HOST_ERRORS as error:
            if isinstance(error, OSError) and error.errno in _NOT_OPENABLE:
                raise not_regular(path, DIRECTORY if error.errno == errno.EISDIR else OTHER) from error
            raise translated(error, "open", path) from error
        try:
            with reported("look at", path):
                kind = _kind(os.fstat(descriptor).st_mode)
            if kind != FILE:
                raise not_regular(path, kind)
        except BaseException:
            release(descriptor)
            raise
        return OsFile(path, descriptor, self.capabilities)

    def stat(self, path: str) -> Optional[Stat]:
        """Facts of what ``path`` leads to, or None when there is nothing."""
        return _stat(path, follow=True)

    def lstat(self, path: str) -> Optional[Stat]:
        """Facts of the entry itself, links not followed, or None."""
        return _stat(path, follow=False)

    def list_directory(self, path: str) -> List[str]:
        """The names in a directory, sorted."""
        with reported("list", path):
            return sorted(repeated(os.listdir, path))

    def real_path(self, path: str) -> str:
        """The absolute path with every link resolved; what does not exist is kept as it is."""
        with reported("resolve", path):
            return os.path.realpath(path)

    def make_directory(self, path: str) -> None:
        """Create one directory that must not exist."""
        with reported("create the directory", path):
            os.mkdir(path)

    def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        """Give a file or directory a new name in one step; without ``replace`` one that nothing has."""
        with reported(f"rename {old} to", new):
            if replace:
                os.rename(old, new)
            elif not (self.capabilities.exchange and kernel.rename_new(old, new)):
                # Where the host cannot do it in one step, somebody may still come between.
                if os.path.lexists(new):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new)
                os.rename(old, new)

    def exchange(self, one: str, other: str) -> bool:
        """Swap two names in one step; False, with nothing done, where the host cannot."""
        if not self.capabilities.exchange:
            return False
        with reported(f"exchange {one} with", other):
            return kernel.exchange(one, other)

    def remove(self, path: str) -> None:
        """Remove a file; its absence is no error."""
        with reported("remove", path):
            try:
                repeated(os.unlink, path)
            except FileNotFoundError:
                pass

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory; its absence is no error."""
        with reported("remove the directory", path):
            try:
                repeated(os.rmdir, path)
            except FileNotFoundError:
                pass

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory have reached the medium."""
        with reported("sync the directory", path):
            descriptor = os.open(path, _DIRECTORY_FLAGS)
            try:
                kernel.sync(descriptor, full=self.capabilities.full_fsync)
            except OSError as error:
                # Some file systems sync names by themselves and refuse to be asked.
                if error.errno not in REFUSED:
                    raise
            finally:
                release(descriptor)

    def set_attributes(self, path: str, *, mode: int, uid: int, gid: int) -> None:
        """Give a file or directory these permission bits and, where the process may, this owner."""
        with reported("set the owner and mode of", path):
            now = repeated(os.stat, path)
            if (now.st_uid, now.st_gid) != (uid, gid):
                _change_owner(path, uid, gid)
                # A change of owner clears the set-id bits.
                now = repeated(os.stat, path)
            if modes.S_IMODE(now.st_mode) != mode:
                repeated(os.chmod, path, mode)

    def shares_blocks(self, source: File, offset: int, directory: str) -> bool:
        """Whether new files in ``directory`` could have these blocks of ``source``; a file without a name tries it."""
        if not isinstance(source, OsFile) or not self.capabilities.clone or not _NAMELESS:
            return False
        try:
            descriptor = os.open(directory, os.O_RDWR | _NAMELESS | _OPEN_FLAGS, 0o600)
        except HOST_ERRORS:
            return False
        file = OsFile(directory, descriptor, self.capabilities)
        try:
            return file.share_from(source, offset, 0, _BLOCK)
        except DiskError:
            return False
        finally:
            file.close()

    def clones_files(self, path: str, directory: str) -> bool:
        """Whether ``clone`` should work for the file ``path`` and new ones in ``directory``."""
        if not self.capabilities.clone_file:
            return False
        try:
            one, other = (repeated(os.stat, name) for name in (path, directory))
        except HOST_ERRORS:
            return False
        return one.st_dev == other.st_dev and _is_clonable(one) and kernel.clones_files(directory)

    def free_space(self, path: str) -> int:
        """Bytes that may still be written to the file system of ``path``."""
        with reported("measure the free space at", path):
            facts = repeated(os.statvfs, path)
        return facts.f_bavail * facts.f_frsize

    write_refusal = staticmethod(write_refusal)

    def holders(self, paths: Sequence[str]) -> Tuple[Tuple[str, Holder], ...]:
        """Who holds these files and directories, found without taking a lock. What this port holds is left out."""
        return self._locks.holders(paths)

    def writers(self, path: str) -> Tuple[Holder, ...]:
        """Who holds the file for writing."""
        return self._locks.writers(path)

    def lock(self, directories: Tuple[str, ...], files: Tuple[str, ...]) -> OsLock:
        """Take directories and image files for writing, at once or not at all; raises InUse with who holds them."""
        return self._locks.take(directories, files)


def _stat(path: str, *, follow: bool) -> Optional[Stat]:
    try:
        facts = repeated(os.stat, path, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except HOST_ERRORS as error:
        raise translated(error, "look at", path) from error
    return Stat(
        kind=_kind(facts.st_mode),
        size=facts.st_size,
        allocated=facts.st_blocks * 512,
        device=facts.st_dev,
        inode=facts.st_ino,
        mtime_ns=facts.st_mtime_ns,
        mode=modes.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
        block=max(4096, facts.st_blksize),
        links=facts.st_nlink,
    )


def _kind(mode: int) -> str:
    if modes.S_ISREG(mode):
        return FILE
    if modes.S_ISDIR(mode):
        return DIRECTORY
    return SYMLINK if modes.S_ISLNK(mode) else OTHER


def _is_clonable(facts: os.stat_result) -> bool:
    return not getattr(facts, "st_flags", 0) & ~_HARMLESS_FLAGS


def _change_owner(path: str, uid: int, gid: int) -> None:
    """Both owners, else the group alone, else nothing: only root may give files away."""
    for owner in (uid, -1):
        try:
            repeated(os.chown, path, owner, gid)
            return
        except OSError as error:
            # EINVAL: the number has no meaning in this user namespace.
            if error.errno not in (errno.EPERM, errno.EINVAL):
                raise

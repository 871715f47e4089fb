# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""``OsPort``: the operating system behind the port."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import os
import stat as modes
from typing import List, Optional, Sequence, Tuple

from .._core.errors import DiskError, IoFailure, StalePlan
from . import kernel
from .capabilities import Capabilities, detect
from .failures import HOST_ERRORS, REFUSED, not_regular, reported, translated
from .host.access import removal_refusal, write_refusal
from .host.file import OsFile
from .host.names import Names
from .kernel import release, repeated
from .locking.locks import Locks, OsLock
from .port import DIRECTORY, FILE, OTHER, SYMLINK, File, Holder, Stat
from .process import umask

_NOT_OPENABLE = (errno.EISDIR, errno.ENXIO, errno.ENODEV)
_BLOCK = 4096
_ALL = 0o777
# Marks of macOS that a clone may take over from its source; with others it might be neither written nor removed, or not
# seen.
_HARMLESS_FLAGS = modes.UF_COMPRESSED | modes.SF_ARCHIVED
_NAMELESS = getattr(os, "O_TMPFILE", 0)


class OsPort:
    """The file system of the host and its locks. Implements ``Port``."""

    def __init__(self, capabilities: Optional[Capabilities] = None) -> None:
        self.capabilities = detect() if capabilities is None else capabilities
        self.names = Names()
        self._locks = Locks(self.capabilities, self.names)
        self._most = _ALL
        self._group: Optional[int] = None

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
        """Create a file that must not exist, for reading and writing, no more open than ``cover`` says."""
        with reported("create", path):
            descriptor, facts = self.names.create(path, self._allowed(mode, None))
            try:
                allowed = self._allowed(mode, facts.st_gid)
                if self._group == facts.st_gid and modes.S_IMODE(facts.st_mode) != allowed:
                    repeated(os.fchmod, descriptor, allowed & ~umask())
                self._close_to_named(descriptor, allowed)
            except BaseException:
                release(descriptor)
                raise
        return OsFile(path, descriptor, self.capabilities)

    def _close_to_named(self, descriptor: int, mode: int) -> None:
        """Nobody gets what is for the group by a list that the folder gives to new files, where there is a cover."""
        if self._most != _ALL and mode & 0o070 & ~(mode << 3):
            from .host.attributes import drop_list

            drop_list(descriptor, mode & ~umask())

    def _allowed(self, mode: int, gid: Optional[int]) -> int:
        """The permission bits that a new file of this group may have."""
        mode &= self._most
        return mode if self._group in (None, gid) else mode & (~0o070 | mode << 3)

    def cover(self, mode: int = 0o777, like: Sequence[str] = ()) -> None:
        """From now on new files get no bits beyond ``mode``, and let nobody in whom a file of ``like`` keeps out."""
        from .host.attributes import permissions, without_group

        self._most &= mode
        groups = set() if self._group is None else {self._group}
        for path in like:
            with reported("look at", path):
                descriptor, facts = self.names.open(path, os.O_RDONLY)
                try:
                    self._most &= permissions(descriptor, facts) | 0o600
                finally:
                    release(descriptor)
                groups.add(facts.st_gid)
        self._group = next(iter(groups), None)
        if len(groups) > 1:
            self._most = without_group(self._most)

    def forget(self, directory: str) -> None:
        """Forget which files lie in a directory: the next look decides."""
        self.names.pins.forget(directory)

    def clone(self, source: File, path: str, mode: int = 0o666) -> Optional[OsFile]:
        """Create a file that must not exist with all blocks of ``source``; None where the host cannot."""
        if not isinstance(source, OsFile) or not self.capabilities.clone_file:
            return None
        with reported(f"clone {source.path} to", path):
            descriptor = source._descriptor  # pylint: disable=protected-access
            model = os.fstat(descriptor)
            folder, name, path = self.names.place(path)
            if not _is_clonable(model) or not kernel.clone_file(descriptor, folder, name):
                return None
            self.names.pins.drop(path)
            try:
                return self._opened_clone(path, model, mode)
            except BaseException:
                self.remove(path)
                raise

    def _opened_clone(self, path: str, model: os.stat_result, mode: int) -> OsFile:
        # A clone comes without a descriptor, and with the mode of its source, which may forbid to write.
        looked = self.names.open(path, os.O_RDONLY)
        try:
            facts = looked[1]
            if (facts.st_size, facts.st_mtime_ns, facts.st_nlink) != (model.st_size, model.st_mtime_ns, 1):
                raise StalePlan("Somebody put another file in the place of a new one", path=path, hint="Run again.")
            allowed = self._allowed(mode, facts.st_gid)
            repeated(os.fchmod, looked[0], allowed & ~umask())
            self._close_to_named(looked[0], allowed)
            repeated(os.utime, looked[0])
            return self._open(path, os.O_RDWR)
        finally:
            release(looked[0])

    def _open(self, path: str, flags: int) -> OsFile:
        try:
            descriptor, facts = self.names.open(path, flags)
        except HOST_ERRORS as error:
            if isinstance(error, OSError) and error.errno in _NOT_OPENABLE:
                raise not_regular(path, DIRECTORY if error.errno == errno.EISDIR else OTHER) from error
            raise translated(error, "open", path) from error
        kind = _kind(facts.st_mode)
        if kind != FILE:
            release(descriptor)
            raise not_regular(path, kind)
        return OsFile(path, descriptor, self.capabilities)

    def stat(self, path: str) -> Optional[Stat]:
        """Facts of what ``path`` leads to, or None when there is nothing."""
        try:
            facts = self.lstat(path)
        except DiskError as error:
            if error.code != "escape":
                raise
        else:
            if facts is None or facts.kind != SYMLINK:
                return facts
        facts = self.lstat(self.real_path(path))
        if facts is not None and facts.kind == SYMLINK:
            raise translated(OSError(errno.ELOOP, os.strerror(errno.ELOOP)), "look at", path)
        return facts

    def lstat(self, path: str) -> Optional[Stat]:
        """Facts of the entry itself, links not followed, or None."""
        try:
            facts = self.names.look(path)
        except HOST_ERRORS as error:
            raise translated(error, "look at", path) from error
        return None if facts is None else _stat(facts)

    def list_directory(self, path: str) -> List[str]:
        """The names in a directory, sorted."""
        with reported("list", path):
            return sorted(self.names.list(path))

    def real_path(self, path: str) -> str:
        """The absolute path with every link resolved; what does not exist is kept as it is."""
        with reported("resolve", path):
            return self.names.resolve(path)

    def make_directory(self, path: str) -> None:
        """Create one directory that must not exist."""
        with reported("create the directory", path):
            self.names.make_folder(path)

    def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        """Give a file or directory a new name in one step; without ``replace`` one that nothing has."""
        with reported(f"rename {old} to", new):
            self.names.rename(old, new, replace=replace, in_one_step=self.capabilities.exchange)

    def exchange(self, one: str, other: str) -> bool:
        """Swap two names in one step; False, with nothing done, where the host cannot."""
        if not self.capabilities.exchange:
            return False
        with reported(f"exchange {one} with", other):
            return self.names.exchange(one, other)

    def remove(self, path: str) -> None:
        """Remove a file; its absence is no error."""
        with reported("remove", path):
            self.names.remove(path)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory; its absence is no error."""
        with reported("remove the directory", path):
            self.names.remove_folder(path)

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory have reached the medium."""
        with reported("sync the directory", path):
            descriptor = self.names.open_folder(path)
            try:
                kernel.sync(descriptor, full=self.capabilities.full_fsync)
            except OSError as error:
                # Some file systems sync names by themselves and refuse to be asked.
                if error.errno not in REFUSED:
                    raise
            finally:
                release(descriptor)

    def set_attributes(self, path: str, *, mode: int, uid: int, gid: int) -> None:
        """Give a file or directory these permission bits and this owner; what the host refuses is an error."""
        with reported("set the owner and mode of", path):
            descriptor, now = self.names.open(path, os.O_RDONLY)
            try:
                if (now.st_uid, now.st_gid) != (uid, gid):
                    repeated(os.fchown, descriptor, uid, gid)
                    # A change of owner clears the set-id bits.
                    now = os.fstat(descriptor)
                if modes.S_IMODE(now.st_mode) != mode:
                    repeated(os.fchmod, descriptor, mode)
            finally:
                release(descriptor)

    def shares_blocks(self, source: File, offset: int, directory: str) -> bool:
        """Whether new files in ``directory`` could have these blocks of ``source``; a file without a name tries it."""
        if not isinstance(source, OsFile) or not self.capabilities.clone or not _NAMELESS:
            return False
        try:
            descriptor = self.names.open_nameless(directory, _NAMELESS)
        except (*HOST_ERRORS, DiskError):
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
    removal_refusal = staticmethod(removal_refusal)

    def holders(self, paths: Sequence[str]) -> Tuple[Tuple[str, Holder], ...]:
        """Who holds these files and directories, found without taking a lock. What this port holds is left out."""
        return self._locks.holders(paths)

    def writers(self, path: str) -> Tuple[Holder, ...]:
        """Who holds the file for writing."""
        return self._locks.writers(path)

    def lock(self, directories: Tuple[str, ...], files: Tuple[str, ...], *, for_reading: bool = False) -> OsLock:
        """Take directories and image files, at once or not at all; raises InUse with who holds them."""
        return self._locks.take(directories, files, for_reading=for_reading)


def _stat(facts: os.stat_result) -> Stat:
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

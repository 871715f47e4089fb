# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Locks: who holds an image, and holding it so that others stay away.

Three customs meet on one image (format reference, section 3.5)::

    QEMU             read locks on bytes: 100 + n for what it does, 200 + n for what others must not do;
                     n = 0 read, 1 write, 2 write unchanged, 3 resize
    ploop            read locks on bytes 200-204, long operations on 300-304; older ones flock DiskDescriptor.xml.lck
    prl_disk_tool    flock on the image
    this collection  flock on the bundle's directory and on each image, and all the byte locks of a writing QEMU;
                     where it only reads for long, shared flocks and the byte locks of a reading QEMU

Byte locks are open file description locks: they belong to the open file, so neither another thread that closes the same
file nor a library can drop them.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import fcntl
import os
import stat as modes
import struct
import sys
from typing import Dict, List, Optional, Sequence, Tuple

from ..._core.errors import InUse, NoPermission, StalePlan
from ..capabilities import Capabilities
from ..failures import HOST_ERRORS, REFUSED, not_regular, reported, translated
from ..host.names import Identity, Names, identity
from ..kernel import release
from ..port import Holder
from . import owners

WRITE = "write"
READ = "read"
FLOCK = "flock"

# Opens a file on Linux only so far that it says which one it is.
_UNREAD = getattr(os, "O_PATH", os.O_RDONLY)

LOCK_FILE = "DiskDescriptor.xml.lck"

_HELD_BYTES = (100, 101, 103, 201, 203)
_HELD_BY_READERS = (100, 201, 203)
_PROBED_BYTES = tuple(base + bit for base in (100, 200, 300) for bit in range(5))
_WRITER_BYTES = frozenset((101, 103)) | frozenset(range(300, 305))
# Somebody on one of these either writes or does not let others read, write or resize.
_CONFLICTING_BYTES = (101, 103, 200, 201, 203, 300, 301, 302, 303, 304)
_CONFLICTING_WITH_READERS = (101, 103, 200, 300, 301, 302, 303, 304)

_DARWIN = sys.platform == "darwin"
# The fcntl module names these from Python 3.9 on, and only on Linux.
_F_OFD_SETLK, _F_OFD_GETLK = (90, 92) if _DARWIN else (37, 36)
_FLOCK_LAYOUT = "qqihh" if _DARWIN else "hhqqi4x"

_UNSUPPORTED = REFUSED | {errno.ENOLCK}
_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK)
_NOT_FOR_WRITING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ETXTBSY)


class OsLock:
    """What ``OsPort.lock`` took. ``warnings`` names the customs that a file system did not allow to follow."""

    def __init__(self, registry: Dict[Identity, int], for_reading: bool) -> None:
        self.warnings: Tuple[str, ...] = ()
        self.for_reading = for_reading
        self._registry = registry
        self._taken: List[Tuple[Identity, int]] = []

    def keep(self, identity: Identity, descriptor: int) -> None:
        """Own ``descriptor``, which carries locks, until the release."""
        self._taken.append((identity, descriptor))
        self._registry[identity] = descriptor

    def owns(self, identity: Identity) -> bool:
        """Whether this very lock holds the file."""
        return any(identity == taken for taken, _descriptor in self._taken)

    def warn(self, text: str) -> None:
        """Add a warning."""
        self.warnings += (text,)

    def release(self) -> None:
        """Give everything back; a second call does nothing."""
        while self._taken:
            identity, descriptor = self._taken.pop()
            self._registry.pop(identity, None)
            # Closing the only descriptor of an open file ends all its locks.
            release(descriptor)


class Locks:
    """The locks of one port. What it holds itself never counts as somebody else's."""

    def __init__(self, capabilities: Capabilities, names: Names) -> None:
        self._can = capabilities
        self._names = names
        self._registry: Dict[Identity, int] = {}

    def holders(self, paths: Sequence[str]) -> Tuple[Tuple[str, Holder], ...]:
        """Who holds these files and directories; nobody what is absent or neither of the two."""
        listed = owners.LockLists()
        return tuple((path, holder) for path in paths for holder in self._holders(path, listed))

    def _holders(self, path: str, listed: owners.LockLists) -> Tuple[Holder, ...]:
        facts = self._facts(path)
        if facts is None:
            return ()
        if modes.S_ISDIR(facts.st_mode):
            inside = os.path.join(path, LOCK_FILE)
            return self._flock_holders(path, listed) + (
                self._flock_holders(inside, listed) if self._is_file(inside) else ()
            )
        if not modes.S_ISREG(facts.st_mode):
            return ()
        return self._byte_holders(path, listed) + self._flock_holders(path, listed)

    def writers(self, path: str) -> Tuple[Holder, ...]:
        """Who holds the file for writing, by its byte locks. A flock says nothing of that."""
        facts = self._facts(path)
        if facts is None or not modes.S_ISREG(facts.st_mode):
            return ()
        return tuple(holder for holder in self._byte_holders(path, owners.LockLists()) if holder.kind == WRITE)

    def _byte_holders(self, path: str, listed: owners.LockLists) -> Tuple[Holder, ...]:
        if not self._can.ofd_locks:
            return ()
        descriptor, own = self._descriptor(path)
        try:
            return _found_holders(path, descriptor, self._can, listed)
        finally:
            if own:
                release(descriptor)

    def _flock_holders(self, path: str, listed: owners.LockLists) -> Tuple[Holder, ...]:
        if not self._can.proc:
            return ()
        try:
            descriptor, own = self._descriptor(path)
        except NoPermission:
            # A file that may not be read, such as the lock file of somebody else, still says which one it is.
            descriptor, own = self._descriptor(path, _UNREAD)
        try:
            skipped = None if own else os.getpid()
            found = listed.flocks(descriptor)
            return tuple(Holder(FLOCK, owners.describe(pid), shared) for pid, shared in found if pid != skipped)
        finally:
            if own:
                release(descriptor)

    def _descriptor(self, path: str, flags: int = os.O_RDONLY) -> Tuple[int, bool]:
        """A descriptor to ask through, the one with locks where this port holds some; and whether to close it."""
        descriptor, facts = self._opened(path, flags)
        held = self._registry.get(identity(facts))
        if held is None:
            return descriptor, True
        release(descriptor)
        return held, False

    def take(self, directories: Tuple[str, ...], files: Tuple[str, ...], *, for_reading: bool) -> OsLock:
        """All of them, or InUse and none."""
        lock = OsLock(self._registry, for_reading)
        try:
            for path in directories:
                self._take_flock(lock, path, os.O_RDONLY | os.O_DIRECTORY)
                self._refuse_moved(lock, path)
                inside = os.path.join(path, LOCK_FILE)
                if self._is_file(inside):
                    self._take_flock(lock, inside, os.O_RDONLY if for_reading else os.O_RDWR)
            for path in files:
                self._take_image(lock, path)
        except BaseException:
            lock.release()
            raise
        return lock

    def _take_flock(self, lock: OsLock, path: str, flags: int) -> None:
        descriptor = self._kept(lock, path, flags)
        if descriptor is not None:
            self._flock(lock, path, descriptor)

    def _refuse_moved(self, lock: OsLock, path: str) -> None:
        """What is locked is the folder that was opened; it must still be the one that has the name."""
        facts = self._facts(path)
        if facts is None or not lock.owns(identity(facts)):
            raise StalePlan("The directory was moved or replaced by somebody else", path=path, hint="Run again.")

    def _opened(self, path: str, flags: int) -> Tuple[int, os.stat_result]:
        """A descriptor of ``path``; only for reading where writing is refused."""
        try:
            if flags & os.O_DIRECTORY:
                descriptor = self._names.open_folder(path)
                try:
                    return descriptor, os.fstat(descriptor)
                except BaseException:
                    release(descriptor)
                    raise
            try:
                return self._names.open(path, flags)
            except OSError as error:
                if error.errno not in _NOT_FOR_WRITING or not flags & os.O_RDWR:
                    raise
                return self._names.open(path, flags & ~os.O_RDWR)
        except HOST_ERRORS as error:
            raise translated(error, "open", path) from error

    def _facts(self, path: str) -> Optional[os.stat_result]:
        try:
            return self._names.look(path)
        except HOST_ERRORS as error:
            # Not to know must not mean that nobody holds it.
            raise translated(error, "look at", path) from error

    def _is_file(self, path: str) -> bool:
        """Whether a regular file, and no link to one, lies at ``path``."""
        facts = self._facts(path)
        return facts is not None and modes.S_ISREG(facts.st_mode)

    def _take_image(self, lock: OsLock, path: str) -> None:
        descriptor = self._kept(lock, path, os.O_RDONLY if lock.for_reading else os.O_RDWR)
        if descriptor is None:
            return
        with reported("look at", path):
            is_regular = modes.S_ISREG(os.fstat(descriptor).st_mode)
        if not is_regular:
            raise not_regular(path, "something else")
        kind = owners.file_system(descriptor) if self._can.proc else ""
        if kind in owners.MANDATORY_LOCKS:
            lock.warn(f"{path}: not locked, because locks on {kind} would keep ourselves from writing")
            return
        if kind in owners.FLOCK_IS_BYTE_LOCK:
            lock.warn(f"{path}: no flock, because {kind} mistakes it for a lock on all bytes")
        else:
            self._flock(lock, path, descriptor)
        self._lock_bytes(lock, path, descriptor)

    def _kept(self, lock: OsLock, path: str, flags: int) -> Optional[int]:
        """``path`` open and owned by ``lock``; None when ``lock`` owns it already, under whatever name."""
        descriptor, facts = self._opened(path, flags)
        held = self._registry.get(identity(facts))
        if held is None:
            lock.keep(identity(facts), descriptor)
            return descriptor
        release(descriptor)
        if lock.owns(identity(facts)):
            return None
        raise _in_use(path, Holder(FLOCK, "this process"))

    def _flock(self, lock: OsLock, path: str, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if lock.for_reading else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                found = owners.LockLists().flocks(descriptor) if self._can.proc else ()
                raise _in_use(path, Holder(FLOCK, owners.describe(found[0][0]) if found else owners.UNKNOWN)) from error
            # EBADF: some network file systems want to write to what they lock.
            if error.errno not in _UNSUPPORTED and error.errno != errno.EBADF:
                raise translated(error, "lock", path) from error
            lock.warn(f"{path}: no flock, because the file system refuses it ({os.strerror(error.errno)})")

    def _lock_bytes(self, lock: OsLock, path: str, descriptor: int) -> None:
        if not self._can.ofd_locks:
            lock.warn(f"{path}: no byte locks on this host, so QEMU and ploop are not kept out")
            return
        held = _HELD_BY_READERS if lock.for_reading else _HELD_BYTES
        unwanted = _CONFLICTING_WITH_READERS if lock.for_reading else _CONFLICTING_BYTES
        try:
            for byte in held:
                _set_read_lock(descriptor, byte)
            conflict = next((byte for byte in unwanted if _byte_lock(descriptor, byte) is not None), None)
        except OSError as error:
            if error.errno in _TAKEN:
                raise self._held_by_others(path, descriptor) from error
            if error.errno not in _UNSUPPORTED:
                raise translated(error, "lock bytes of", path) from error
            lock.warn(
                f"{path}: the file system has no byte locks ({os.strerror(error.errno)}), "
                "so QEMU and ploop are not kept out"
            )
            return
        if conflict is not None:
            raise self._held_by_others(path, descriptor)

    def _held_by_others(self, path: str, descriptor: int) -> InUse:
        found = _found_holders(path, descriptor, self._can, owners.LockLists())
        return _in_use(path, found[0] if found else Holder(READ, owners.UNKNOWN))


def _found_holders(
    path: str, descriptor: int, capabilities: Capabilities, listed: owners.LockLists
) -> Tuple[Holder, ...]:
    """Who is seen on the bytes that QEMU and ploop use, apart from ``descriptor`` itself.

    Nobody where it cannot be asked.
    """
    try:
        if _byte_lock(descriptor, _PROBED_BYTES[0], _PROBED_BYTES[-1] - _PROBED_BYTES[0] + 1) is None:
            return ()
        seen = {byte: _byte_lock(descriptor, byte) for byte in _PROBED_BYTES}
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return ()
        raise translated(error, "ask for the locks of", path) from error
    taken = {byte: found for byte, found in seen.items() if found is not None}
    kind = _kind_of(taken)
    if kind is None:
        return ()
    pids = [pid for _exclusive, pid in taken.values() if pid > 0]
    names = (
        listed.byte_lock_owners(descriptor)
        if capabilities.proc and not pids
        else tuple(owners.describe(pid) for pid in sorted(set(pids)))
    )
    return tuple(Holder(kind, name) for name in names) or (Holder(kind, owners.UNKNOWN),)


def _kind_of(taken: Dict[int, Tuple[bool, int]]) -> Optional[str]:
    if any(exclusive or byte in _WRITER_BYTES for byte, (exclusive, _pid) in taken.items()):
        return WRITE
    return READ if any(byte in _CONFLICTING_BYTES for byte in taken) else None


def _byte_lock(descriptor: int, start: int, length: int = 1) -> Optional[Tuple[bool, int]]:
    """The first lock of another open file against a write lock: whether it is exclusive, and its pid (-1: none)."""
    kind, pid = _unpack(fcntl.fcntl(descriptor, _F_OFD_GETLK, _packed(fcntl.F_WRLCK, start, length)))
    return None if kind == fcntl.F_UNLCK else (kind == fcntl.F_WRLCK, pid)


def _set_read_lock(descriptor: int, byte: int) -> None:
    fcntl.fcntl(descriptor, _F_OFD_SETLK, _packed(fcntl.F_RDLCK, byte, 1))


def _packed(kind: int, start: int, length: int) -> bytes:
    """A ``struct flock`` of this host; the pid must be 0."""
    if _DARWIN:
        return struct.pack(_FLOCK_LAYOUT, start, length, 0, kind, os.SEEK_SET)
    return struct.pack(_FLOCK_LAYOUT, kind, os.SEEK_SET, start, length, 0)


def _unpack(answer: bytes) -> Tuple[int, int]:
    """The kind and the pid of a ``struct flock``."""
    fields = struct.unpack(_FLOCK_LAYOUT, answer)
    return (fields[3], fields[2]) if _DARWIN else (fields[0], fields[4])


def _in_use(path: str, holder: Holder) -> InUse:
    what = {WRITE: "open for writing", READ: "protected against writing", FLOCK: "locked"}[holder.kind]
    return InUse(
        f"{path} is {what} by {holder.owner}",
        path=path,
        found=f"{holder.kind}: {holder.owner}",
        hint=f"Stop {holder.owner} or wait, then run again.",
    )

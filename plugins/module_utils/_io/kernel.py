# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""System calls that the standard library lacks, or that a file system may refuse. Each says whether it was done."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import Any, Callable, Optional, TypeVar

from .failures import REFUSED

_FICLONERANGE = 0x4020940D
_CLONE_ALIGNMENT = 4096
# EAGAIN: OpenZFS clones nothing that was written a moment ago.
_KERNEL_CANNOT_COPY = REFUSED | {errno.EXDEV, errno.EPERM, errno.EACCES, errno.ETXTBSY, errno.EBADF, errno.EAGAIN}

_SYNC_FILE_RANGE_WRITE = 2

_EXT4_MAGIC = 0xEF53
# NFS, the two clients for SMB, Ceph, and whatever is a process or another machine behind FUSE (linux/magic.h).
_REMOTE_MAGICS = frozenset((0x6969, 0xFF534D42, 0xFE534D42, 0x00C36400, 0x65735546))

_RENAME_EXCHANGE = 2
_RENAME_SWAP = 2
_RENAME_NOREPLACE = 1
_RENAME_EXCL = 4

_CLONE_NOFOLLOW = 1
_CLONE_NOOWNERCOPY = 2
_COPYFILE_ACL = 1
_COPYFILE_XATTR = 4
# struct statfs of macOS: its length, with room to spare, and where the name of the file system lies.
_STATFS_BYTES = 4096
_STATFS_NAME = slice(72, 88)

_KEEP_SIZE = 1
_PUNCH_HOLE_KEEP_SIZE = 2 | _KEEP_SIZE

_F_PUNCHHOLE = 99
_F_PREALLOCATE = 42
_F_ALLOCATEALL = 4
_F_PEOFPOSMODE = 3
_F_RDADVISE = 44
_F_FULLFSYNC = getattr(fcntl, "F_FULLFSYNC", 51)

_library: Optional[Any] = None
_Answer = TypeVar("_Answer")


def _libc() -> Any:
    """The C library through ctypes, or an object without any function where there is no ctypes."""
    global _library  # pylint: disable=global-statement
    if _library is None:
        try:
            import ctypes  # costs 10 ms, and most runs need none of this

            _library = ctypes.CDLL(None, use_errno=True)
        except (ImportError, OSError):
            _library = object()
    return _library


def _called(function: Any, *arguments: Any) -> int:
    """The errno of a C function that returns 0 or -1; 0 for success. EINTR is retried."""
    import ctypes

    while function(*arguments) != 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            return number
    return 0


def repeated(function: Callable[..., _Answer], *arguments: Any, **options: Any) -> _Answer:
    """The answer of a call that Python does not repeat after a signal (PEP 475 names those that it does)."""
    while True:
        try:
            return function(*arguments, **options)
        except InterruptedError:
            continue


def release(descriptor: int) -> None:
    """Close.

    What the host says to that is no news: the descriptor is gone, and what had to reach the medium was synced before.
    """
    try:
        os.close(descriptor)
    except OSError:
        pass


def sync_file_range(descriptor: int, offset: int, length: int) -> bool:
    """Start to write the range back without waiting."""
    function = getattr(_libc(), "sync_file_range", None)
    if function is None:
        return False
    import ctypes

    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return _called(function, descriptor, offset, length, _SYNC_FILE_RANGE_WRITE) == 0


def exchange(above: int, one: str, folder: int, other: str) -> bool:
    """Swap a name in each of two folders in one step. False where the host cannot; OSError for any other refusal."""
    return _renamed(above, one, folder, other, _RENAME_EXCHANGE, _RENAME_SWAP)


def rename_new(above: int, old: str, folder: int, new: str) -> bool:
    """Rename to a name that nobody has in ``folder``.

    False where the host cannot make sure of that; OSError (EEXIST) when somebody has it.
    """
    return _renamed(above, old, folder, new, _RENAME_NOREPLACE, _RENAME_EXCL)


def _renamed(above: int, one: str, folder: int, other: str, linux: int, darwin: int) -> bool:
    first, second = os.fsencode(one), os.fsencode(other)
    if b"\0" in first + second:
        raise ValueError("embedded null byte")
    library = _libc()
    if hasattr(library, "renameat2"):
        number = _called(library.renameat2, above, first, folder, second, linux)
    elif hasattr(library, "renameatx_np"):
        number = _called(library.renameatx_np, above, first, folder, second, darwin)
    else:
        return False
    if number in REFUSED:
        return False
    if number:
        raise OSError(number, os.strerror(number))
    return True


def clone_range(source: int, source_offset: int, target: int, offset: int, length: int) -> int:
    """Share the blocks of a range, as far as it is aligned. The bytes done: a multiple of 4096, or 0."""
    length -= length % _CLONE_ALIGNMENT
    if not length or source_offset % _CLONE_ALIGNMENT or offset % _CLONE_ALIGNMENT:
        return 0
    try:
        repeated(fcntl.ioctl, target, _FICLONERANGE, struct.pack("=qQQQ", source, source_offset, length, offset))
    except OSError as error:
        if error.errno in _KERNEL_CANNOT_COPY:
            return 0
        raise
    return length


def clone_file(source: int, folder: int, name: str) -> bool:
    """Make ``name`` a new file with all blocks of another (fclonefileat of macOS), owned by this process.

    False where that cannot be.

    Raises OSError for any other refusal, EEXIST where there is something.
    """
    target = os.fsencode(name)
    if b"\0" in target:
        raise ValueError("embedded null byte")
    function = getattr(_libc(), "fclonefileat", None)
    if function is None:
        return False
    number = _called(function, source, folder, target, _CLONE_NOFOLLOW | _CLONE_NOOWNERCOPY)
    if number in _KERNEL_CANNOT_COPY:
        return False
    if number:
        raise OSError(number, os.strerror(number))
    return True


def clones_files(path: str) -> bool:
    """Whether the file system of ``path`` is one of macOS that clones whole files; False where unknown."""
    library = _libc()
    # On Intel the plain name belongs to a structure of long ago.
    function = getattr(library, "statfs$INODE64", None) or getattr(library, "statfs", None)
    if function is None:
        return False
    import ctypes

    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    return _called(function, os.fsencode(path), answer) == 0 and answer.raw[_STATFS_NAME].split(b"\0")[0] == b"apfs"


def copy_attributes(source: int, target: int) -> bool:
    """Give a file the access control list and the extended attributes of another (fcopyfile of macOS)."""
    function = getattr(_libc(), "fcopyfile", None)
    return function is not None and _called(function, source, target, None, _COPYFILE_ACL | _COPYFILE_XATTR) == 0


def copy_range(source: int, source_offset: int, target: int, offset: int, length: int) -> int:
    """copy_file_range until all is done, the source ends or the kernel cannot. The bytes done."""
    done = 0
    while done < length:
        try:
            step = os.copy_file_range(source, target, min(length - done, 1 << 30), source_offset + done, offset + done)
        except OSError as error:
            if error.errno in _KERNEL_CANNOT_COPY:
                break
            raise
        if step <= 0:
            break
        done += step
    return done


def preallocate(descriptor: int, length: int) -> bool:
    """Reserve ``length`` bytes after the last block (F_PREALLOCATE of macOS). The size of the file stays."""
    try:
        fcntl.fcntl(descriptor, _F_PREALLOCATE, struct.pack("=Iiqqq", _F_ALLOCATEALL, _F_PEOFPOSMODE, 0, length, 0))
    except OSError as error:
        if error.errno in REFUSED:
            return False
        raise
    return True


def fallocate(descriptor: int, offset: int, length: int) -> bool:
    """posix_fallocate. False where the file system cannot reserve."""
    try:
        os.posix_fallocate(descriptor, offset, length)
    except OSError as error:
        if error.errno in REFUSED:
            return False
        raise
    return True


def reserve(descriptor: int, offset: int, length: int) -> bool:
    """Take blocks for a range that is about to be written, in one piece; the size of the file stays.

    False where that did not work, for whatever reason.
    """
    return _fallocate(descriptor, _KEEP_SIZE, offset, length) == 0


def is_ext4(descriptor: int) -> bool:
    """Whether the file lies on ext2, ext3 or ext4; False where unknown."""
    return _file_system(descriptor) == _EXT4_MAGIC


def is_remote(descriptor: int) -> bool:
    """Whether the file system is one of the network, or FUSE, whose server may copy; False where unknown."""
    return _file_system(descriptor) in _REMOTE_MAGICS


def _file_system(descriptor: int) -> Optional[int]:
    """The number of the type of the file system (fstatfs of Linux); None where unknown."""
    function = getattr(_libc(), "fstatfs64", None) or getattr(_libc(), "fstatfs", None)
    if function is None:
        return None
    import ctypes

    function.argtypes = (ctypes.c_int, ctypes.c_void_p)
    # The type is the first field, a word; the whole is shorter than this everywhere.
    answer = (ctypes.c_long * 64)()
    # Where a word has 32 bits, some types are negative.
    return None if _called(function, descriptor, answer) else answer[0] & 0xFFFFFFFF


def _fallocate(descriptor: int, mode: int, offset: int, length: int) -> Optional[int]:
    """The errno of fallocate of Linux, 0 for success; None where there is no such call."""
    library = _libc()
    # Where both exist, only this one has 64-bit offsets on every machine.
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is None:
        return None
    import ctypes

    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return _called(function, descriptor, mode, offset, length)


def punch_hole(descriptor: int, offset: int, length: int) -> bool:
    """Give the blocks of a range back; the size of the file stays. False where the file system has no holes.

    By fallocate with PUNCH_HOLE and KEEP_SIZE, where there is none by F_PUNCHHOLE of macOS, which wants whole blocks.
    """
    number = _fallocate(descriptor, _PUNCH_HOLE_KEEP_SIZE, offset, length)
    if number is None:
        number = _fcntl_errno(descriptor, _F_PUNCHHOLE, struct.pack("=IIqq", 0, 0, offset, length))
    if number in REFUSED:
        return False
    if number:
        raise OSError(number, os.strerror(number))
    return True


def _fcntl_errno(descriptor: int, command: int, argument: bytes) -> int:
    try:
        fcntl.fcntl(descriptor, command, argument)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def read_advice(descriptor: int, offset: int, length: int) -> None:
    """Begin to read a range (F_RDADVISE of macOS)."""
    fcntl.fcntl(descriptor, _F_RDADVISE, struct.pack("=qi4x", offset, min(length, 0x7FFFFFFF)))


def sync(descriptor: int, *, full: bool) -> None:
    """fsync, with ``full`` F_FULLFSYNC where the file system has it."""
    if full:
        try:
            fcntl.fcntl(descriptor, _F_FULLFSYNC)
            return
        except OSError as error:
            if error.errno not in REFUSED:
                raise
    os.fsync(descriptor)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The port: every system call that the engine makes, in one small contract.

``OsPort`` in ``real`` is the operating system. Tests put a recording, failing or forgetting port in its place.
All offsets and lengths are bytes. Every method that the operating system refuses raises IoFailure (or its kin NotFound,
AlreadyExists, NoSpace) with the path; nothing is retried silently except EINTR and short transfers.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, List, Optional, Protocol, Sequence, Tuple, Union

from .._core.errors import DiskError
from .._core.records import dataclass

Buffer = Union[bytes, bytearray, memoryview]

FILE = "file"
DIRECTORY = "directory"
SYMLINK = "symlink"
OTHER = "other"


@dataclass(frozen=True)
class Stat:
    """Facts of a directory entry; ``allocated`` is the host's blocks in bytes, ``block`` the size of one, ``links`` the
    number of its names.
    """

    kind: str
    size: int
    allocated: int
    device: int
    inode: int
    mtime_ns: int
    mode: int
    uid: int
    gid: int
    block: int = 4096
    links: int = 1


@dataclass(frozen=True)
class Holder:
    """Somebody who holds a file.

    ``kind`` is write, read or flock; ``owner`` names the process as far as it is known. A flock ``is_shared`` when
    others may have one, too.
    """

    kind: str
    owner: str
    is_shared: bool = False


class File(Protocol):
    """An open regular file with positional access only, so that threads may share it."""

    path: str

    def size(self) -> int:
        """The length now."""

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; fewer bytes than asked come back only at the end of the file."""

    def pwrite(self, offset: int, buffer: Buffer) -> None:
        """Write all of ``buffer`` at ``offset``."""

    def truncate(self, size: int) -> None:
        """Cut, or grow with a hole."""

    def allocate(self, offset: int, length: int) -> None:
        """Reserve host blocks for the range; the file grows when it must, new bytes read as zeros."""

    def punch_hole(self, offset: int, length: int) -> bool:
        """Give the host blocks of a range back: it reads as zeros, the length stays.

        False, with nothing done, where the host cannot.

        Only whole blocks are given back; what the range covers of others becomes zeros, or is refused.
        """

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """The parts ``(start, end)`` of the range that are no holes, ascending; all of it where the host cannot say."""

    def copy_from(self, source: File, source_offset: int, offset: int, length: int) -> int:
        """Let the kernel copy (or share) bytes. Returns how many it did, 0 when it cannot; the rest is the caller's."""

    def share_from(self, source: File, source_offset: int, offset: int, length: int) -> bool:
        """Let a range have the blocks of another file, as a clone has.

        False where the host cannot: the range is to be written then.

        Offsets and length are multiples of 4096.
        """

    def copy_on_server(self, source: File, source_offset: int, offset: int, length: int) -> bool:
        """Let the server of a network file system copy a range, so that its bytes do not come here and go back.

        A kernel whose server cannot copies by itself, at no less cost than a write. False where neither does: the range
        is to be written then, all of it.
        """

    def take_attributes(self, source: File) -> None:
        """Get owner (where the process may), permissions, access control list and extended attributes of a file."""

    def sync(self) -> None:
        """Return when content and length have reached the medium."""

    def start_writeback(self, offset: int, length: int) -> None:
        """Begin to write a range back, so that the next ``sync`` finds little to do. A hint."""

    def will_need(self, offset: int, length: int) -> None:
        """Begin to read a range. A hint."""

    def close(self) -> None:
        """Release the file; a second call does nothing."""


class Lock(Protocol):
    """A hold on files that ends with ``release`` or with the process."""

    def release(self) -> None:
        """Give everything back."""


class Port(Protocol):
    """The file system and its locks.

    Paths are absolute and without links, but for those of ``stat`` and ``real_path``; every other method raises Escape
    for a link, and for a folder that has become one. A name stands for the file that it led to when this port first saw
    it; StalePlan when another one is opened, given a new owner or a new name.
    """

    def open_read(self, path: str) -> File:
        """Open a regular file for reading; anything else (a FIFO, a device, a directory) is refused without waiting."""

    def open_write(self, path: str) -> File:
        """Open a regular file for reading and writing."""

    def create(self, path: str, mode: int = 0o666) -> File:
        """Create a file that must not exist, for reading and writing."""

    def cover(self, mode: int = 0o777, like: Sequence[str] = ()) -> None:
        """From now on new files get no bits beyond ``mode``, and let nobody in whom a file of ``like`` keeps out."""

    def forget(self, directory: str) -> None:
        """Forget which files lie in a directory: the next look decides."""

    def clone(self, source: File, path: str, mode: int = 0o666) -> Optional[File]:
        """Like ``create``, with all blocks of ``source``; None, with nothing done, where the host cannot."""

    def stat(self, path: str) -> Optional[Stat]:
        """Facts of what ``path`` leads to, or None when there is nothing."""

    def lstat(self, path: str) -> Optional[Stat]:
        """Facts of the entry itself, links not followed, or None."""

    def list_directory(self, path: str) -> List[str]:
        """The names in a directory, sorted."""

    def real_path(self, path: str) -> str:
        """The absolute path with every link resolved; what does not exist is kept as it is.

        A path that leads elsewhere than it did is StalePlan.
        """

    def make_directory(self, path: str) -> None:
        """Create one directory that must not exist."""

    def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        """Rename in one step over a file or an empty directory; without ``replace`` that is AlreadyExists."""

    def exchange(self, one: str, other: str) -> bool:
        """Swap two names in one step; False, with nothing done, where the host cannot."""

    def remove(self, path: str) -> None:
        """Remove a file; its absence is no error."""

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory; its absence is no error."""

    def sync_directory(self, path: str) -> None:
        """Return when the names in a directory have reached the medium."""

    def set_attributes(self, path: str, *, mode: int, uid: int, gid: int) -> None:
        """Give a file or directory these permission bits and this owner; what the host refuses is an error."""

    def shares_blocks(self, source: File, offset: int, directory: str) -> bool:
        """Whether new files in ``directory`` could share the block of ``source`` at ``offset``, a multiple of 4096."""

    def clones_files(self, path: str, directory: str) -> bool:
        """Whether ``clone`` should work for the file ``path`` and new ones in ``directory``."""

    def free_space(self, path: str) -> int:
        """Bytes that may still be written to the file system of ``path``."""

    def write_refusal(self, path: str) -> Optional[DiskError]:
        """The error with which the host would refuse to write a file, or names in a directory; None when it would not,
        when nothing is there, or when only trying tells.
        """

    def removal_refusal(self, path: str) -> Optional[DiskError]:
        """The error with which the host would refuse to remove, rename or replace a name in a directory that may be
        written, as in one with the sticky bit; None when it would not, or when nothing is there.
        """

    def holders(self, paths: Sequence[str]) -> Tuple[Tuple[str, Holder], ...]:
        """Who holds these files and directories, with their paths, found without taking a lock.

        Ask once for many: Linux waits about 10 ms before it lists all locks of the host.
        """

    def writers(self, path: str) -> Tuple[Holder, ...]:
        """Those that hold a file for writing.

        Faster than all holders, since that list is not asked for.
        """

    def lock(self, directories: Tuple[str, ...], files: Tuple[str, ...], *, for_reading: bool = False) -> Lock:
        """Take directories and image files for writing, at once or not at all; raises InUse with who holds them.

        With ``for_reading`` others may read them, too, but nobody may write.
        """

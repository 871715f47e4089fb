# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the host can do, looked up once. Code asks this table, never the name of the platform.

A capability only says that the call exists; a file system may still refuse it, and every caller has an answer to that.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import fcntl
import os
import sys

from .._core.records import dataclass

_FOREIGN_IOCTL_NUMBERS = ("alpha", "mips", "parisc", "ppc", "sparc")


@dataclass(frozen=True)
class Capabilities:
    """One flag per call. ``Capabilities()`` is a host that has none of them: everything still works, more slowly."""

    vectored: bool = False
    """preadv into a buffer of ours."""
    copy_file_range: bool = False
    clone: bool = False
    """The ioctl FICLONERANGE: share blocks instead of copying."""
    clone_file: bool = False
    """fclonefileat of macOS, which shares the blocks of a whole file."""
    fadvise: bool = False
    read_advice: bool = False
    """The fcntl F_RDADVISE of macOS."""
    fallocate: bool = False
    reserve: bool = False
    """fallocate of Linux with KEEP_SIZE."""
    preallocate: bool = False
    """The fcntl F_PREALLOCATE of macOS."""
    sync_file_range: bool = False
    full_fsync: bool = False
    """The fcntl F_FULLFSYNC: fsync alone stops at the cache of the drive."""
    punch_hole: bool = False
    seek_hole: bool = False
    ofd_locks: bool = False
    exchange: bool = False
    """renameat2 with RENAME_EXCHANGE, or renamex_np with RENAME_SWAP."""
    proc: bool = False
    """/proc shows who holds what."""


def detect() -> Capabilities:
    """The table for this host. Loads nothing: what needs ctypes is looked for when it is first used."""
    linux = sys.platform.startswith("linux")
    darwin = sys.platform == "darwin"
    return Capabilities(
        vectored=hasattr(os, "preadv"),
        copy_file_range=hasattr(os, "copy_file_range"),
        clone=linux and not os.uname().machine.startswith(_FOREIGN_IOCTL_NUMBERS),
        clone_file=darwin,
        fadvise=hasattr(os, "posix_fadvise"),
        read_advice=darwin,
        fallocate=hasattr(os, "posix_fallocate"),
        reserve=linux,
        preallocate=darwin,
        sync_file_range=linux,
        full_fsync=hasattr(fcntl, "F_FULLFSYNC"),
        punch_hole=linux or darwin,
        seek_hole=hasattr(os, "SEEK_DATA") and hasattr(os, "SEEK_HOLE"),
        ofd_locks=(linux or darwin) and sys.maxsize > 1 << 32,
        exchange=linux or darwin,
        proc=linux,
    )

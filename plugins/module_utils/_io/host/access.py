# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the host would let this process write, asked without writing."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import os
import stat
from typing import Optional

from ..._core.errors import DiskError
from ..failures import HOST_ERRORS, translated

_AS_EFFECTIVE = os.access in os.supports_effective_ids


def write_refusal(path: str) -> Optional[DiskError]:
    """The error with which the host would refuse to write a file, or names in a directory; None as far as is known."""
    mode = os.W_OK | (os.X_OK if os.path.isdir(path) else 0)
    try:
        if not os.path.exists(path) or os.access(path, mode, effective_ids=_AS_EFFECTIVE):
            return None
        is_read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except HOST_ERRORS:
        # What cannot be asked will be seen.
        return None
    number = errno.EROFS if is_read_only else errno.EACCES
    return translated(OSError(number, os.strerror(number)), "write", path)


def removal_refusal(path: str) -> Optional[DiskError]:
    """The error with which the host would refuse to remove or replace a name in a folder that may be written: with the
    sticky bit, as ``/tmp`` has it, only the owners of the folder and of the file may. None as far as is known.
    """
    user = os.geteuid()
    try:
        folder = os.stat(os.path.dirname(path) or "/")
        if not folder.st_mode & stat.S_ISVTX or user in (0, folder.st_uid) or os.lstat(path).st_uid == user:
            return None
    except HOST_ERRORS:
        return None
    return translated(OSError(errno.EPERM, os.strerror(errno.EPERM)), "remove or replace", path)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refusals of the operating system as errors of ours."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
from typing import Optional, Type, Union

from .._core.errors import (
    AlreadyExists,
    Damaged,
    DiskError,
    IoFailure,
    NoPermission,
    NoSpace,
    NotFound,
    ReadOnly,
)

REFUSED = frozenset((errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY))
"""What a file system answers to a call that it does not have."""

_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)

# Not OSError: a NUL or a lone surrogate in a path, and a number that does not fit the C type.
HOST_ERRORS = (OSError, ValueError, OverflowError)


def translated(error: BaseException, operation: str, path: str, offset: Optional[int] = None) -> DiskError:
    """Our error for ``error``, one of HOST_ERRORS, met when trying to ``operation`` (a verb phrase) ``path``."""
    number = error.errno if isinstance(error, OSError) else None
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    found = errno.errorcode.get(number, str(number)) if number is not None else type(error).__name__
    kind, hint = _kind(number)
    return kind(f"Cannot {operation} {path}: {reason}", path=path, offset=offset, found=found, hint=hint)


def _kind(number: Optional[int]) -> tuple[Type[DiskError], Optional[str]]:
    if number in _ABSENT:
        return NotFound, None
    if number == errno.EEXIST:
        return AlreadyExists, None
    if number in _FULL:
        return NoSpace, "Make room on the file system (or raise the quota) and run again."
    if number in _FORBIDDEN:
        return NoPermission, "Run as a user who may do this."
    if number == errno.EFBIG:
        return IoFailure, "The file system holds no file of that length; use split_size, or another file system."
    if number == errno.EROFS:
        return ReadOnly, "Mount the file system for writing."
    if number in _TOO_MANY:
        return IoFailure, "Raise the limit of open files (ulimit -n, or sysctl fs.file-max), and run again."
    if number == errno.EIO:
        return IoFailure, "Check the medium and the kernel's log before anything else is written."
    return IoFailure, None


def not_regular(path: str, found: str) -> Damaged:
    """The error for a path that should lead to a regular file, but leads to a ``found``."""
    return Damaged(f"{path} is not a regular file", path=path, expected="a regular file", found=found)


class reported:  # pylint: disable=invalid-name
    """``with reported("open", path):`` turns what the operating system refuses inside into an error of ours."""

    def __init__(self, operation: str, path: str, offset: Optional[int] = None) -> None:
        self._operation = operation
        self._path = path
        self._offset = offset

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: Union[BaseException, None], trace: object) -> None:
        if isinstance(error, HOST_ERRORS):
            raise translated(error, self._operation, self._path, self._offset) from error

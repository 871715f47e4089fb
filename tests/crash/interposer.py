# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between the real port and the operating system: counts the calls that ``_io`` makes of ``os`` and ``fcntl``, and
lets one of them go wrong.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from typing import Any, Callable, Dict, List, Optional, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._io import kernel

READING = (
    "open",
    "close",
    "fstat",
    "stat",
    "pread",
    "preadv",
    "lseek",
    "listdir",
    "statvfs",
    "posix_fadvise",
    "listxattr",
    "getxattr",
)
CHANGING = (
    "pwrite",
    "ftruncate",
    "posix_fallocate",
    "copy_file_range",
    "fsync",
    "mkdir",
    "rename",
    "unlink",
    "rmdir",
    "fchown",
    "fchmod",
)
LOCKING = ("ioctl", "fcntl", "flock")
IN_C = ("renameat2", "sync_file_range", "fallocate64")

_IO = os.path.dirname(kernel.__file__) + os.sep


class Interposer:
    """While it is entered, call number ``number`` (from 1; 0 for none) ends with ``errno_name``, and not even begins.

    With ``short`` no transfer does more than half of what it is asked for, from call ``number`` on.
    """

    def __init__(self, number: int = 0, errno_name: str = "EIO", *, short: bool = False) -> None:
        self.calls: List[str] = []
        self._number = number
        self._errno = getattr(errno, errno_name)
        self._short = short
        self._saved: List[Tuple[Any, str, Any]] = []

    @property
    def is_reached(self) -> bool:
        """Whether the call that was to fail was made."""
        return 0 < self._number <= len(self.calls)

    def __enter__(self) -> Interposer:
        for name in READING + CHANGING:
            self._wrap(os, name)
        for name in LOCKING:
            self._wrap(fcntl, name)
        library = kernel._libc()  # pylint: disable=protected-access
        self._replace(kernel, "_library", _Library(library, self._called))
        return self

    def __exit__(self, *error: object) -> None:
        for module, name, original in reversed(self._saved):
            setattr(module, name, original)

    def _replace(self, module: Any, name: str, substitute: Any) -> None:
        self._saved.append((module, name, getattr(module, name)))
        setattr(module, name, substitute)

    def _wrap(self, module: Any, name: str) -> None:
        original: Optional[Callable[..., Any]] = getattr(module, name, None)
        if original is None:
            return

        def wrapper(*arguments: Any, **options: Any) -> Any:
            if not sys._getframe(1).f_code.co_filename.startswith(_IO):  # pylint: disable=protected-access
                return original(*arguments, **options)
            number = self._called(name)
            if number and name == "close":
                # The descriptor is gone whatever close says, and Python keeps EINTR to itself.
                original(*arguments, **options)
            if number and not (name == "close" and number == errno.EINTR):
                raise OSError(number, os.strerror(number))
            return original(*self._shortened(name, arguments), **options)

        self._replace(module, name, wrapper)

    def _called(self, name: str) -> int:
        """Count a call; the errno that it shall end with, or 0."""
        self.calls.append(name)
        return self._errno if not self._short and len(self.calls) == self._number else 0

    def _shortened(self, name: str, arguments: Tuple[Any, ...]) -> Tuple[Any, ...]:
        if not self._short or len(self.calls) < self._number:
            return arguments
        if name == "pwrite":
            descriptor, content, offset = arguments
            return descriptor, memoryview(content)[: -(-len(content) // 2)], offset
        if name == "preadv":
            descriptor, (buffer,), offset = arguments
            return descriptor, (memoryview(buffer)[: -(-len(buffer) // 2)],), offset
        if name == "pread":
            descriptor, length, offset = arguments
            return descriptor, -(-length // 2), offset
        if name == "copy_file_range":
            source, target, length, *offsets = arguments
            return (source, target, -(-length // 2), *offsets)
        return arguments


class _Library:
    """The C library with the functions that ``kernel`` calls replaced."""

    def __init__(self, library: Any, called: Callable[[str], int]) -> None:
        self._library = library
        self._called = called
        self._functions: Dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        original = getattr(self._library, name)
        if name not in IN_C:
            return original
        return self._functions.setdefault(name, _Function(original, lambda: self._called(name)))


class _Function:
    def __init__(self, original: Any, called: Callable[[], int]) -> None:
        self._original = original
        self._called = called
        self.argtypes: Any = None

    def __call__(self, *arguments: Any) -> int:
        if self.argtypes is not None:
            self._original.argtypes = self.argtypes
        number = self._called()
        if number:
            ctypes.set_errno(number)
            return -1
        return int(self._original(*arguments))

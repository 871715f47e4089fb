# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small files, read whole and replaced whole, so that a crash leaves the old content or the new one."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import os
from typing import Optional

from .._core.errors import Damaged, DiskError
from .port import FILE, File, Port


def replace_file(port: Port, path: str, content: bytes, *, temporary: str, like: Optional[str] = None) -> None:
    """Give ``path``, which may not exist yet, a new content in one step that survives a crash.

    ``temporary`` is a path in the same directory at which nothing lies. When something fails before the rename it is
    removed again and ``path`` is as it was. What ``make_like`` takes over of a replaced file is kept, or of the file
    ``like`` when there is none; a link at ``path`` is replaced, not followed.

    ::

        create temporary - write - attributes - sync - RENAME - sync of the directory
    """
    model = like if like is not None and port.lstat(path) is None else path
    file = port.create(temporary, mode_like(port, model))
    try:
        try:
            file.pwrite(0, content)
            make_like(port, file, model)
            file.sync()
        finally:
            file.close()
        port.rename(temporary, path)
    except BaseException:
        _remove_quietly(port, temporary)
        raise
    port.sync_directory(os.path.dirname(path) or ".")


def mode_like(port: Port, model: str) -> int:
    """The mode to create a file with that is to be like ``model``: never more open than that, not for a moment."""
    before = port.lstat(model)
    return 0o666 if before is None or before.kind != FILE else before.mode & 0o600


def make_like(port: Port, file: File, model: str) -> None:
    """Give an open file owner, permissions, access control list and extended attributes of ``model``, if that is a
    file.
    """
    before = port.lstat(model)
    if before is not None and before.kind == FILE:
        source = port.open_read(model)
        try:
            file.take_attributes(source)
        finally:
            source.close()


def _remove_quietly(port: Port, path: str) -> None:
    """Remove what is in nobody's way; the error that led here is the one to report."""
    try:
        port.remove(path)
    except DiskError:
        pass


def read_start(port: Port, path: str, length: int) -> bytes:
    """The first ``length`` bytes of a file, fewer of a shorter one, none where it begins with a hole of that length.

    Reserved blocks are not read: their pages would count as stored zeros from then on.
    """
    file = port.open_read(path)
    try:
        if not any(True for _range in file.data_ranges(0, length)):
            return b""
        start = bytearray(length)
        return bytes(start[: file.pread_into(0, start)])
    finally:
        file.close()


def read_file(port: Port, path: str, *, limit: int) -> bytes:
    """The content of a file of at most ``limit`` bytes. Raises Damaged for a longer one."""
    file = port.open_read(path)
    try:
        return _read_all(file, limit)
    finally:
        file.close()


def _read_all(file: File, limit: int) -> bytes:
    size = file.size()
    if size > limit:
        raise Damaged(f"{file.path} is too long", path=file.path, expected=f"at most {limit} bytes", found=size)
    content = bytearray(size)
    del content[file.pread_into(0, content) :]
    return bytes(content)

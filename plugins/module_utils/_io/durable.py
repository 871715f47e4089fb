# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small files, read whole and replaced whole, so that a crash leaves the old content or the new one."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import os

from .._core.errors import Damaged, DiskError
from .port import File, Port


def replace_file(port: Port, path: str, content: bytes, *, temporary: str) -> None:
    """Give ``path``, which may not exist yet, a new content in one step that survives a crash.

    ``temporary`` is a path in the same directory at which nothing lies. When something fails before the rename it is
    removed again and ``path`` is as it was. Mode and owner of a replaced file are kept; a link at ``path`` is replaced,
    not followed.

    ::

        create temporary - write - attributes - sync - RENAME - sync of the directory
    """
    before = port.stat(path)
    # Nobody may read on the way what only the owner may read at the end.
    file = port.create(temporary) if before is None else port.create(temporary, before.mode & 0o600)
    try:
        try:
            file.pwrite(0, content)
            if before is not None:
                port.set_attributes(temporary, mode=before.mode, uid=before.uid, gid=before.gid)
            file.sync()
        finally:
            file.close()
        port.rename(temporary, path)
    except BaseException:
        _remove_quietly(port, temporary)
        raise
    port.sync_directory(os.path.dirname(path) or ".")


def _remove_quietly(port: Port, path: str) -> None:
    """Remove what is in nobody's way; the error that led here is the one to report."""
    try:
        port.remove(path)
    except DiskError:
        pass


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

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removing a directory with all that is in it."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from .._core.errors import InUse
from .port import DIRECTORY, Port


def remove_tree(port: Port, path: str) -> None:
    """Remove a file, or a directory with all that is in it. Links are removed, never followed."""
    top = port.lstat(path)
    if top is None:
        return
    # No recursion: somebody may have nested directories deeper than the stack allows.
    pending = [path]
    while pending:
        here = pending.pop()
        stat = port.lstat(here)
        if stat is None:
            continue
        if stat.kind != DIRECTORY:
            port.remove(here)
            continue
        if stat.device != top.device:
            raise InUse(
                "Another file system is mounted in a directory that is to be removed",
                path=here,
                hint="Unmount it and run again.",
            )
        names = port.list_directory(here)
        if names:
            pending += [here, *(f"{here}/{name}" for name in names)]
        else:
            port.remove_directory(here)

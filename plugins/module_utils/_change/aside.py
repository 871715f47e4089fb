# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs that build, replace or remove a whole disk leave beside its path: temporary names, disks moved aside."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Tuple

from .._bundle.naming import JOURNAL, is_temporary_of, temporary_name
from .._core.errors import InUse, NotFound
from .._io.port import DIRECTORY, SYMLINK, Port
from .executor import remove_tree

_DISPLACED = "old-"


def clear_siblings(port: Port, path: str) -> Tuple[str, ...]:
    """End what runs that were building, replacing or removing ``path`` left beside it; what a live run holds is left
    alone.

    A disk that was moved aside and has no successor gets its name back. Returns what was done.
    """
    directory, base = path.rsplit("/", 1)
    stat = port.stat(directory or "/")
    if stat is None or stat.kind != DIRECTORY:
        return ()
    done = []
    leftovers = [name for name in port.list_directory(directory or "/") if is_temporary_of(name, base)]
    if leftovers:
        # A disk that was put in the place of another must be there for good before the other one goes.
        port.sync_directory(directory or "/")
    for name in leftovers:
        leftover = f"{directory}/{name}"
        entry = port.lstat(leftover)
        if entry is not None and entry.kind == SYMLINK:
            # We make no links; wherever it leads, only the link goes.
            port.remove(leftover)
            done.append(f"{path}: a link with the name of a temporary was removed.")
            continue
        try:
            lock = _hold(port, leftover)
        except (InUse, NotFound):
            # Another run is at work with it, or has ended just now.
            continue
        try:
            if port.lstat(path) is None and name.startswith(displaced_prefix(base)):
                port.rename(leftover, path)
                done.append(f"{path}: the disk got its name back after an interrupted replacement.")
            else:
                _end(port, leftover)
                done.append(f"{path}: what an interrupted run had left beside it was removed.")
        finally:
            lock.release()
    if done:
        port.sync_directory(directory or "/")
    return tuple(done)


def _end(port: Port, leftover: str) -> None:
    if port.lstat(f"{leftover}/{JOURNAL}") is not None:
        # Only outputs of several files keep a journal while they are built.
        from .publish import settle

        settle(port, leftover)
    else:
        remove_tree(port, leftover)


def _hold(port: Port, path: str):  # type: ignore[no-untyped-def]
    stat = port.lstat(path)
    return port.lock((path,), ()) if stat is not None and stat.kind == DIRECTORY else port.lock((), (path,))


def displaced_prefix(base: str) -> str:
    """How the temporary names of disks that were moved aside begin."""
    return temporary_name(base, _DISPLACED).rsplit(".tmp", 1)[0]


def displaced_name(path: str, token: str) -> str:
    """Where the disk at ``path`` is kept while its successor takes its name."""
    directory, base = path.rsplit("/", 1)
    return f"{directory}/{temporary_name(base, _DISPLACED + token)}"

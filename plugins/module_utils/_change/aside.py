# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs that build, replace or remove a whole disk leave beside it: temporary names, disks moved aside."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from .._bundle.naming import JOURNAL, TEMPORARY_MARK, is_temporary_of, temporary_name
from .._core.errors import InUse, NotFound
from .._io.port import DIRECTORY, SYMLINK, Port
from .._io.process import own_user_id
from .._io.remove import remove_tree

_DISPLACED = "old-"


def clear_siblings(port: Port, path: str) -> Tuple[str, ...]:
    """End what runs that were building, replacing or removing ``path`` left beside it, but not what a live run holds.

    A disk that was moved aside and has no successor gets its name back. Returns what was done.
    """
    directory, base = path.rsplit("/", 1)
    stat = port.stat(directory or "/")
    if stat is None or stat.kind != DIRECTORY:
        return ()
    leftovers = [name for name in port.list_directory(directory or "/") if is_temporary_of(name, base)]
    kept = _kept_aside(port, path, leftovers)
    leftovers = [name for name in leftovers if f"{directory}/{name}" not in kept]
    if leftovers:
        # A disk that took the place of another must be there for good before the other one goes.
        port.sync_directory(directory or "/")
    done = [text for text in (_clear(port, path, f"{directory}/{name}") for name in leftovers) if text is not None]
    done += [_give_name(port, path, displaced) for displaced in kept]
    if done:
        port.sync_directory(directory or "/")
    return tuple(done)


def _kept_aside(port: Port, path: str, leftovers: Sequence[str]) -> Tuple[str, ...]:
    """Disks that were moved aside, although their successor never left its temporary name: what has the name of the
    disk now was put there by somebody else, and proves nothing.
    """
    directory, base = path.rsplit("/", 1)
    start, there = temporary_name(base, _DISPLACED).rsplit(".tmp", 1)[0], port.lstat(path) is not None
    tokens = [(name, name[len(start) : -len(".tmp")]) for name in leftovers if name.startswith(start)]
    kept = [name for name, token in tokens if there and temporary_name(base, token) in leftovers]
    return tuple(f"{directory}/{name}" for name in kept)


def _give_name(port: Port, path: str, displaced: str) -> str:
    kept = f"{path}.{displaced.rsplit(TEMPORARY_MARK, 1)[1].rsplit('.tmp', 1)[0]}"
    port.rename(displaced, kept, replace=False)
    return f"{path}: the disk that an interrupted run had moved aside is {kept} now; something else has its name."


def _clear(port: Port, path: str, leftover: str) -> Optional[str]:
    """What was done about one leftover; None when a live run holds it, or it is somebody else's."""
    entry = port.lstat(leftover)
    if entry is not None and entry.kind == SYMLINK:
        # We make no links; wherever it leads, only the link goes.
        port.remove(leftover)
        return f"{path}: a link with the name of a temporary was removed."
    try:
        lock = _hold(port, leftover)
    except (InUse, NotFound):
        # Another run is at work with it, or has ended just now.
        return None
    try:
        return _end(port, path, leftover)
    finally:
        lock.release()


def _is_believed(port: Port, leftover: str) -> bool:
    """Whether the journal in a directory may say what goes from the folder around it: not when somebody else has made
    it in a folder that many may write to.
    """
    entry, folder = port.lstat(leftover), port.lstat(leftover.rsplit("/", 1)[0] or "/")
    if entry is None or folder is None:
        return False
    return entry.uid in (own_user_id(), folder.uid) or not folder.mode & 0o022


def _end(port: Port, path: str, leftover: str) -> Optional[str]:
    if port.lstat(path) is None and leftover.startswith(displaced_name(path, "").rsplit(".tmp", 1)[0]):
        port.rename(leftover, path)
        return f"{path}: the disk got its name back after an interrupted replacement."
    if port.lstat(f"{leftover}/{JOURNAL}") is not None:
        # Only outputs of several files keep a journal while they are built.
        if not _is_believed(port, leftover):
            return None
        from .publish import settle

        settle(port, leftover)
    else:
        remove_tree(port, leftover)
    return f"{path}: what an interrupted run had left beside it was removed."


def _hold(port: Port, path: str):  # type: ignore[no-untyped-def]
    stat = port.lstat(path)
    return port.lock((path,), ()) if stat is not None and stat.kind == DIRECTORY else port.lock((), (path,))


def displaced_name(path: str, token: str) -> str:
    """Where the disk at ``path`` is kept while its successor takes its name."""
    directory, base = path.rsplit("/", 1)
    return f"{directory}/{temporary_name(base, _DISPLACED + token)}"

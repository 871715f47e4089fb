# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks in a folder."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Dict, List, Sequence, Tuple

from .._core.errors import DiskError, NotABundle, NotFound
from .._core.records import dataclass
from .._io.port import DIRECTORY, Port
from .naming import DESCRIPTOR, MACHINE_SUFFIXES, SUFFIX
from .paths import lost_descriptor

_MAX_FOLDER_DEPTH = 32


@dataclass(frozen=True)
class Found:
    """The disks at some paths, each once, and for each path that leads to none, why."""

    disks: Tuple[str, ...]
    failed: Tuple[Tuple[str, DiskError], ...]


def disks_at(port: Port, paths: Sequence[str], *, recurse: bool) -> Found:
    """The disks that absolute ``paths`` stand for. A disk that several of them lead to is in it once."""
    disks: Dict[str, str] = {}
    failed: List[Tuple[str, DiskError]] = []
    for path in paths:
        try:
            found = bundles_in(port, path, recurse=recurse)
            if not found:
                raise nothing_in(path, recurse=recurse)
            for one in found:
                disks.setdefault(_own_path(port, one), one)
        except DiskError as error:
            failed.append((path, error))
    return Found(tuple(sorted(disks.values())), tuple(failed))


def nothing_in(path: str, *, recurse: bool) -> DiskError:
    """The error for a folder that holds no disk."""
    hint = "Check the path." if recurse else "Set recurse: true to search the folders in it as well."
    return NotABundle("There is no disk in the folder", path=path, hint=hint)


def _own_path(port: Port, path: str) -> str:
    """The one path of a disk that may be named by links and by files in it."""
    real = port.real_path(path)
    folder, base = posixpath.split(real)
    is_in_bundle = base == DESCRIPTOR or (base.lower().endswith(SUFFIX) and _has_descriptor(port, folder))
    return folder if is_in_bundle and not _has_descriptor(port, real) else real


def _has_descriptor(port: Port, folder: str) -> bool:
    try:
        return port.lstat(posixpath.join(folder, DESCRIPTOR)) is not None
    except DiskError:
        return False


def bundles_in(port: Port, path: str, *, recurse: bool) -> List[str]:
    """The disks that ``path`` stands for, sorted: itself if it is a file or a bundle, else the bundles in it.

    Machines (``.pvm``, ``.macvm``) in it are searched, other directories only with ``recurse``, and no links.
    A directory that cannot be listed is in the result, so that looking at it says why. Raises NotFound.
    """
    stat = port.stat(path)
    if stat is None:
        what = "There is nothing" if port.lstat(path) is None else "A link leads nowhere"
        raise NotFound(what, path=path, hint="Check the path.")
    if stat.kind != DIRECTORY:
        return [path]
    real = port.real_path(path)
    if _is_bundle(port, real):
        return [path]
    path = real
    found: List[str] = []
    pending = [(path, 0)]
    while pending:
        folder, depth = pending.pop()
        try:
            folders = _folders(port, folder)
        except DiskError:
            if folder == path:
                raise
            found.append(folder)
            continue
        for entry in folders:
            if _is_bundle(port, entry):
                found.append(entry)
            elif depth < _MAX_FOLDER_DEPTH and (recurse or (depth == 0 and entry.lower().endswith(MACHINE_SUFFIXES))):
                pending.append((entry, depth + 1))
    return sorted(found)


def _folders(port: Port, path: str) -> List[str]:
    inner = [posixpath.join(path, name) for name in port.list_directory(path)]
    stats = [(entry, port.lstat(entry)) for entry in inner]
    return [entry for entry, stat in stats if stat is not None and stat.kind == DIRECTORY]


def _is_bundle(port: Port, path: str) -> bool:
    """Whether the directory has a descriptor, or lost it. One that may not be entered counts: looking says why."""
    try:
        return port.lstat(posixpath.join(path, DESCRIPTOR)) is not None or lost_descriptor(port, path)
    except DiskError:
        return True

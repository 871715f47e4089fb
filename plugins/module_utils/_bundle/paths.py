# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the user names to the disk, and from what a descriptor names to an image.

Format reference, sections 2.1 and 2.3.

A path is judged by what it names with every link resolved. Only regular files are opened.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from itertools import chain
from typing import Iterator, List, Optional, Tuple

from .._core.errors import (
    AlreadyExists,
    BadRequest,
    Damaged,
    DiskError,
    Escape,
    MissingImage,
    NotABundle,
    NotAWholeDisk,
    NotFound,
)
from .._core.records import dataclass
from .._core.units import SECTOR
from .._formats.hds.header import is_hds
from .._io.durable import read_start
from .._io.port import DIRECTORY, FILE, SYMLINK, Port, Stat
from .naming import BACKUP, DESCRIPTOR, JOURNAL, MACHINE_SUFFIXES, SUFFIX, without_suffix

BUNDLE = "bundle"
SINGLE_FILE = "single_file"

_MAGIC_BYTES = 64
_LOST = "The bundle has lost it: run hdd_check with repair: safe, which restores it if that is beyond doubt."
_LONGEST_NAME = 4096


@dataclass(frozen=True)
class Location:
    """Where a disk is, in absolute paths without links.

    A bundle has no ``image``; of a single file ``descriptor`` and ``image`` are both that file and ``directory`` is
    its folder. ``base`` is the last part of the path, such as ``mac.hdd``, and ``name`` the same without ``.hdd``.
    """

    kind: str
    directory: str
    descriptor: str
    image: Optional[str]
    base: str
    name: str


@dataclass(frozen=True)
class ResolvedImage:
    """An image file. One ``outside`` of the bundle is shared with others and must never be changed."""

    path: str
    outside: bool


def locate(port: Port, path: str) -> Location:
    """The disk that ``path`` names: a bundle, its descriptor, its empty inner ``.hdd``, or a single-file image.

    Raises NotFound, NotABundle, BadRequest for a path that cannot be one, Escape for a descriptor outside its bundle.
    """
    if not path or "\0" in path:
        raise BadRequest("The path is empty or holds a NUL character", found=path[:80])
    stat = port.stat(path)
    if stat is None:
        what = "A link leads nowhere" if port.lstat(path) is not None else "There is nothing"
        folder, base = posixpath.split(path)
        is_lost = base == DESCRIPTOR and lost_descriptor(port, folder)
        raise NotFound(what, path=path, hint=_LOST if is_lost else "Check the path.")
    real = port.real_path(path)
    if stat.kind == DIRECTORY:
        return _bundle_at(port, real)
    if stat.kind != FILE:
        what, hint = "The path is neither a regular file nor a directory", "Name the .hdd directory."
        raise NotABundle(what, path=path, found=stat.kind, hint=hint)
    if _stands_for_bundle(port, real, stat):
        return _bundle_at(port, posixpath.dirname(real))
    return _single_file(port, real, stat)


def _stands_for_bundle(port: Port, path: str, stat: Stat) -> bool:
    """Whether a file is a descriptor, or the empty ``.hdd`` beside one."""
    directory, base = posixpath.split(path)
    is_marker = stat.size == 0 and base.lower().endswith(SUFFIX)
    return base == DESCRIPTOR or (is_marker and port.stat(posixpath.join(directory, DESCRIPTOR)) is not None)


def bundle_location(directory: str) -> Location:
    """The location of a bundle whose real path this is."""
    base = posixpath.basename(directory)
    return Location(BUNDLE, directory, posixpath.join(directory, DESCRIPTOR), None, base, without_suffix(base))


def _bundle_at(port: Port, directory: str) -> Location:
    descriptor = posixpath.join(directory, DESCRIPTOR)
    stat = port.lstat(descriptor)
    if stat is None:
        hint = _LOST if lost_descriptor(port, directory) else _where_disks_are(port, directory)
        raise NotABundle(f"The directory has no {DESCRIPTOR}", path=directory, hint=hint)
    if stat.kind == SYMLINK:
        hint = "Name the directory that it leads to, or put the file itself in its place."
        raise Escape(f"{DESCRIPTOR} is a link, which is not followed", path=descriptor, hint=hint)
    if stat.kind != FILE:
        raise NotABundle(f"{DESCRIPTOR} is not a regular file", path=descriptor, found=stat.kind)
    return bundle_location(directory)


def _where_disks_are(port: Port, directory: str) -> str:
    """Advice for who named a folder in place of a disk. What may not be looked at is passed over."""
    machines = (name for name in _names_in(port, directory) if name.lower().endswith(MACHINE_SUFFIXES))
    folders = chain([directory], (posixpath.join(directory, name) for name in machines))
    disk = next((disk for folder in folders for disk in _bundles_right_in(port, folder)), None)
    if disk is None:
        return "Name the .hdd directory itself; the disks of a virtual machine are in its .pvm."
    others = "hdd_info, hdd_check, hdd_merge, hdd_compact and hdd_maintain take all of them with recurse: true."
    return f"Name a disk in it, such as {disk}; {others}"


def _bundles_right_in(port: Port, directory: str) -> Iterator[str]:
    paths = (posixpath.join(directory, name) for name in _names_in(port, directory) if name.lower().endswith(SUFFIX))
    return (path for path in paths if DESCRIPTOR in _names_in(port, path))


def _names_in(port: Port, directory: str) -> List[str]:
    try:
        return port.list_directory(directory)
    except DiskError:
        return []


def lost_descriptor(port: Port, directory: str) -> bool:
    """Whether a directory is a bundle without its descriptor: called ``.hdd``, with the backup or an image in it."""
    if not directory.lower().endswith(SUFFIX):
        return False
    names = port.list_directory(directory)
    return DESCRIPTOR not in names and (BACKUP in names or any(name.endswith(".hds") for name in names))


def _single_file(port: Port, real: str, stat: Stat) -> Location:
    directory, base = posixpath.split(real)
    location = Location(SINGLE_FILE, directory, real, real, base, without_suffix(base))
    if stat.size and is_hds(read_start(port, real, _MAGIC_BYTES)):
        return location
    if stat.size and stat.size % SECTOR == 0 and base.lower().endswith(SUFFIX):
        return location
    raise NotABundle(
        "The file is no Parallels disk",
        path=real,
        expected="a bundle, an expanding image, or a raw image named .hdd",
        hint="Name the .hdd directory, or use hdd_convert for other formats.",
    )


def is_inside(path: str, directory: str) -> bool:
    """Whether ``path`` is below ``directory``. Both are absolute and without links."""
    return path.startswith(directory.rstrip("/") + "/")


def resolve_image(port: Port, location: Location, file: str, *, allow_outside: bool) -> ResolvedImage:
    """The image that a descriptor calls ``file``, relative to the bundle or absolute.

    An absolute path at which nothing is means the file of that name in the bundle, if there is one: the bundle was
    moved. Raises MissingImage, Escape for an image outside of the bundle unless ``allow_outside``, and Damaged for what
    is no regular file.
    """
    _check_name(file, location.descriptor)
    real = port.real_path(posixpath.join(location.directory, file))
    inside = is_inside(real, location.directory)
    if not inside and file.startswith("/"):
        real, inside = _moved(port, location, real)
    if not inside and not allow_outside:
        raise Escape(
            f"The image {file[:255]!r} is outside of the bundle",
            path=location.descriptor,
            found=real[:_LONGEST_NAME],
            hint="Set allow_outside: true to read it where it is; it will not be changed.",
        )
    image_stat(port, real, file)
    return ResolvedImage(real, not inside)


def image_stat(port: Port, path: str, file: str) -> Stat:
    """The facts of the image at ``path``, which the descriptor calls ``file``. Raises MissingImage and Damaged."""
    stat = port.stat(path)
    if stat is None:
        hint = "Restore the file from a backup of the bundle."
        raise MissingImage("An image that the descriptor names is missing", path=path, found=file[:255], hint=hint)
    if stat.kind != FILE:
        raise Damaged("An image is not a regular file", path=path, expected=FILE, found=stat.kind)
    return stat


def _check_name(file: str, path: str) -> None:
    if "\0" in file or len(file) > _LONGEST_NAME or posixpath.basename(file) in ("", ".", ".."):
        text = "The descriptor names something that cannot be an image"
        raise Damaged(text, path=path, expected="the name of a file", found=file[:255])


def _moved(port: Port, location: Location, real: str) -> Tuple[str, bool]:
    if port.stat(real) is not None:
        return real, False
    candidate = posixpath.join(location.directory, posixpath.basename(real))
    if port.lstat(candidate) is None:
        return real, False
    found = port.real_path(candidate)
    return found, is_inside(found, location.directory)


def refuse_layer(port: Port, location: Location) -> None:
    """Raise NotAWholeDisk for an image in a bundle: it is no disk without the layers below it."""
    if location.kind == SINGLE_FILE and port.stat(f"{location.directory}/{DESCRIPTOR}") is not None:
        text, hint = "The file is a layer or a part of a Parallels disk", f"Name the bundle: {location.directory}"
        raise NotAWholeDisk(text, path=location.image, hint=hint)


def refuse_in_a_bundle(port: Port, path: str, option: str = "dest") -> None:
    """Raise AlreadyExists for an output in a bundle, however deep: a file there is a part of its disk, and what is new
    is no part.
    """
    folder = posixpath.dirname(path)
    while folder not in ("", "/"):
        if port.lstat(posixpath.join(folder, DESCRIPTOR)) is not None:
            hint = f"Choose a place outside of {folder}."
            raise AlreadyExists(f"{option}: the path is inside a bundle", path=path, hint=hint)
        folder = posixpath.dirname(folder)


def journal_path(location: Location) -> str:
    """Where the journal of the disk at ``location`` is kept: in the bundle, or beside a single-file image."""
    name = JOURNAL if location.kind == BUNDLE else f"{JOURNAL}-{location.base}"
    return f"{location.directory}/{name}"

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""From what the user names to the disk, and from what a descriptor names to an image.

Format reference, sections 2.1 and 2.3.

A path is judged by where it leads with every link resolved. Nothing but a regular file is ever opened.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import NoReturn, Optional, Tuple

from .._core.errors import BadRequest, Damaged, Escape, MissingImage, NotABundle, NotFound
from .._core.records import dataclass
from .._core.units import SECTOR
from .._formats.hds.header import is_hds
from .._io.port import DIRECTORY, FILE, Port, Stat
from .naming import BACKUP, DESCRIPTOR, JOURNAL, SUFFIX, without_suffix

BUNDLE = "bundle"
SINGLE_FILE = "single_file"

_MAGIC_BYTES = 64
_LONGEST_NAME = 4096


@dataclass(frozen=True)
class Location:
    """Where a disk lies, in absolute paths without links.

    A bundle has no ``image``; for a single file ``descriptor`` and ``image`` are both that file and ``directory`` is
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
    """An image file. One that lies ``outside`` of the bundle is shared with others and must never be changed."""

    path: str
    outside: bool


def locate(port: Port, path: str) -> Location:
    """The disk that ``path`` names: a bundle, its descriptor, its empty inner ``.hdd``, or a single-file image.

    Raises NotFound, NotABundle, BadRequest for a path that cannot be one, and Escape for a descriptor that is a link
    out of its bundle.
    """
    if not path or "\0" in path:
        raise BadRequest("The path is empty or holds a NUL character", found=path[:80])
    stat = port.stat(path)
    if stat is None:
        raise NotFound(
            "A link leads nowhere" if port.lstat(path) is not None else "There is nothing",
            path=path,
            hint="Check the path.",
        )
    real = port.real_path(path)
    directory, base = posixpath.split(real)
    if stat.kind == DIRECTORY:
        return _bundle_at(port, real)
    if stat.kind != FILE:
        raise NotABundle(
            "The path is neither a regular file nor a directory",
            path=path,
            found=stat.kind,
            hint="Name the .hdd directory.",
        )
    if base == DESCRIPTOR:
        return _bundle_at(port, directory)
    if (
        stat.size == 0
        and base.lower().endswith(SUFFIX)
        and port.stat(posixpath.join(directory, DESCRIPTOR)) is not None
    ):
        return _bundle_at(port, directory)
    return _single_file(port, real, stat)


def _bundle_at(port: Port, directory: str) -> Location:
    descriptor = posixpath.join(directory, DESCRIPTOR)
    stat = port.stat(descriptor)
    if stat is None:
        raise NotABundle(
            f"The directory has no {DESCRIPTOR}",
            path=directory,
            hint="The bundle has lost it: run hdd_check with repair: safe, which restores it if that is beyond doubt."
            if lost_descriptor(port, directory)
            else "Name the .hdd directory itself; the disks of a virtual machine are in its .pvm.",
        )
    if stat.kind != FILE:
        raise NotABundle(f"{DESCRIPTOR} is not a regular file", path=descriptor, found=stat.kind)
    if not is_inside(port.real_path(descriptor), directory):
        raise Escape(
            f"{DESCRIPTOR} is a link that leads out of the bundle",
            path=descriptor,
            hint="Name the directory that the link leads to.",
        )
    base = posixpath.basename(directory)
    return Location(BUNDLE, directory, descriptor, None, base, without_suffix(base))


def lost_descriptor(port: Port, directory: str) -> bool:
    """Whether a directory is a bundle without its descriptor: called ``.hdd``, with the backup or an image in it."""
    if not directory.lower().endswith(SUFFIX):
        return False
    names = port.list_directory(directory)
    return DESCRIPTOR not in names and (BACKUP in names or any(name.endswith(".hds") for name in names))


def _single_file(port: Port, real: str, stat: Stat) -> Location:
    directory, base = posixpath.split(real)
    location = Location(SINGLE_FILE, directory, real, real, base, without_suffix(base))
    if stat.size and is_hds(_prefix(port, real)):
        return location
    if stat.size and stat.size % SECTOR == 0 and base.lower().endswith(SUFFIX):
        return location
    raise NotABundle(
        "The file is no Parallels disk",
        path=real,
        expected="a bundle, an expanding image, or a raw image named .hdd",
        hint="Name the .hdd directory, or use hdd_convert for other formats.",
    )


def _prefix(port: Port, path: str) -> bytes:
    stream = port.open_read(path)
    try:
        buffer = bytearray(_MAGIC_BYTES)
        return bytes(buffer[: stream.pread_into(0, buffer)])
    finally:
        stream.close()


def is_inside(path: str, directory: str) -> bool:
    """Whether ``path`` lies below ``directory``. Both are absolute and without links."""
    return path.startswith(directory.rstrip("/") + "/")


def resolve_image(port: Port, location: Location, file: str, *, allow_outside: bool) -> ResolvedImage:
    """The image that a descriptor calls ``file``, relative to the bundle or absolute.

    An absolute path that leads nowhere means the file of that name in the bundle when there is one: the bundle was
    moved. Raises Escape for an image outside of the bundle unless ``allow_outside``, MissingImage, and Damaged for what
    is no regular file.
    """
    _check_name(file, location.descriptor)
    real = port.real_path(posixpath.join(location.directory, file))
    inside = is_inside(real, location.directory)
    if not inside and file.startswith("/"):
        real, inside = _moved(port, location, real)
    if not inside and not allow_outside:
        raise Escape(
            f"The image {file[:255]!r} lies outside of the bundle",
            path=location.descriptor,
            found=real[:_LONGEST_NAME],
            hint="Set allow_outside: true to read it where it is; it will not be changed.",
        )
    stat = port.stat(real)
    if stat is None:
        raise MissingImage(
            "An image that the descriptor names is missing",
            path=real,
            found=file[:255],
            hint="Restore the file from a backup of the bundle.",
        )
    if stat.kind != FILE:
        raise Damaged("An image is not a regular file", path=real, expected=FILE, found=stat.kind)
    return ResolvedImage(real, not inside)


def _check_name(file: str, path: str) -> None:
    if not file or "\0" in file or len(file) > _LONGEST_NAME:
        _refuse_name(file, path)
    if posixpath.basename(file) in ("", ".", ".."):
        _refuse_name(file, path)


def _refuse_name(file: str, path: str) -> NoReturn:
    raise Damaged(
        "The descriptor names something that cannot be an image",
        path=path,
        expected="the name of a file",
        found=file[:255],
    )


def _moved(port: Port, location: Location, real: str) -> Tuple[str, bool]:
    if port.stat(real) is not None:
        return real, False
    candidate = posixpath.join(location.directory, posixpath.basename(real))
    if port.lstat(candidate) is None:
        return real, False
    found = port.real_path(candidate)
    return found, is_inside(found, location.directory)


def refuse_layer(port: Port, location: Location) -> None:
    """Raise BadRequest for an image in a bundle: alone it lacks what the layers below it hold, and the bundle needs
    it as it is.
    """
    if location.kind == SINGLE_FILE and port.stat(f"{location.directory}/{DESCRIPTOR}") is not None:
        raise BadRequest(
            "The image is a layer of a bundle and no disk of its own",
            path=location.image,
            hint=f"Name the bundle: {location.directory}",
        )


def journal_path(location: Location) -> str:
    """Where the journal of the disk at ``location`` lies: in the bundle, or beside a single-file image."""
    name = JOURNAL if location.kind == "bundle" else f"{JOURNAL}-{location.base}"
    return f"{location.directory}/{name}"

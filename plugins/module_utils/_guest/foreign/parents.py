# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image below an overlay: found by its name or its UUID, and known to be the right one."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Iterator, NamedTuple, Optional, Tuple

from ..._core.errors import Damaged, DiskError, Escape, MissingImage, NotFound, Unsupported
from ..._formats.catalog import format_detected_as, format_of_parent
from ..._formats.codecs import IDS
from ..._formats.detect import detect
from ..._formats.image import ForeignImage, ParentLink
from ..._formats.image_ids import ImageIds
from ..._io.port import FILE, File, Port
from .advice import in_other_words
from .allowed import Reach
from .reach import Roots, SiblingFiles, is_path

MOST_CANDIDATES = 1000
"""Of so many images in a folder the UUIDs are looked at."""

_PREFIX = 4096
_SNAPSHOTS = "Snapshots"
_SUFFIXES = tuple(f".{format}" for format in IDS)


class FoundParent(NamedTuple):
    """Where the image below is, in which format, and what the user should know of how it was found."""

    format: str
    path: str
    warning: Optional[str] = None


def find_parent(port: Port, path: str, link: ParentLink, roots: Roots, reach: Reach) -> FoundParent:
    """The image below the one at ``path``. Raises Escape, MissingImage, Unsupported, Damaged."""
    if link.ids is not None:
        return _by_uuid(port, path, link.ids, roots)
    return _by_name(port, path, _format_below(path, link, reach), link, roots)


def _format_below(path: str, link: ParentLink, reach: Reach) -> str:
    called = link.format or reach.format
    if called is None:
        raise Unsupported(
            "The overlay does not say which format the image below it has, and guessing would be an open door",
            path=path,
            found=list(link.names)[:4],
            hint="Set backing_format, to raw or to the name of its format.",
        )
    format = format_of_parent(called)
    if format is None:
        raise Unsupported(
            f"The image below has the format {called[:40]}, which cannot be read there", path=path, found=called[:40]
        )
    return format


def _by_name(port: Port, path: str, format: str, link: ParentLink, roots: Roots) -> FoundParent:
    """By one of the names, else by the last part of one in the folder of the overlay or one of the user's."""
    first: Optional[DiskError] = None
    for name in link.names:
        try:
            return FoundParent(format, SiblingFiles(port, path, roots).locate(name))
        except (Escape, MissingImage, NotFound) as error:
            first = first or error
    for name, folder in _moved(path, link, roots):
        try:
            found = SiblingFiles(port, posixpath.join(folder, "x"), roots).locate(posixpath.basename(name))
        except (Escape, MissingImage, NotFound, Unsupported):
            continue
        # Where the format knows its parent by an identity, that will tell.
        warning = f"{path}: it names {name[:200]}; {found} was read instead." if link.identity is None else None
        return FoundParent(format, found, warning)
    if first is not None and link.identity is None and not any(is_path(name) for name in link.names):
        # json:{..}, nbd://.. and the like: what QEMU wrote, only QEMU can follow.
        first.hint = in_other_words("qcow2", path)
    raise first or MissingImage("The overlay names no image below it", path=path)


def _moved(path: str, link: ParentLink, roots: Roots) -> Iterator[Tuple[str, str]]:
    """The names that files have that were moved together, each with a folder in which it may be."""
    for name in link.names:
        if link.identity is not None or is_path(name):
            for folder in dict.fromkeys((posixpath.dirname(path), *roots.folders)):
                yield name, folder


def _by_uuid(port: Port, path: str, ids: ImageIds, roots: Roots) -> FoundParent:
    changed: Optional[Tuple[str, ImageIds]] = None
    for format, found, known in _candidates(port, path, roots):
        if known.image == ids.parent:
            if _is_unchanged(known, ids):
                return FoundParent(format, found)
            changed = changed or (found, known)
    if changed is not None:
        raise _changed_parent(path, *changed, ids)
    raise MissingImage(
        f"The image is a differencing image: what it does not hold is in the image with the UUID {_text(ids.parent)}, "
        "which was not found",
        path=path,
        expected=ids.parent,
        found=f"none in {', '.join(roots.folders)}",
        hint="Copy that image beside it, or name its folder in backing_paths.",
    )


def _is_unchanged(known: ImageIds, ids: ImageIds) -> bool:
    wanted = ids.parent_modification
    return wanted is None or known.modification is None or known.modification == wanted


def _changed_parent(path: str, parent: str, known: ImageIds, ids: ImageIds) -> DiskError:
    return Damaged(
        "The image below has been changed since the overlay was made on it",
        path=path,
        expected=f"modification {ids.parent_modification}",
        found=f"modification {known.modification} in {parent}",
        hint="Find a copy of the image as it was; the overlay cannot be read without it.",
    )


def _text(guid: Optional[str]) -> str:
    return (guid or "").strip("{}")


def _candidates(port: Port, path: str, roots: Roots) -> Iterator[Tuple[str, str, ImageIds]]:
    """Images that VirtualBox may have linked to, folder by folder: format, real path and UUIDs."""
    folders = dict.fromkeys((posixpath.dirname(path), *roots.folders))
    # A linked clone is on a snapshot of another machine, whose folder the user names.
    for folder in [*folders, *(posixpath.join(folder, _SNAPSHOTS) for folder in folders)]:
        try:
            names = [name for name in port.list_directory(folder) if name.lower().endswith(_SUFFIXES)]
        except DiskError:
            continue
        for name in names[:MOST_CANDIDATES]:
            one = _candidate(port, posixpath.join(folder, name), roots)
            if one is not None:
                yield one


def _candidate(port: Port, path: str, roots: Roots) -> Optional[Tuple[str, str, ImageIds]]:
    """What is known of a file; None for what is no image, may not be opened or cannot be understood."""
    try:
        real = port.real_path(path)
        stat = port.stat(real)
        if stat is None or stat.kind != FILE or not roots.holds(real):
            return None
        file = port.open_read(real)
        try:
            format = _format_of(file)
            return None if format is None else (format, real, IDS[format](file))
        finally:
            file.close()
    except DiskError:
        return None


def _format_of(file: File) -> Optional[str]:
    prefix = bytearray(_PREFIX)
    got = file.pread_into(0, prefix)
    format = format_detected_as(detect(bytes(prefix[:got]), name=file.path))
    return format if format in IDS else None


def refuse_wrong_parent(image: ForeignImage, path: str, link: Optional[ParentLink]) -> None:
    """Raise Damaged when the open ``image`` is not the one that the overlay at ``path`` was made on."""
    if link is None:
        return
    known: Optional[ImageIds] = getattr(image, "ids", None)
    if link.ids is not None and known is not None:
        # Somebody may have replaced it since it was found.
        if known.image != link.ids.parent:
            raise _wrong_parent(path, link.ids.parent, f"{known.image} in {image.path}")
        if not _is_unchanged(known, link.ids):
            raise _changed_parent(path, image.path, known, link.ids)
    if link.identity is None or image.identity is None:
        return
    if image.identity.lower() not in (link.identity.lower(), (link.other_identity or link.identity).lower()):
        raise _wrong_parent(path, link.identity, f"{image.identity} in {image.path}")


def _wrong_parent(path: str, expected: Optional[str], found: str) -> DiskError:
    return Damaged(
        "The image below is not the one that the overlay was made on, or it has been changed since",
        path=path,
        expected=expected,
        found=found,
        hint="Find the right image; the overlay cannot be read without it.",
    )


def age_warning(port: Port, image: ForeignImage, path: str, link: Optional[ParentLink]) -> Optional[str]:
    """What to say of a VHD parent that was written after the overlay was made, since its identity stays the same."""
    if link is None or link.timestamp is None:
        return None
    stat = port.stat(image.path)
    changed = stat.mtime_ns // 1_000_000_000 if stat is not None else 0
    # Some round the time.
    if changed <= link.timestamp + 2 or link.timestamp == getattr(image, "timestamp", None):
        return None
    return (
        f"{path}: it was made on {image.path} as of time {link.timestamp}, which was last changed at {changed}; if "
        "that was more than a copy, the output is wrong."
    )

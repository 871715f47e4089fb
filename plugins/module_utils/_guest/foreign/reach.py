# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where files may lie that an image of another product names: nothing else is ever opened.

::

    /vms/web/web.vdi                 the folder above, where the image is in Snapshots (VirtualBox): its files only
    /vms/web/Snapshots/{...}.vdi     the image that the user named: its folder and all below it
    /mnt/templates/base.vdi          folders that the user named (backing_paths), and all below them
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import re
from typing import List, Optional, Tuple

from ..._bundle.paths import is_inside
from ..._core.errors import BadRequest, Escape, MissingImage, Unsupported
from ..._core.records import dataclass
from ..._io.port import DIRECTORY, FILE, File, Port
from .allowed import Reach

_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_DRIVE = re.compile(r"[A-Za-z]:/|//")
_SNAPSHOTS = "snapshots"
_OF_VIRTUALBOX = ("vdi", "vmdk", "vhd")


@dataclass(frozen=True)
class Roots:
    """The folders of a chain, without links: ``trees`` with all below them, ``above`` without."""

    trees: Tuple[str, ...]
    above: Tuple[str, ...] = ()

    @property
    def folders(self) -> Tuple[str, ...]:
        """Where to look for a file without a place, best first."""
        return tuple(dict.fromkeys(self.trees[:1] + self.above + self.trees[1:]))

    def holds(self, path: str) -> bool:
        """Whether the file at ``path``, without links, may be opened."""
        return posixpath.dirname(path) in self.above or any(is_inside(path, tree) for tree in self.trees)


def roots_of(port: Port, path: str, format: str, reach: Reach) -> Roots:
    """Where an image at the real path ``path`` may lead. Raises BadRequest for folders of the user that are none."""
    folder = posixpath.dirname(path)
    trees = [folder]
    for name in reach.folders:
        stat = port.stat(name)
        if stat is None or stat.kind != DIRECTORY:
            raise BadRequest("backing_paths: this is no folder", path=name, hint="Correct backing_paths.")
        trees.append(port.real_path(name))
    above, name = posixpath.split(folder)
    is_beside = format in _OF_VIRTUALBOX and name.lower() == _SNAPSHOTS
    return Roots(tuple(dict.fromkeys(trees)), (above,) if is_beside else ())


class SiblingFiles:
    """Opens files that the image at ``path`` names, when they are within ``roots`` with every link resolved.

    ``warnings`` are of those that were not where their name says, but beside the image or in a folder of the user's.
    """

    def __init__(self, port: Port, path: str, roots: Roots) -> None:
        self._port = port
        self._path = path
        self._roots = roots
        self.warnings: List[str] = []

    def __call__(self, name: str) -> File:
        """Open the file. Raises Escape, MissingImage, Unsupported for what is no regular file."""
        try:
            real = self.locate(name)
        except (Escape, MissingImage) as error:
            # Windows writes paths with other strokes.
            plain = name.replace("\\", "/")
            moved = self._moved(plain)
            if moved is None:
                if plain != name:
                    self.locate(plain)
                raise error
            real = moved
            self.warnings.append(f"{self._path}: it names {name[:200]}; {real} was read instead.")
        file = self._port.open_read(real)
        # Somebody may have put a link in the way between the look and the opening.
        if self._port.real_path(real) != real:
            file.close()
            raise Escape(
                "A directory turned into a link while the image was opened",
                path=self._path,
                found=real,
                hint="Look at the directory.",
            )
        return file

    def _moved(self, name: str) -> Optional[str]:
        """Where a file of the image is that was moved together with it, or into a folder of the user's."""
        bare = posixpath.basename(name) if is_path(name) else ""
        folders = dict.fromkeys((posixpath.dirname(self._path), *self._roots.folders))
        for place in (name, *(posixpath.join(folder, bare) for folder in folders)) if bare else ():
            try:
                return self.locate(place)
            except (Escape, MissingImage, Unsupported):
                continue
        return None

    def locate(self, name: str) -> str:
        """The path of the file, without links. Raises as a call does."""
        if not is_path(name) or _DRIVE.match(name):
            raise Escape(
                f"The image names {name[:200]!r}, which is no file in its directory",
                path=self._path,
                found=name[:200],
                expected="a path inside the image's directory",
                hint="Put the files together in one directory and let them name each other by their names.",
            )
        real = self._port.real_path(posixpath.join(posixpath.dirname(self._path), name))
        if not self._roots.holds(real):
            raise Escape(
                f"The image names a file outside of its directory, {name[:200]!r}",
                path=self._path,
                found=real,
                expected=f"a file below {', '.join(self._roots.trees)}",
                hint=f"If you trust it, set backing_paths: [{posixpath.dirname(real)}]; or copy the file there.",
            )
        stat = self._port.stat(real)
        if stat is None:
            raise MissingImage(
                f"The image names {name[:200]!r}, which is not there",
                path=self._path,
                expected=real,
                hint=f"Copy it to {real}, or name its folder in backing_paths.",
            )
        if stat.kind != FILE:
            hint = "Put the content into a file, and let the image name that."
            raise Unsupported(
                "The image names something that is no regular file", path=real, found=stat.kind, hint=hint
            )
        return real


def is_path(name: str) -> bool:
    """Whether an image names a file, and not what a protocol or nothing at all leads to."""
    return bool(name) and "\0" not in name and not _PROTOCOL.match(name)

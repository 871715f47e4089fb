# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of other products: opened by format, with the images below them where that is allowed.

An image may name other files: pieces of itself, and the image below it. Names are only followed inside the directory of
the image that the user named, never probed for their format, and never in a circle.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import re
from typing import List, Mapping, Optional, Sequence, Tuple

from .._bundle.paths import is_inside
from .._core.errors import BadRequest, Damaged, DiskError, Escape, MissingImage, NotFound, Unsupported
from .._core.plan import Fingerprint
from .._core.records import dataclass
from .._core.units import SECTOR, round_up
from .._formats.catalog import format_of_parent
from .._formats.codecs import open_image
from .._formats.image import ForeignImage, ImageReader, ParentLink
from .._io.fingerprint import identity
from .._io.port import FILE, File, Port
from .view import ComposedView, LayerStack

MOST_LAYERS = 256
"""More images on each other than anybody has; each of them is an open file."""

_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_DRIVE = re.compile(r"[A-Za-z]:/|//")


@dataclass(frozen=True)
class ForeignLayer:
    """One image of a chain: its path without links, guest size in bytes, and how many snapshots it holds inside.

    ``properties`` are empty unless they were asked for: to know them, all tables may have to be read.
    """

    format: str
    path: str
    size: int
    snapshots: int
    properties: Mapping[str, object]


@dataclass(frozen=True)
class ForeignChain:
    """An image and those below it, topmost first, with every file they consist of.

    Names are followed below ``root`` only.
    """

    root: str
    layers: Tuple[ForeignLayer, ...]
    fingerprint: Fingerprint
    warnings: Tuple[str, ...]

    @property
    def size(self) -> int:
        """The guest disk in bytes, in whole sectors."""
        return round_up(self.layers[0].size, SECTOR)


def find_chain(port: Port, path: str, *, format: str, backing: bool, with_properties: bool = False) -> ForeignChain:
    """Look at the image at ``path`` and, with ``backing``, at all below it; nothing stays open.

    Raises BadRequest for an image on another one without ``backing``, Escape, MissingImage, Damaged for a circle or a
    parent that is not the one the overlay was made on, Unsupported, and what the reader of the format raises.
    """
    real = port.real_path(path)
    root = posixpath.dirname(real)
    found: List[_Examined] = []
    while True:
        image = open_foreign(port, format, real, root)
        try:
            if found:
                _refuse_wrong_parent(image, found[-1])
            one = _examined(port, image, _layer_of(image, format, real, with_properties))
        finally:
            image.close()
        if one.file_id in [other.file_id for other in found]:
            raise Damaged(
                "The images name each other in a circle", path=real, hint="One of the backing names is wrong."
            )
        found.append(one)
        if one.link is None:
            return _chain_of(root, found)
        _refuse_backing(real, one.link, backing)
        if len(found) == MOST_LAYERS:
            raise Unsupported(
                f"More than {MOST_LAYERS} images are below each other",
                path=found[0].layer.path,
                hint="Merge some of them with their own tools.",
            )
        format, real = _parent(port, real, one.link, root)


@dataclass(frozen=True)
class _Examined:
    """One image of a chain, looked at: the layer, the files it consists of, and where it says its parent is."""

    layer: ForeignLayer
    files: Fingerprint
    file_id: Tuple[int, int]
    link: Optional[ParentLink]
    warnings: Tuple[str, ...]


def _layer_of(image: ForeignImage, format: str, path: str, with_properties: bool) -> ForeignLayer:
    properties = dict(image.properties) if with_properties else {}
    return ForeignLayer(format, path, image.size, getattr(image, "snapshots", 0), properties)


def _examined(port: Port, image: ForeignImage, layer: ForeignLayer) -> _Examined:
    return _Examined(
        layer,
        tuple((file, identity(port.stat(file))) for file in image.files),
        _file_id(port, layer.path),
        image.parent,
        tuple(f"{layer.path}: {warning}" for warning in image.warnings),
    )


def _chain_of(root: str, found: Sequence[_Examined]) -> ForeignChain:
    layers = tuple(one.layer for one in found)
    warnings = [warning for one in found for warning in one.warnings]
    if any(layer.size > layers[0].size for layer in layers):
        warnings.append(
            f"{layers[0].path}: an image below is larger than the disk; what it holds past the end is left out."
        )
    files = dict(file for one in found for file in one.files)
    return ForeignChain(root, layers, tuple(files.items()), tuple(warnings))


def open_chain(port: Port, chain: ForeignChain) -> ComposedView:
    """The guest disk that ``find_chain`` found."""
    opened: List[ImageReader] = []
    try:
        for layer in chain.layers:
            opened.append(open_foreign(port, layer.format, layer.path, chain.root))
    except BaseException:
        for image in opened:
            image.close()
        raise
    stack = LayerStack(opened, [layer.size for layer in chain.layers], chain.size)
    return ComposedView(chain.size, [(0, stack)])


def open_foreign(port: Port, format: str, path: str, root: str) -> ForeignImage:
    """Open one image. Files that it names are opened only when they are below ``root``.

    Raises what its reader raises.
    """
    return open_image(port, format, path, SiblingFiles(port, path, root))


class SiblingFiles:
    """Opens files that the image at ``path`` names, when they are below ``root`` with every link resolved."""

    def __init__(self, port: Port, path: str, root: str) -> None:
        self._port = port
        self._path = path
        self._root = root

    def __call__(self, name: str) -> File:
        """Open the file. Raises Escape, MissingImage, Unsupported for what is no regular file."""
        real = self.locate(name)
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

    def locate(self, name: str) -> str:
        """The path of the file, without links. Raises as a call does."""
        if not name or "\0" in name or _PROTOCOL.match(name) or _DRIVE.match(name):
            raise Escape(
                f"The image names {name[:200]!r}, which is no file in its directory",
                path=self._path,
                found=name[:200],
                expected="a path inside the image's directory",
                hint="Put the files together in one directory and let them name each other by their names.",
            )
        real = self._port.real_path(posixpath.join(posixpath.dirname(self._path), name))
        if not is_inside(real, self._root):
            raise Escape(
                f"The image names a file outside of its directory, {name[:200]!r}",
                path=self._path,
                found=real,
                expected=f"a file below {self._root}",
                hint="Copy the file there and correct the name in the image; names that lead out are never followed.",
            )
        stat = self._port.stat(real)
        if stat is None:
            raise MissingImage(
                f"The image names {name[:200]!r}, which is not there",
                path=self._path,
                expected=real,
                hint="Copy the missing file there.",
            )
        if stat.kind != FILE:
            raise Unsupported("The image names something that is no regular file", path=real, found=stat.kind)
        return real


def _refuse_backing(path: str, link: ParentLink, backing: bool) -> None:
    if not backing:
        below = link.names[0] if link.names else "another image"
        raise BadRequest(
            f"The image is an overlay: what it does not hold is in {below}",
            path=path,
            found=list(link.names)[:4],
            hint="Set backing: true to follow it; only files in the directory of the source are opened.",
        )


def _parent(port: Port, path: str, link: ParentLink, root: str) -> Tuple[str, str]:
    """Format and place of the image below. A link of a format with identities may also be found by its bare name."""
    if link.format is None:
        raise Unsupported(
            "The overlay does not say which format the image below it has, and guessing would be an open door",
            path=path,
            found=list(link.names)[:4],
            hint="Record it, for example with qemu-img rebase -u -F.",
        )
    format = format_of_parent(link.format)
    if format is None:
        raise Unsupported(
            f"The image below has the format {link.format[:40]}, which cannot be read there",
            path=path,
            found=link.format[:40],
        )
    names = list(link.names)
    if link.identity is not None:
        names += [name.rsplit("/", 1)[-1] for name in link.names]
    first: Optional[DiskError] = None
    for name in names:
        try:
            return format, SiblingFiles(port, path, root).locate(name)
        except (Escape, MissingImage, NotFound) as error:
            first = first or error
    raise first or MissingImage("The overlay names no image below it", path=path)


def _refuse_wrong_parent(image: ForeignImage, above: _Examined) -> None:
    link = above.link
    if link is None or link.identity is None or image.identity is None:
        return
    if image.identity.lower() in (link.identity.lower(), (link.other_identity or link.identity).lower()):
        return
    raise Damaged(
        "The image below is not the one that the overlay was made on, or it has been changed since",
        path=above.layer.path,
        expected=link.identity,
        found=f"{image.identity} in {image.path}",
        hint="Find the right image; the overlay cannot be read without it.",
    )


def _file_id(port: Port, path: str) -> Tuple[int, int]:
    stat = port.stat(path)
    if stat is None:
        raise NotFound("The image has gone", path=path)
    return stat.device, stat.inode

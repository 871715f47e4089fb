# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of other products: opened by format, with the images below them where that is allowed.

An image may name other files: pieces of itself, and the image below it. Names are only followed inside the directory of
the image that the user named, never probed for their format, and never in a circle.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import posixpath
import re
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple

from .._bundle.bundle import identity
from .._bundle.paths import is_inside
from .._core.errors import BadRequest, Damaged, DiskError, Escape, MissingImage, NotFound, Unsupported
from .._core.plan import Fingerprint
from .._core.records import dataclass
from .._core.units import SECTOR, round_up
from .._formats.image import ForeignImage, ImageReader, ParentLink
from .._io.port import FILE, File, Port
from .view import ComposedView, LayerStack

RAW = "raw"
MOST_LAYERS = 256
"""More images on each other than anybody has; each of them is an open file."""

# What overlays call the format of the image below them.
_CALLED = {"vpc": "vhd", "qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vhd", "vhdx": "vhdx", "vdi": "vdi", "raw": RAW}
_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_DRIVE = re.compile(r"[A-Za-z]:/|//")


@dataclass(frozen=True)
class ForeignLayer:
    """One image of a chain: where it lies, without links, its guest size in bytes, how many snapshots it holds inside,
    and what it is like.

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
    layers: List[ForeignLayer] = []
    seen: Set[Tuple[int, int]] = set()
    stats: Dict[str, Any] = {}
    warnings: List[str] = []
    link: Optional[ParentLink] = None
    while True:
        image = open_foreign(port, format, real, root)
        try:
            _refuse_wrong_parent(image, link, layers)
            properties = dict(image.properties) if with_properties else {}
            layers.append(ForeignLayer(format, real, image.size, getattr(image, "snapshots", 0), properties))
            warnings += [f"{real}: {warning}" for warning in image.warnings]
            for file in image.files:
                stats[file] = identity(port.stat(file))
            _refuse_circle(port, real, seen)
            link = image.parent
        finally:
            image.close()
        if link is None:
            break
        _refuse_backing(real, link, backing)
        if len(layers) == MOST_LAYERS:
            raise Unsupported(
                f"More than {MOST_LAYERS} images lie on each other",
                path=layers[0].path,
                hint="Merge some of them with their own tools.",
            )
        format, real = _parent(port, real, link, root)
    if any(layer.size > layers[0].size for layer in layers):
        warnings.append(
            f"{layers[0].path}: an image below is larger than the disk; what lies past the end of the disk is left out."
        )
    return ForeignChain(root, tuple(layers), tuple(stats.items()), tuple(warnings))


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
    """Open one image. Files that it names are opened only when they lie below ``root``.

    Raises what its reader raises.
    """
    return _openers(format)(port, path, SiblingFiles(port, path, root))


def _openers(format: str) -> Callable[[Port, str, SiblingFiles], Any]:
    """The reader of a format; only the one that is asked for is loaded."""
    if format == "qcow2":
        from .._formats.qcow2.reader import open_qcow2

        return lambda port, path, _beside: open_qcow2(port, path)
    if format == "vmdk":
        from .._formats.vmdk.reader import open_vmdk

        return open_vmdk
    if format == "vhd":
        from .._formats.vhd.reader import open_vhd

        return open_vhd
    if format == "vhdx":
        from .._formats.vhdx.reader import open_vhdx

        return lambda port, path, _beside: open_vhdx(port, path)
    if format == "vdi":
        from .._formats.vdi.reader import open_vdi

        return lambda port, path, _beside: open_vdi(port, path)
    if format == RAW:
        return lambda port, path, _beside: PlainParent(port, path)
    raise Unsupported(f"{format} is no format that can be read", path=None, found=format)


class PlainParent:
    """A raw image below an overlay."""

    parent: Optional[ParentLink] = None
    identity: Optional[str] = None
    properties: Mapping[str, object] = {}
    warnings: Tuple[str, ...] = ()

    def __init__(self, port: Port, path: str) -> None:
        from .._formats.raw.reader import open_raw

        self._image = open_raw(port, path)
        self.path = path
        self.files = (path,)
        self.size = self._image.size
        self.extents = self._image.extents
        self.pread_into = self._image.pread_into
        self.places = self._image.places
        self.close = self._image.close


class SiblingFiles:
    """Opens files that the image at ``path`` names, when they lie below ``root`` with every link resolved."""

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
        """Where the file lies, without links. Raises as a call does."""
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
    format = _CALLED.get(link.format.lower())
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


def _refuse_wrong_parent(image: ForeignImage, link: Optional[ParentLink], layers: List[ForeignLayer]) -> None:
    if link is None or link.identity is None or image.identity is None:
        return
    if image.identity.lower() in (link.identity.lower(), (link.other_identity or link.identity).lower()):
        return
    raise Damaged(
        "The image below is not the one that the overlay was made on, or it has been changed since",
        path=layers[-1].path,
        expected=link.identity,
        found=f"{image.identity} in {image.path}",
        hint="Find the right image; the overlay cannot be read without it.",
    )


def _refuse_circle(port: Port, path: str, seen: Set[Tuple[int, int]]) -> None:
    stat = port.stat(path)
    if stat is None:
        raise NotFound("The image has gone", path=path)
    if (stat.device, stat.inode) in seen:
        raise Damaged("The images name each other in a circle", path=path, hint="One of the backing names is wrong.")
    seen.add((stat.device, stat.inode))

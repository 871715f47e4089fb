# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of other products: opened by format, with the images below them where that is allowed.

An image may name other files: pieces of itself, and the image below it. Names are only followed inside the directory of
the image that the user named and where the user allows it, never probed for their format, and never in a circle.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .._core.errors import BadRequest, Damaged, NotFound, Unsupported
from .._core.records import dataclass, replace
from .._core.units import SECTOR, round_up
from .._formats.codecs import SNAPSHOT_OPENERS, open_image, snapshots_below
from .._formats.image import ForeignImage, ImageReader, ParentLink
from .._io.fingerprint import identity
from .._io.port import Port
from .foreign.allowed import NEARBY, Reach
from .foreign.parents import age_warning, find_parent, refuse_wrong_parent
from .foreign.reach import Roots, SiblingFiles, roots_of
from .view import ComposedView, LayerStack

if TYPE_CHECKING:
    from .._core.plan import Fingerprint

MOST_LAYERS = 256
"""More images on each other than anybody has; each of them is an open file."""


@dataclass(frozen=True)
class ForeignLayer:
    """One image of a chain: its path without links, guest size in bytes, and how many snapshots it holds inside.

    ``properties`` are empty unless they were asked for: to know them, all tables may have to be read. The guest sees
    sectors of ``logical_sector`` bytes.
    """

    format: str
    path: str
    size: int
    snapshots: int
    properties: Mapping[str, object]
    logical_sector: int = SECTOR
    at: Optional[str] = None
    """The snapshot inside of it that is read. A layer that ``is_inner`` lies on the next one in the same file."""
    is_inner: bool = False


@dataclass(frozen=True)
class ForeignChain:
    """An image and those below it, topmost first, with every file they consist of.

    Names are followed within ``roots`` only.
    """

    roots: Roots
    layers: Tuple[ForeignLayer, ...]
    fingerprint: Fingerprint
    warnings: Tuple[str, ...]

    @property
    def size(self) -> int:
        """The guest disk in bytes, in whole sectors."""
        return round_up(self.layers[0].size, SECTOR)


def find_chain(
    port: Port,
    path: str,
    *,
    format: str,
    backing: bool,
    with_properties: bool = False,
    reach: Reach = NEARBY,
    snapshot: Optional[str] = None,
) -> ForeignChain:
    """Look at the image at ``path``, or at the ``snapshot`` in it, and with ``backing`` at all below it.

    Nothing stays open.

    Raises BadRequest for an image on another one without ``backing``, Escape, MissingImage, Damaged for a circle or a
    parent that is not the one the overlay was made on, Unsupported, and what the reader of the format raises.
    """
    real = port.real_path(path)
    roots = roots_of(port, real, format, reach)
    found: List[_Examined] = []
    warnings: List[str] = []
    while True:
        place = _Place(format, real, with_properties, None if found else snapshot)
        one = _look(port, place, roots, found[-1] if found else None)
        if one.file_id in [other.file_id for other in found]:
            raise Damaged(
                "The images name each other in a circle", path=real, hint="Let one of them name the right image."
            )
        found.append(one)
        if one.link is None:
            return _chain_of(roots, found, warnings)
        _refuse_backing(real, one.link, backing)
        if len(found) == MOST_LAYERS:
            raise Unsupported(
                f"More than {MOST_LAYERS} images are below each other",
                path=found[0].layer.path,
                hint="Merge some of them with their own tools.",
            )
        format, real, warning = find_parent(port, real, one.link, roots, reach)
        warnings += [] if warning is None else [warning]


@dataclass(frozen=True)
class _Examined:
    """One image of a chain, looked at: the layer, the files it consists of, and where it says its parent is."""

    layer: ForeignLayer
    files: Fingerprint
    file_id: Tuple[int, int]
    link: Optional[ParentLink]
    warnings: Tuple[str, ...]


class _Place(NamedTuple):
    """An image to look at."""

    format: str
    path: str
    with_properties: bool
    snapshot: Optional[str]


def _look(port: Port, place: _Place, roots: Roots, above: Optional[_Examined]) -> _Examined:
    """Open an image, compare it with what the one above says of it, and close it again."""
    format, path, with_properties, snapshot = place
    beside = SiblingFiles(port, path, roots)
    image = open_image(port, format, path, beside, snapshot)
    try:
        warning = None
        if above is not None:
            refuse_wrong_parent(image, above.layer.path, above.link)
            warning = age_warning(port, image, above.layer.path, above.link)
        properties = dict(image.properties) if with_properties else {}
        sector = getattr(image, "logical_sector", SECTOR)
        layer = ForeignLayer(format, path, image.size, getattr(image, "snapshots", 0), properties, sector, snapshot)
        return _examined(port, image, layer, [*beside.warnings, *([] if warning is None else [warning])])
    finally:
        image.close()


def _examined(port: Port, image: ForeignImage, layer: ForeignLayer, said: Sequence[str]) -> _Examined:
    warnings = [*said, *(f"{layer.path}: {text}" for text in image.warnings)]
    return _Examined(
        layer,
        tuple((file, identity(port.stat(file))) for file in image.files),
        _file_id(port, layer.path),
        image.parent,
        tuple(warnings),
    )


def _chain_of(roots: Roots, found: Sequence[_Examined], said: Sequence[str]) -> ForeignChain:
    layers = tuple(one.layer for one in found)
    warnings = [*said, *(warning for one in found for warning in one.warnings)]
    if any(layer.size > layers[0].size for layer in layers):
        warnings.append(
            f"{layers[0].path}: an image below is larger than the disk; what it holds past the end is left out."
        )
    files = dict(file for one in found for file in one.files)
    return ForeignChain(roots, layers, tuple(files.items()), tuple(warnings))


def with_inner_layers(port: Port, chain: ForeignChain) -> ForeignChain:
    """The chain with the older snapshots inside of its topmost image as layers between that and what it lies on.

    Where the image holds none, the chain stays as it is. Raises as ``find_chain`` does.
    """
    top = chain.layers[0]
    older = snapshots_below(port, top.path, top.at) if top.format in SNAPSHOT_OPENERS else ()
    if not older:
        return chain
    if len(older) + len(chain.layers) > MOST_LAYERS:
        message, hint = f"The image holds more than {MOST_LAYERS} snapshots", "Set chain: flatten."
        raise Unsupported(message, path=top.path, hint=hint)
    found, said = [top], [text for text in chain.warnings if not _is_of_snapshots(text, top)]
    for one in older:
        below = _look(port, _Place(top.format, top.path, False, one), chain.roots, None)
        found.append(below.layer)
        said += [text for text in below.warnings if text not in said]
    inner = (replace(layer, is_inner=True) for layer in found[:-1])
    return replace(chain, layers=(*inner, found[-1], *chain.layers[1:]), warnings=tuple(said))


def _is_of_snapshots(text: str, layer: ForeignLayer) -> bool:
    return text.startswith(f"{layer.path}: ") and "internal snapshots" in text


def open_chain(port: Port, chain: ForeignChain) -> ComposedView:
    """The guest disk that ``find_chain`` found."""
    opened: List[ImageReader] = []
    try:
        for layer in chain.layers:
            opened.append(open_foreign(port, layer.format, layer.path, chain.roots, layer.at))
    except BaseException:
        for image in opened:
            image.close()
        raise
    sizes = [layer.size for layer in chain.layers]
    inner = sum(layer.is_inner for layer in chain.layers)
    readers = _with_deltas(opened, sizes, inner + 1) if inner else opened
    return ComposedView(chain.size, [(0, LayerStack(readers, sizes, chain.size))])


def _with_deltas(opened: Sequence[Any], sizes: Sequence[int], count: int) -> Sequence[ImageReader]:
    """The images with the first ``count``, which are of one file, as layers on each other and on those below."""
    from .._formats.codecs import snapshot_layers

    rest = opened[count:]
    below = LayerStack(rest, sizes[count:], max(sizes)) if rest else None
    return (*snapshot_layers(opened[:count], below), *rest)


def open_foreign(port: Port, format: str, path: str, roots: Roots, snapshot: Optional[str] = None) -> ForeignImage:
    """Open one image, at a snapshot that it holds if asked.

    Files that it names are opened only when they are within ``roots``.

    Raises what its reader raises.
    """
    return open_image(port, format, path, SiblingFiles(port, path, roots), snapshot)


def _refuse_backing(path: str, link: ParentLink, backing: bool) -> None:
    if not backing:
        below = link.names[0] if link.names else _unnamed(link)
        raise BadRequest(
            f"The image is an overlay: what it does not hold is in {below}",
            path=path,
            found=list(link.names)[:4],
            hint="Set backing: true to follow it; only files in the directory of the source are opened.",
        )


def _unnamed(link: ParentLink) -> str:
    return "another image" if link.ids is None else f"the image with the UUID {(link.ids.parent or '').strip('{}')}"


def _file_id(port: Port, path: str) -> Tuple[int, int]:
    stat = port.stat(path)
    if stat is None:
        raise NotFound("The image has gone", path=path)
    return stat.device, stat.inode

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sources of guest data: which disk a path names, opened as one view of the whole guest disk."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, Tuple

from .._bundle.bundle import BundleState, observe
from .._bundle.naming import SUFFIX
from .._bundle.paths import locate
from .._core.errors import BadRequest, Damaged, NotFound, Unsupported
from .._core.plan import Fingerprint
from .._core.records import dataclass
from .._core.units import SECTOR, round_up
from .._formats.catalog import FORMATS, HDD, RAW, format_detected_as
from .._formats.detect import detect
from .._formats.raw.reader import RawImage
from .._io.fingerprint import identity
from .._io.port import DIRECTORY, FILE, Port
from .view import ComposedView, LayerStack, open_view

if TYPE_CHECKING:
    from .backing import ForeignChain

AUTO = "auto"

_PREFIX = 4096
_SUFFIX = 512


@dataclass(frozen=True)
class Source:
    """The disk that guest data comes from. ``size`` is the guest disk in bytes, a multiple of 512.

    A bundle has its ``state`` and the ``guid`` of the snapshot to read, an image of another product its ``chain``.
    """

    format: str
    path: str
    size: int
    fingerprint: Fingerprint
    state: Optional[BundleState] = None
    guid: Optional[str] = None
    chain: Optional[ForeignChain] = None


def find_source(
    port: Port, path: str, *, format: str = AUTO, allow_outside: bool = False, backing: bool = False
) -> Source:
    """The source at ``path``.

    ``auto`` takes for raw only what looks like no other format; ``backing`` follows images below a foreign one.

    Raises NotFound, Unsupported for a format that cannot be read, BadRequest for an empty file, and what a foreign
    image's reader raises.
    """
    stat = port.stat(path)
    if stat is None:
        raise NotFound("There is no source", path=path, hint="Check the path.")
    chosen = _detected(port, path, stat.kind, stat.size) if format == AUTO else format
    if chosen == HDD:
        return _bundle(path, observe(port, locate(port, path), allow_outside=allow_outside))
    if stat.kind != FILE or stat.size == 0:
        what = stat.kind if stat.kind != FILE else stat.size
        message = f"A {chosen} source must be a regular file that is not empty"
        raise BadRequest(message, path, found=what, hint="Choose another one.")
    real = port.real_path(path)
    if chosen == RAW:
        return Source(RAW, real, round_up(stat.size, SECTOR), ((real, identity(stat)),))
    try:
        return _foreign(port, real, chosen, backing)
    except (Damaged, Unsupported) as error:
        if format == AUTO and error.path == real:
            error.hint = f"{error.hint or ''} Set src_format: raw if it really is raw.".strip()
        raise


def _bundle(path: str, state: BundleState) -> Source:
    place = state.location.directory if state.is_bundle else path
    return Source(HDD, place, state.descriptor.size_bytes, state.fingerprint, state, state.tree.top)


def _foreign(port: Port, path: str, format: str, backing: bool) -> Source:
    # Only those who read images of other products load what that takes.
    from .backing import find_chain

    chain = find_chain(port, path, format=format, backing=backing)
    if chain.size == 0:
        raise BadRequest("The source is a disk without any sector", path, found=0, hint="Choose another one.")
    return Source(format, path, chain.size, chain.fingerprint, chain=chain)


def _detected(port: Port, path: str, kind: str, size: int) -> str:
    if kind == DIRECTORY or (size == 0 and path.lower().endswith(SUFFIX)):
        return HDD
    if kind != FILE or size == 0:
        return RAW
    prefix, suffix = _ends(port, path, size)
    found = detect(prefix, suffix_bytes=suffix, name=path)
    format = HDD if path.endswith("/DiskDescriptor.xml") else format_detected_as(found)
    if format is None:
        raise Unsupported(
            f"The source looks like {found}, which cannot be read",
            path=path,
            found=found,
            expected=", ".join(FORMATS),
            hint="Set src_format: raw if it really is raw.",
        )
    return format


def _ends(port: Port, path: str, size: int) -> Tuple[bytes, bytes]:
    stream = port.open_read(path)
    try:
        head, tail = bytearray(min(size, _PREFIX)), bytearray(min(size, _SUFFIX))
        stream.pread_into(0, head)
        stream.pread_into(size - len(tail), tail)
        return bytes(head), bytes(tail)
    finally:
        stream.close()


def open_source(port: Port, source: Source, size: Optional[int] = None) -> ComposedView:
    """Open what ``find_source`` found, with zeros after its end up to ``size`` bytes."""
    view = _opened(port, source)
    return view if size is None or size == view.size else view.grown(size)


def _opened(port: Port, source: Source) -> ComposedView:
    if source.state is not None and source.guid is not None:
        return open_view(port, source.state, source.guid)
    if source.chain is not None:
        from .backing import open_chain

        return open_chain(port, source.chain)
    stream = port.open_read(source.path)
    image = RawImage(stream, stream.size())
    return ComposedView(source.size, [(0, LayerStack([image], [image.size], source.size))])

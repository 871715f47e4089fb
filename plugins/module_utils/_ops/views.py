# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Sources and targets of guest data: what stands behind a path, opened as one view of a whole guest disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Optional, Protocol, Tuple, Union

from .._bundle.bundle import BundleState, identity, observe
from .._bundle.chain import open_view
from .._bundle.naming import SUFFIX
from .._bundle.paths import locate
from .._core.errors import BadRequest, NotFound, Unsupported
from .._core.extents import ZERO, Extent, coalesce
from .._core.plan import Fingerprint
from .._core.units import SECTOR, round_up
from .._formats.detect import detect
from .._formats.raw import RawImage
from .._formats.reader import ImageReader
from .._io.port import DIRECTORY, FILE, Port

AUTO = "auto"
HDD = "hdd"
RAW = "raw"
_PREFIX = 4096
_SUFFIX = 512


class GuestView(Protocol):
    """A whole guest disk: every byte is there, DATA or ZERO."""

    size: int

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """DATA and ZERO parts of the range."""

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` with guest bytes from ``offset``."""

    def close(self) -> None:
        """Release every file."""


@dataclass(frozen=True)
class Source:
    """Where guest data comes from. ``size`` is the guest disk in bytes, a multiple of 512; a bundle has its ``state`` and ``guid``."""

    format: str
    path: str
    size: int
    fingerprint: Fingerprint
    state: Optional[BundleState] = None
    guid: Optional[str] = None


class PaddedView:
    """A view that goes on with zeros after the end of ``inner``, up to ``size``."""

    def __init__(self, inner: ImageReader, size: int) -> None:
        self._inner = inner
        self.size = size

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """The extents of the inner view, then ZERO."""
        return coalesce(self._extents(start, start + length))

    def _extents(self, start: int, end: int) -> Iterator[Extent]:
        inside = min(end, self._inner.size)
        if start < inside:
            yield from self._inner.extents(start, inside - start)
        if max(start, inside) < end:
            yield Extent(max(start, inside), end - max(start, inside), ZERO)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from ``offset``."""
        view = memoryview(buffer)
        inside = max(0, min(offset + len(view), self._inner.size) - offset)
        if inside:
            self._inner.pread_into(offset, view[:inside])
        view[inside:] = bytes(len(view) - inside)

    def close(self) -> None:
        """Close the inner view."""
        self._inner.close()


def find_source(port: Port, path: str, *, format: str = AUTO, allow_outside: bool = False) -> Source:
    """What lies at ``path``. ``auto`` takes for raw only what looks like no other format.

    Raises NotFound, Unsupported for a foreign format, BadRequest for an empty file.
    """
    stat = port.stat(path)
    if stat is None:
        raise NotFound("There is no source", path=path, hint="Check src.")
    chosen = _detected(port, path, stat.kind, stat.size) if format == AUTO else format
    if chosen == HDD:
        state = observe(port, locate(port, path), allow_outside=allow_outside)
        return Source(HDD, state.location.directory if state.is_bundle else path, state.descriptor.size_bytes, state.fingerprint, state, state.tree.top)
    if stat.kind != FILE or stat.size == 0:
        what = stat.kind if stat.kind != FILE else stat.size
        raise BadRequest("A raw source must be a regular file that is not empty", path=path, found=what, hint="Choose another src.")
    real = port.real_path(path)
    return Source(RAW, real, round_up(stat.size, SECTOR), ((real, identity(stat)),))


def _detected(port: Port, path: str, kind: str, size: int) -> str:
    if kind == DIRECTORY or (size == 0 and path.lower().endswith(SUFFIX)):
        return HDD
    if kind != FILE or size == 0:
        return RAW
    prefix, suffix = _ends(port, path, size)
    found = detect(prefix, suffix_bytes=suffix, name=path)
    if found == "hds" or path.endswith("/DiskDescriptor.xml"):
        return HDD
    if found != "unstructured":
        raise Unsupported(
            f"The source looks like {found}, which cannot be read",
            path=path,
            found=found,
            expected="hdd or raw",
            hint="Set src_format: raw if it really is raw.",
        )
    return RAW


def _ends(port: Port, path: str, size: int) -> Tuple[bytes, bytes]:
    stream = port.open_read(path)
    try:
        head, tail = bytearray(min(size, _PREFIX)), bytearray(min(size, _SUFFIX))
        stream.pread_into(0, head)
        stream.pread_into(size - len(tail), tail)
        return bytes(head), bytes(tail)
    finally:
        stream.close()


def open_source(port: Port, source: Source) -> GuestView:
    """Open what ``find_source`` found."""
    if source.state is not None and source.guid is not None:
        return open_view(port, source.state, source.guid)
    stream = port.open_read(source.path)
    return PaddedView(RawImage(stream, stream.size()), source.size)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every image format offers: a reader with positional access, and a writer that passes the disk once."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Callable, Iterator, Mapping, Optional, Protocol, Tuple, Union

from .._core.extents import Extent
from .._core.records import dataclass
from .._io.port import Buffer, File
from .image_ids import ImageIds
from .place import Place

OpenBeside = Callable[[str], File]
"""Opens a file that an image names, seen from the image's directory.

Raises Escape for a name that leads out of it, and MissingImage.
"""


class ImageReader(Protocol):
    """One open image. Positional and free of state, so threads may share it. Offsets and lengths are guest bytes."""

    size: int

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: ascending, gap-free, covering exactly the range.

        Raises BadRequest beyond ``size``.
        """

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill all of ``buffer`` from ``offset``; what is not stored reads as zeros.

        Raises BadRequest beyond ``size`` and Damaged when the file has less than it should.
        """

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The parts of the range that lie in a file as they are, ascending; none of what is packed or made up.

        Whether the host has a hole there does not matter. Raises BadRequest beyond ``size``.
        """

    def close(self) -> None:
        """Release the file; a second call does nothing."""


class Readable(Protocol):
    """What has a size in bytes and is read at any place."""

    size: int

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from ``offset``."""


class GuestView(Protocol):
    """A whole guest disk: every byte is there, DATA or ZERO."""

    size: int

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """DATA and ZERO parts of the range."""

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` with guest bytes from ``offset``."""

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The parts of the range that lie in a file as they are and hold data, ascending."""

    def close(self) -> None:
        """Release every file."""


@dataclass(frozen=True)
class ParentLink:
    """What an overlay says of the image below it.

    ``names`` are the places where it may lie, best first, as written but with ``/`` between the parts. ``format`` is
    None when the overlay does not say it. ``identity`` is what the parent's own ``identity`` must be, or else
    ``other_identity``; None where the format has no such check. ``ids`` are those of an overlay of VirtualBox, whose
    parent is found by them. ``timestamp`` (seconds since 1970) is when the parent was last changed, if that is noted.
    """

    names: Tuple[str, ...]
    format: Optional[str]
    identity: Optional[str] = None
    other_identity: Optional[str] = None
    ids: Optional[ImageIds] = None
    timestamp: Optional[int] = None


SUSPENDED = "The image belongs to a suspended virtual machine; what the guest had not yet written is missing."
"""The warning of an image with a saved state of its machine. The guest goes on from that: nothing in it is free."""


class ForeignImage(ImageReader, Protocol):
    """An image of another product.

    Only one that has a ``parent`` has ABSENT parts; what is not stored elsewhere is ZERO.

    ``files`` are the real paths of all files it consists of, ``identity`` is what overlays on it refer to it by,
    ``properties`` say what it is like apart from its content, in the words of the options (subformat, format_version,
    cluster_size, compression), ``warnings`` what a user should know of what is not carried over.
    """

    path: str
    files: Tuple[str, ...]
    parent: Optional[ParentLink]
    identity: Optional[str]
    properties: Mapping[str, object]
    warnings: Tuple[str, ...]


class ImageWriter(Protocol):
    """A new image that is written in one pass.

    What is never written reads as zeros, or as the parent's data in an overlay.
    """

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``, which must not lie before the end of an earlier write."""

    def finish(self) -> None:
        """Make the file a valid image; before that it is none. Syncing and closing are left to the caller."""


@dataclass(frozen=True)
class ParentImage:
    """The finished image below an overlay: its file name beside it, and the ``identity`` its ``finish`` was given."""

    name: str
    identity: str


class ForeignWriter(Protocol):
    """A new image of another product, written in one pass over one or more new, empty files, which are never read back.

    Ranges of an overlay cover whole multiples of ``grain`` bytes, but for the end of the disk. ``properties`` are those
    that the reader of the finished image will find.
    """

    grain: int
    properties: Mapping[str, object]

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``, which must not lie before the end of an earlier write."""

    def write_zeros(self, offset: int, length: int) -> None:
        """Let the range read as zeros whatever the parent has there; without a parent nothing needs to be stored."""

    def finish(self, identity: str) -> None:
        """Make the files a valid image; before that they are none.

        All ids in it are derived from the GUID ``identity``.
        """

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""What every image format offers: a reader with positional access, and a writer that goes through the guest disk once."""

from __future__ import annotations

from typing import Iterator, Protocol, Tuple, Union

from .._core.extents import Extent
from .._io.port import Buffer


class ImageReader(Protocol):
    """One open image. Positional and free of state, so threads may share it. Offsets and lengths are guest bytes."""

    size: int

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: ascending, gap-free, covering exactly the range. Raises BadRequest behind ``size``."""

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill all of ``buffer`` from ``offset``; what is not stored reads as zeros.

        Raises BadRequest behind ``size`` and Damaged when the file has less than it should.
        """

    def close(self) -> None:
        """Release the file; a second call does nothing."""


class MappedReader(ImageReader, Protocol):
    """An image whose stored bytes lie in its file as they are, so that a copy may go from file to file."""

    def mapped(self, start: int, length: int) -> Iterator[Tuple[int, int, int]]:
        """The stored parts of the range, ascending: ``(guest offset, length, file offset)``. Raises BadRequest behind ``size``."""


class ImageWriter(Protocol):
    """A new image that is written in one pass. What is never written reads as zeros, or as the parent's data in an overlay."""

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``, which must not lie before the end of an earlier write."""

    def finish(self) -> None:
        """Make the file a valid image; before that it is none. Syncing and closing are left to the caller."""

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing the flat kinds of VMDK: plain files with the bytes of the disk, and a text that names them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Mapping, Sequence

from ..._core.units import SECTOR
from ..._io.port import Buffer, File
from .cursor import Cursor, split_range
from .descriptor import NewDescriptor


class FlatWriter:
    """Writes monolithicFlat and twoGbMaxExtentFlat; what is never written stays a hole.

    Implements ``ForeignWriter``.
    """

    def __init__(self, files: Sequence[File], descriptor: NewDescriptor, *, grain_bytes: int) -> None:
        self.grain = grain_bytes
        self.properties: Mapping[str, object] = {
            "subformat": descriptor.create_type,
            "compression": "none",
            "adapter_type": descriptor.adapter_type,
        }
        self._file = files[0]
        self._pieces = files[1:]
        self._descriptor = descriptor
        self._cursor = Cursor(sum(extent.sectors for extent in descriptor.extents) * SECTOR, files[0].path)

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``. Raises BadRequest when that goes back or leaves the disk."""
        view = memoryview(buffer).cast("B")
        self._cursor.advance(offset, len(view))
        done = 0
        for index, start, length in split_range(self._descriptor.extents, offset, offset + len(view)):
            self._pieces[index].pwrite(start, view[done : done + length])
            done += length

    def write_zeros(self, offset: int, length: int) -> None:
        """Nothing needs to be stored. Raises BadRequest when the range goes back or leaves the disk."""
        self._cursor.advance(offset, length)

    def finish(self, identity: str) -> None:
        """Give the files their lengths, and write the descriptor."""
        for file, extent in zip(self._pieces, self._descriptor.extents):
            file.truncate(extent.sectors * SECTOR)
        self._file.pwrite(0, self._descriptor.pack(identity))

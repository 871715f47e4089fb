# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The writer of a raw image or of one layer of a Parallels disk, in one part or in several."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Mapping, Sequence, Tuple, Union

from ..._bundle.shape import EXPANDING, PLAIN, Shape
from ..._formats.hds.writer import HdsWriter, ReservedHdsWriter
from ..._formats.image import Place
from ..._formats.raw.writer import RawWriter
from ..._io.port import Buffer, File

OwnWriter = Union[HdsWriter, ReservedHdsWriter, RawWriter]


class PartsWriter:
    """A raw image, or one layer of a Parallels disk: one ascending stream, spread over the parts of a split disk."""

    properties: Mapping[str, object] = {}

    def __init__(self, parts: Sequence[Tuple[int, int]], writers: Sequence[OwnWriter], *, grain: int) -> None:
        self._parts = list(zip(parts, writers))
        self.writers = tuple(writers)
        self.grain = grain

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``, cut at the borders of parts."""
        view = memoryview(buffer)
        for start, low, high, writer in self._touched(offset, len(view)):
            writer.write(low - start, view[low - offset : high - offset])

    def places(self, offset: int, length: int) -> Tuple[Place, ...]:
        """The places for ``length`` bytes that the caller stores there himself."""
        return tuple(
            Place(low, high - low, writer.file, writer.place(low - start, high - low))
            for start, low, high, writer in self._touched(offset, length)
        )

    def write_zeros(self, offset: int, length: int) -> None:
        """Allocate clusters that read as zeros; a layer without another one below needs none."""
        for start, low, high, writer in self._touched(offset, length):
            if isinstance(writer, HdsWriter):
                writer.write_zeros(low - start, high - low)

    def _touched(self, offset: int, length: int) -> Iterator[Tuple[int, int, int, OwnWriter]]:
        """The parts that a range touches: where the part starts, the range within it, and its writer."""
        for (start, size), writer in self._parts:
            low, high = max(offset, start), min(offset + length, start + size)
            if low < high:
                yield start, low, high, writer

    def finish(self, identity: str) -> None:
        """Finish every part; none of them knows an ``identity``, which is in the descriptor."""
        del identity
        for _part, writer in self._parts:
            writer.finish()


def parts_writer(shape: Shape, files: Sequence[File], *, is_overlay: bool = False) -> PartsWriter:
    """A writer that fills ``files``, one for each part of the disk."""
    parts = zip(files, shape.parts)
    writers = [_part_writer(shape, file, length, is_overlay) for file, (_start, length) in parts]
    return PartsWriter(shape.parts, writers, grain=shape.cluster_bytes)


def _part_writer(shape: Shape, file: File, length: int, is_overlay: bool) -> OwnWriter:
    kind = EXPANDING if is_overlay else shape.kind
    if kind == PLAIN:
        if shape.preallocate:
            file.allocate(0, length)
        return RawWriter(file, size_bytes=length)
    if shape.preallocate and not is_overlay:
        return ReservedHdsWriter(file, size_bytes=length, cluster_bytes=shape.cluster_bytes, version=shape.version)
    return HdsWriter(file, size_bytes=length, cluster_bytes=shape.cluster_bytes, version=shape.version)

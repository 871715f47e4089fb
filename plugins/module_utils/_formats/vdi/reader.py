# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading VirtualBox disk images (VDI). What lies in the parent of one is not its business."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Mapping, Tuple, Union

from ..._core.extents import ABSENT, ZERO, Extent, coalesce
from ..._core.units import ceil_div
from ..._io.port import File, Port
from ..bounds import check_range
from ..image import ParentLink
from ..image_ids import ImageIds
from ..mapping import StoredRun, read_runs, run_extents, run_places
from ..place import Place
from .layout import HEADER_BYTES, ZERO_BLOCK, VdiHeader, parse_header
from .map import VdiMap

_NOWHERE = -1


class VdiImage:
    """An open image of ``size`` guest bytes, which need not be a multiple of a sector.

    The map is read where it is needed.
    """

    def __init__(self, file: File, header: VdiHeader, blocks: VdiMap, *, real_path: str) -> None:
        self.path = file.path
        self.file = file
        self.header = header
        self.size = header.size_bytes
        self.files: Tuple[str, ...] = (real_path,)
        self.ids = header.ids
        self.parent = None if header.ids.parent is None else ParentLink((), None, ids=header.ids)
        self.identity = header.identity
        self.properties: Mapping[str, object] = {"subformat": header.subformat, "cluster_size": header.block_bytes}
        self.warnings = header.warnings
        self._blocks = blocks

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: DATA, and ZERO for holes of the host file and for zeroed blocks.

        What was never stored is ABSENT with a parent, else ZERO. Raises Damaged when it comes to an entry of the map
        that is wrong.
        """
        check_range(self.path, self.size, start, length)
        end = start + length
        return coalesce(self._extents(start, end))

    def _extents(self, position: int, end: int) -> Iterator[Extent]:
        missing = ZERO if self.parent is None else ABSENT
        for run in self._runs(position, end):
            guest, length, offset = run
            if guest > position:
                yield Extent(position, guest - position, missing)
            position = guest + length
            if offset == _NOWHERE:
                yield Extent(guest, length, ZERO)
            else:
                yield from run_extents(self.file, (run,), guest, position, ZERO)
        if position < end:
            yield Extent(position, end - position, missing)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``; what is not stored reads as zeros.

        Raises Damaged for a wrong entry of the map, and when the file has become shorter.
        """
        view = memoryview(buffer)
        check_range(self.path, self.size, offset, len(view))
        read_runs(self.file, self._stored(offset, offset + len(view)), offset, view)

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The stored parts of the range."""
        check_range(self.path, self.size, start, length)
        return run_places(self.file, self._stored(start, start + length))

    def _stored(self, start: int, end: int) -> Iterator[StoredRun]:
        return (run for run in self._runs(start, end) if run[2] != _NOWHERE)

    def _runs(self, start: int, end: int) -> Iterator[StoredRun]:
        """The runs of the range, and those of zeros that hide a parent, which are NOWHERE."""
        header = self.header
        block_bytes = header.block_bytes
        first_byte = header.offset_data + header.extra_bytes
        for block, count, ordinal in self._blocks.runs(start // block_bytes, ceil_div(end, block_bytes)):
            # Extra bytes stand between the blocks, so that each is a piece of its own.
            step = 1 if header.extra_bytes and ordinal != ZERO_BLOCK else count
            for index in range(0, count, step):
                guest = (block + index) * block_bytes
                begin = max(guest, start)
                stop = min(guest + step * block_bytes, end)
                place = first_byte + (ordinal + index) * header.stride + begin - guest
                yield begin, stop - begin, _NOWHERE if ordinal == ZERO_BLOCK else place

    def close(self) -> None:
        """Release the file."""
        self.file.close()


def open_vdi(port: Port, path: str) -> VdiImage:
    """Open an image and judge its header; the file is closed again when that fails.

    Raises Damaged, and Unsupported for an undo image or another version of the format.
    """
    file = port.open_read(path)
    try:
        header = _read_header(file)
        real_path = port.real_path(path)
    except BaseException:
        file.close()
        raise
    return VdiImage(file, header, VdiMap(file, header, file_size=file.size()), real_path=real_path)


def _read_header(file: File) -> VdiHeader:
    raw = bytearray(HEADER_BYTES)
    got = file.pread_into(0, raw)
    return parse_header(bytes(raw[:got]), path=file.path, file_size=file.size())


def ids_of(file: File) -> ImageIds:
    """By which UUIDs an image is known. Raises what opening it raises."""
    return _read_header(file).ids

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading VirtualBox disk images (VDI) that have no parent."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Mapping, Optional, Tuple, Union

from ..._core.extents import ZERO, Extent, coalesce
from ..._core.units import ceil_div
from ..._io.port import File, Port
from ..bounds import check_range
from ..image import ParentLink
from ..mapping import StoredRun, read_runs, run_extents, run_places
from ..place import Place
from .layout import HEADER_BYTES, VdiHeader, parse_header
from .map import VdiMap


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
        self.parent: Optional[ParentLink] = None
        self.identity = header.identity
        self.properties: Mapping[str, object] = {"subformat": header.subformat, "cluster_size": header.block_bytes}
        self.warnings = header.warnings
        self._blocks = blocks

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: DATA, and ZERO for blocks that are not stored and for holes of the host file.

        Raises Damaged when it comes to an entry of the map that is wrong.
        """
        check_range(self.path, self.size, start, length)
        end = start + length
        return coalesce(run_extents(self.file, self._runs(start, end), start, end, ZERO))

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``; what is not stored reads as zeros.

        Raises Damaged for a wrong entry of the map, and when the file has become shorter.
        """
        view = memoryview(buffer)
        check_range(self.path, self.size, offset, len(view))
        read_runs(self.file, self._runs(offset, offset + len(view)), offset, view)

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The stored parts of the range."""
        check_range(self.path, self.size, start, length)
        return run_places(self.file, self._runs(start, start + length))

    def _runs(self, start: int, end: int) -> Iterator[StoredRun]:
        header = self.header
        block_bytes = header.block_bytes
        first_byte = header.offset_data + header.extra_bytes
        for block, count, ordinal in self._blocks.runs(start // block_bytes, ceil_div(end, block_bytes)):
            # Extra bytes stand between the blocks, so that each is a piece of its own.
            step = 1 if header.extra_bytes else count
            for index in range(0, count, step):
                guest = (block + index) * block_bytes
                begin = max(guest, start)
                stop = min(guest + step * block_bytes, end)
                yield begin, stop - begin, first_byte + (ordinal + index) * header.stride + begin - guest

    def close(self) -> None:
        """Release the file."""
        self.file.close()


def open_vdi(port: Port, path: str) -> VdiImage:
    """Open a dynamic or fixed image and judge its header; the file is closed again when that fails.

    Raises Damaged, and Unsupported for an image with a parent or of another version of the format.
    """
    file = port.open_read(path)
    try:
        file_size = file.size()
        raw = bytearray(HEADER_BYTES)
        got = file.pread_into(0, raw)
        header = parse_header(bytes(raw[:got]), path=path, file_size=file_size)
        real_path = port.real_path(path)
    except BaseException:
        file.close()
        raise
    return VdiImage(file, header, VdiMap(file, header, file_size=file_size), real_path=real_path)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain images: the bytes of the guest disk and nothing else (format reference, section 1.5)."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Iterator, Optional, Tuple, Union

from ..._core.errors import BadRequest, Damaged
from ..._core.extents import DATA, ZERO, Extent, coalesce
from ..._io.port import File, Port


class RawImage:
    """An open plain image of ``size`` bytes. Holes of the host file read as zeros; nothing is ever absent."""

    def __init__(self, file: File, size: int) -> None:
        self.path = file.path
        self.file = file
        self.size = size

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: DATA, and ZERO for holes of the host file."""
        self._check_range(start, length)
        return coalesce(self._extents(start, start + length))

    def _extents(self, position: int, end: int) -> Iterator[Extent]:
        for data_start, data_end in self.file.data_ranges(position, end):
            if data_start > position:
                yield Extent(position, data_start - position, ZERO)
            yield Extent(data_start, data_end - data_start, DATA)
            position = data_end
        if position < end:
            yield Extent(position, end - position, ZERO)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``. Raises Damaged when the file has become shorter."""
        length = len(buffer)
        self._check_range(offset, length)
        got = self.file.pread_into(offset, buffer)
        if got < length:
            raise Damaged("The file is shorter than the disk", path=self.path, offset=offset + got, expected=self.size)

    def mapped(self, start: int, length: int) -> Iterator[Tuple[int, int, int]]:
        """The parts of the range that are no holes: ``(guest offset, length, file offset)``."""
        self._check_range(start, length)
        return ((begin, end - begin, begin) for begin, end in self.file.data_ranges(start, start + length))

    def close(self) -> None:
        """Release the file."""
        self.file.close()

    def _check_range(self, start: int, length: int) -> None:
        if start < 0 or length < 0 or start + length > self.size:
            raise BadRequest(
                "The range leaves the disk",
                path=self.path,
                expected=f"0..{self.size}",
                found=f"{start}..{start + length}",
            )


def open_raw(port: Port, path: str, *, size: Optional[int] = None) -> RawImage:
    """Open a plain image; ``size`` is what the guest sees, by default the whole file.

    Raises Damaged when the file is shorter than ``size`` bytes.
    """
    file = port.open_read(path)
    try:
        file_size = file.size()
        if size is not None and file_size < size:
            raise Damaged(
                "The file is shorter than the disk", path=path, offset=file_size, expected=size, found=file_size
            )
    except BaseException:
        file.close()
        raise
    return RawImage(file, file_size if size is None else size)

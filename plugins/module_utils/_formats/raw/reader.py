# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain images: the bytes of the guest disk and nothing else (format reference, section 1.5)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Optional, Union

from ..._core.errors import Damaged
from ..._core.extents import ZERO, Extent, coalesce
from ..._io.port import File, Port
from ..bounds import check_range
from ..mapping import read_stored, run_extents
from ..place import Place


class RawImage:
    """An open plain image of ``size`` bytes. Holes of the host file read as zeros; nothing is ever absent."""

    def __init__(self, file: File, size: int) -> None:
        self.path = file.path
        self.file = file
        self.size = size

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: DATA, and ZERO for holes of the host file."""
        check_range(self.path, self.size, start, length)
        return coalesce(run_extents(self.file, ((start, length, start),), start, start + length, ZERO))

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``. Raises Damaged when the file has become shorter."""
        view = memoryview(buffer)
        check_range(self.path, self.size, offset, len(view))
        read_stored(self.file, offset, view)

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The parts of the range that are no holes."""
        check_range(self.path, self.size, start, length)
        return (
            Place(begin, end - begin, self.file, begin) for begin, end in self.file.data_ranges(start, start + length)
        )

    def close(self) -> None:
        """Release the file."""
        self.file.close()


def open_raw(port: Port, path: str, *, size: Optional[int] = None) -> RawImage:
    """Open a plain image; ``size`` is what the guest sees, by default the whole file.

    Raises Damaged when the file is shorter than ``size`` bytes.
    """
    file = port.open_read(path)
    try:
        file_size = file.size()
        if size is not None and file_size < size:
            raise Damaged("The file is shorter than the disk", path, file_size, expected=size, found=file_size)
    except BaseException:
        file.close()
        raise
    return RawImage(file, file_size if size is None else size)

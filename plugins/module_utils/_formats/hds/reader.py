# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading one expanding image. What lies in its parents is not its business."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Iterator, Optional, Tuple, Union

from ..._core.extents import ABSENT, DATA, Extent, coalesce
from ..._core.units import ceil_div
from ..._io.port import File, Port
from ..bounds import check_range
from ..mapping import StoredRun, read_runs, run_extents, run_places
from ..place import Place
from .bat import RunTable, read_table
from .bat_check import check_table
from .header import HEADER_BYTES, HdsHeader, parse_header

if TYPE_CHECKING:
    from ..._io.port import Stat
    from .extension import Extension
    from .known import KnownTables

# More runs than this in a range are worth asking whether the host file has holes at all.
_MANY_RUNS = 64


class HdsImage:
    """An open expanding image of ``size`` guest bytes, with everything that its metadata says."""

    def __init__(self, file: File, header: HdsHeader, table: RunTable, extension: Optional[Extension]) -> None:
        self.path = file.path
        self.file = file
        self.header = header
        self.table = table
        self.extension = extension
        self.size = header.size_bytes

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: ABSENT where nothing is allocated, ZERO for holes of the host file, else DATA."""
        check_range(self.path, self.size, start, length)
        end = start + length
        if self._is_dense(start, end):
            return coalesce(self._dense_extents(start, end))
        return coalesce(run_extents(self.file, self._runs(start, end), start, end, ABSENT))

    def has_any(self, start: int, length: int) -> bool:
        """Whether any cluster of the range, which is not empty, is allocated."""
        cluster_bytes = self.table.cluster_bytes
        return self.table.has_any(start // cluster_bytes, ceil_div(start + length, cluster_bytes))

    def _is_dense(self, start: int, end: int) -> bool:
        """Whether the host file has no hole in the range; False where the runs are too few to be worth asking."""
        if self.table.count_runs(*self._clusters(start, end)) < _MANY_RUNS:
            return False
        first, last = self.header.data_start, self.table.data_end
        return next(self.file.data_ranges(first, last), None) == (first, last)

    def _dense_extents(self, position: int, end: int) -> Iterator[Extent]:
        """As without holes: whatever is allocated is DATA."""
        cluster_bytes = self.header.cluster_bytes
        for first, last in self.table.allocated_ranges(*self._clusters(position, end)):
            start, stop = max(first * cluster_bytes, position), min(last * cluster_bytes, end)
            if start > position:
                yield Extent(position, start - position, ABSENT)
            yield Extent(start, stop - start, DATA)
            position = stop
        if position < end:
            yield Extent(position, end - position, ABSENT)

    def _clusters(self, start: int, end: int) -> Tuple[int, int]:
        """The first cluster that the range touches, and the one after the last."""
        return start // self.header.cluster_bytes, ceil_div(end, self.header.cluster_bytes)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``; what is not allocated reads as zeros.

        Raises Damaged when the file has become shorter than its table says.
        """
        view = memoryview(buffer)
        length = len(view)
        check_range(self.path, self.size, offset, length)
        read_runs(self.file, self._runs(offset, offset + length), offset, view)

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The allocated parts of the range."""
        check_range(self.path, self.size, start, length)
        return run_places(self.file, self._runs(start, start + length))

    def _runs(self, start: int, end: int) -> Iterator[StoredRun]:
        cluster_bytes = self.header.cluster_bytes
        for cluster, count, offset in self.table.runs(*self._clusters(start, end)):
            guest = cluster * cluster_bytes
            begin = max(guest, start)
            stop = min(guest + count * cluster_bytes, end)
            if begin < stop:
                yield begin, stop - begin, offset + begin - guest

    def close(self) -> None:
        """Release the file."""
        self.file.close()


def open_hds(port: Port, path: str, *, stat: Optional[Stat] = None, known: Optional[KnownTables] = None) -> HdsImage:
    """Open an expanding image and judge all of its metadata. Raises Damaged or Unsupported; the file is closed then.

    A dirty image opens, and so does one whose change of version was not finished: see ``header``. The table need not be
    read and judged when it is ``known`` of the file, which ``stat`` describes.
    """
    file = port.open_read(path)
    try:
        file_size = file.size()
        raw = bytearray(HEADER_BYTES)
        got = file.pread_into(0, raw)
        header = parse_header(bytes(raw[:got]), path=path, file_size=file_size)
        table = known.find(stat, header) if known is not None and stat is not None else None
        if table is None:
            table = read_table(file, header)
            check_table(table, header, path=path, file_size=file_size)
        extension = _extension(file, header, path, file_size) if header.ext_off else None
    except BaseException:
        file.close()
        raise
    return HdsImage(file, header, table, extension)


def _extension(file: File, header: HdsHeader, path: str, file_size: int) -> Optional[Extension]:
    # Few images have one.
    from .extension import read_extension

    return read_extension(file, header, path=path, file_size=file_size)

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a VHDX image (Hyper-V, generation 2): dynamic, fixed or differencing.

What lies in its parents is not its business.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict, Iterator, List, Mapping, Optional, Tuple, Union

from ..._core.errors import Damaged
from ..._core.extents import ABSENT, DATA, ZERO, Extent, coalesce
from ..._core.units import SECTOR, ceil_div
from ..._io.buffers import clear
from ..._io.port import File, Port
from ..bounds import check_range
from ..damage import DamagedImage
from ..image import ParentLink
from ..mapping import ByteSource, read_stored, run_extents
from ..place import Place
from .bat import FULLY_PRESENT, NOT_PRESENT, PARTIALLY_PRESENT, BlockTable
from .layout import (
    BAT,
    HEADER_BYTES,
    HEADER_OFFSETS,
    MAGIC,
    METADATA,
    REGION_OFFSETS,
    TABLE_BYTES,
    UNIT,
    Region,
    VhdxDisk,
    VhdxHeader,
    choose_header,
    parse_disk,
    parse_items,
    parse_regions,
)

# How many bytes of sector bits are taken apart at once.
_BITS_BYTES = 4096
_REPLAYED = "The disk was not closed properly; what its log holds was taken into account, and the file was not changed."


class VhdxImage:
    """An open image of ``size`` guest bytes.

    ``disk`` is what its metadata says. ``parent_linkage2`` is a second identity that its parent may have instead of the
    one in ``parent``. ``source`` is the ``file``, or stands for it while its log is laid over it.
    """

    def __init__(
        self, file: File, source: ByteSource, header: VhdxHeader, disk: VhdxDisk, table: BlockTable, *, real_path: str
    ) -> None:
        self.path = source.path
        self.files: Tuple[str, ...] = (real_path,)
        self.header = header
        self.disk = disk
        self.size = disk.size
        self.logical_sector = disk.logical_sector
        self.identity: Optional[str] = header.data_id
        self.parent = parent_link(disk.locator)
        self.parent_linkage2 = None if disk.locator is None else disk.locator.get("parent_linkage2")
        subformat = "differencing" if disk.locator is not None else "fixed" if disk.is_fixed else "dynamic"
        sectors = {} if disk.logical_sector == SECTOR else {"sector_size": disk.logical_sector}
        properties = {"subformat": subformat, "cluster_size": disk.block_bytes, **sectors}
        self.properties: Mapping[str, object] = properties
        self.warnings: Tuple[str, ...] = (_REPLAYED,) if source is not file else ()
        self._file = file
        self._source = source
        self._table = table

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        """What the range is made of: DATA, ZERO also for holes of the host file, ABSENT for what the parent answers."""
        check_range(self.path, self.size, start, length)
        return coalesce(self._extents(start, start + length))

    def _extents(self, start: int, end: int) -> Iterator[Extent]:
        for position, length, kind, offset in self._parts(start, end):
            if kind != DATA:
                yield Extent(position, length, kind)
                continue
            yield from run_extents(self._source, ((position, length, offset),), position, position + length, ZERO)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        """Fill ``buffer`` from guest byte ``offset``; what is not stored here reads as zeros.

        Raises Damaged when the file has become shorter than its table says.
        """
        view = memoryview(buffer)
        check_range(self.path, self.size, offset, len(view))
        for position, length, kind, file_offset in self._parts(offset, offset + len(view)):
            part = view[position - offset : position - offset + length]
            if kind == DATA:
                read_stored(self._source, file_offset, part)
            else:
                clear(part)

    def places(self, start: int, length: int) -> Iterator[Place]:
        """The parts of the range that are present here; none while the log is laid over the file."""
        check_range(self.path, self.size, start, length)
        file, parts = self._file, self._parts(start, start + length)
        if self._source is not file:
            return iter(())
        return (Place(guest, count, file, offset) for guest, count, kind, offset in parts if count and kind == DATA)

    def _parts(self, start: int, end: int) -> Iterator[Tuple[int, int, str, int]]:
        """The range without gaps: guest offset, length, kind, and for DATA the offset in the file."""
        block_bytes = self.disk.block_bytes
        for run in self._table.runs(start // block_bytes, ceil_div(end, block_bytes)):
            guest = run.block * block_bytes
            begin, stop = max(start, guest), min(end, guest + run.count * block_bytes)
            if run.state == PARTIALLY_PRESENT:
                for number in range(run.count):
                    block = guest + number * block_bytes
                    first, last = max(begin, block), min(stop, block + block_bytes)
                    if first < last:
                        yield from self._mixed(run.block + number, first, last, run.offset + first - guest)
            elif run.state == FULLY_PRESENT:
                yield begin, stop - begin, DATA, run.offset + begin - guest
            else:
                yield begin, stop - begin, ABSENT if run.state == NOT_PRESENT and self.parent is not None else ZERO, 0

    def _mixed(self, block: int, start: int, end: int, offset: int) -> Iterator[Tuple[int, int, str, int]]:
        """The parts of a block that is present in part; ``offset`` is the place of ``start`` in the file."""
        sector_bytes = self.disk.logical_sector
        origin = block * self.disk.block_bytes
        group_bytes = _BITS_BYTES * 8 * sector_bytes
        position = start
        while position < end:
            stop = min(end, origin + ((position - origin) // group_bytes + 1) * group_bytes)
            first, last = (position - origin) // sector_bytes, ceil_div(stop - origin, sector_bytes)
            bits = self._table.sector_bits(block, first // 8, ceil_div(last, 8))
            for begin, finish, is_here in _bit_runs(bits, first % 8, first % 8 + last - first):
                guest = max(position, origin + (first // 8 * 8 + begin) * sector_bytes)
                length = min(stop, origin + (first // 8 * 8 + finish) * sector_bytes) - guest
                yield guest, length, DATA if is_here else ABSENT, offset + guest - start
            position = stop

    def close(self) -> None:
        """Release the file; a second call does nothing."""
        self._source.close()


def parent_link(locator: Optional[Mapping[str, str]]) -> Optional[ParentLink]:
    """What a parent locator says, the relative path first. A volume path means nothing outside of its Windows."""
    if locator is None:
        return None
    names = []
    if "relative_path" in locator:
        names.append(locator["relative_path"])
    if "absolute_win32_path" in locator:
        absolute = locator["absolute_win32_path"]
        names.append(absolute[4:] if absolute.startswith("\\\\?\\") else absolute)
    names = [name.replace("\\", "/") for name in names]
    names = [name[2:] if name.startswith("./") else name for name in names]
    return ParentLink(
        tuple(name for name in names if name), "vhdx", locator["parent_linkage"], locator.get("parent_linkage2")
    )


def open_vhdx(port: Port, path: str) -> VhdxImage:
    """Open an image and judge all of its metadata and its whole block table.

    The log of an image that was not closed is laid over it for reading; the file is never changed. Raises Damaged or
    Unsupported; the file is closed then.
    """
    file = port.open_read(path)
    try:
        return _open(file, port.real_path(path))
    except BaseException:
        file.close()
        raise


def _open(file: File, real_path: str) -> VhdxImage:
    path = file.path
    magic = _read(file, 0, len(MAGIC))
    if magic != MAGIC:
        raise Damaged("The file is no VHDX image", path, 0, expected=MAGIC, found=magic)
    header = choose_header([_read(file, offset, HEADER_BYTES) for offset in HEADER_OFFSETS], path=path)
    log = _log_region(header, path=path, file_size=file.size())
    source: ByteSource = file
    if header.log_id is not None:
        from .log import replay

        source = replay(file, log, log_id=header.log_id)
    regions = parse_regions([_read(source, offset, TABLE_BYTES) for offset in REGION_OFFSETS], path=path)
    taken = [region for region in (log, *regions.values()) if region.length]
    _check_regions(taken, path=path, file_size=source.size())
    disk = parse_disk(_metadata(source, regions[METADATA]), path=path)
    needed = disk.table_entries * 8
    if regions[BAT].length < needed:
        raise Damaged(
            "The block table is too short for the disk",
            path,
            regions[BAT].offset,
            expected=needed,
            found=regions[BAT].length,
        )
    table = BlockTable(source, disk, regions[BAT])
    table.check(taken=taken)
    return VhdxImage(file, source, header, disk, table, real_path=real_path)


def _read(source: ByteSource, offset: int, length: int) -> bytes:
    """Up to ``length`` bytes; fewer at the end of the file."""
    buffer = bytearray(length)
    return bytes(memoryview(buffer)[: source.pread_into(offset, buffer)])


def _log_region(header: VhdxHeader, *, path: str, file_size: int) -> Region:
    """Where the log lies. A file without a log has one of length 0."""
    log = Region(header.log_offset, header.log_bytes)
    if log.length % UNIT or (log.length and (log.offset < UNIT or log.offset % UNIT or log.end > file_size)):
        found = f"{log.length} bytes at {log.offset}"
        raise DamagedImage(
            "The log does not lie within the file", path, expected=f"whole MiB within {UNIT}..{file_size}", found=found
        )
    if not log.length and header.log_id is not None:
        raise DamagedImage("The file was not closed, and it has no log", path, expected="a log", found=0)
    return log


def _check_regions(regions: List[Region], *, path: str, file_size: int) -> None:
    for region in regions:
        if region.offset < UNIT or region.offset % UNIT or region.length % UNIT or region.end > file_size:
            found = f"{region.length} bytes at {region.offset}"
            message = "A region does not lie within the file"
            raise DamagedImage(
                message, path, region.offset, expected=f"whole MiB within {UNIT}..{file_size}", found=found
            )
    ordered = sorted(regions)
    for lower, upper in zip(ordered, ordered[1:]):
        if lower.end > upper.offset:
            raise DamagedImage(
                "Two regions of the file overlap",
                path,
                upper.offset,
                expected=f"at least {lower.end}",
                found=upper.offset,
            )


def _metadata(source: ByteSource, region: Region) -> Dict[str, bytes]:
    """The values of the known items of metadata."""
    if region.length < TABLE_BYTES:
        raise DamagedImage(
            "The metadata region is too short", source.path, region.offset, expected=TABLE_BYTES, found=region.length
        )
    items = parse_items(_read(source, region.offset, TABLE_BYTES), region, path=source.path)
    return {name: _read(source, region.offset + item.offset, item.length) for name, item in items.items()}


def _bit_runs(bits: bytes, first: int, end: int) -> Iterator[Tuple[int, int, bool]]:
    """Like bits among ``first`` to ``end``, the lowest of each byte first: begin, end, and whether they are set."""
    digits = f"{int.from_bytes(bits, 'little'):0{len(bits) * 8}b}"[::-1]
    while first < end:
        is_set = digits[first] == "1"
        stop = digits.find("0" if is_set else "1", first, end)
        stop = end if stop < 0 else stop
        yield first, stop, is_set
        first = stop

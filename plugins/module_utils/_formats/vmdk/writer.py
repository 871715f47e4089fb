# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writing a VMDK: the choice of the writer and of the file names, and the hosted sparse kinds, in one file or in
several.

::

    header | descriptor | redundant directory | its tables | directory | its tables | grains in the order of the disk

The room of the tables is known from the size of the disk, so they come first and data follows as it is written. A table
goes out when the stream has passed it; directory, descriptor and header come last.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import sys
from array import array
from typing import Dict, Iterator, Mapping, Optional, Sequence, Tuple

from ..._core.errors import BadRequest
from ..._core.units import SECTOR, ceil_div
from ..._io.port import Buffer, File
from ..image import ForeignWriter, ParentImage
from .descriptor import (
    ADAPTER_TYPES,
    CREATE_TYPES,
    MONOLITHIC_FLAT,
    MONOLITHIC_SPARSE,
    SPLIT_FLAT,
    SPLIT_SPARSE,
    STREAM,
    ExtentLine,
    NewDescriptor,
    checked_name,
)
from .layout import (
    DESCRIPTOR_SECTORS,
    MOST_EXTENTS,
    MOST_SECTORS,
    TABLE_ENTRIES,
    TABLE_SECTORS,
    hosted_header,
    pack_sparse_header,
)

SPLIT_BYTES = 2047 << 20
"""The size of one piece of a split disk, as VMware cuts it."""

# The note of VMware, and libvmdk with it, wants more than 8 sectors.
_LEAST_GRAIN, _MOST_GRAIN = 8192, 2 << 20
_DIRECTORY_PIECE = 16384


def vmdk_files(base: str, subformat: str, size_bytes: int) -> Tuple[str, ...]:
    """The names of the files of a new image: first ``base``, which is the one to open, then its extents.

    Raises BadRequest for an unknown subformat, an impossible size, and a name that cannot be written into a descriptor.
    """
    _check_size(size_bytes)
    checked_name(base)
    stem = base[:-5] if base.lower().endswith(".vmdk") else base
    if subformat in (MONOLITHIC_SPARSE, STREAM):
        return (base,)
    if subformat == MONOLITHIC_FLAT:
        return (base, f"{stem}-flat.vmdk")
    if subformat not in CREATE_TYPES:
        raise BadRequest(
            f"There is no subformat {subformat!r} of VMDK", expected=", ".join(CREATE_TYPES), found=subformat
        )
    letter = "s" if subformat == SPLIT_SPARSE else "f"
    count = ceil_div(size_bytes, SPLIT_BYTES)
    if count > MOST_EXTENTS:
        raise BadRequest(
            "The disk would have too many files", expected=f"up to {MOST_EXTENTS * SPLIT_BYTES} bytes", found=size_bytes
        )
    return (base, *(f"{stem}-{letter}{number:03d}.vmdk" for number in range(1, count + 1)))


def new_vmdk_writer(
    files: Sequence[File],
    names: Sequence[str],
    *,
    subformat: str,
    size_bytes: int,
    grain_bytes: int = 65536,
    level: Optional[int] = None,
    adapter_type: str = "lsilogic",
    hardware_version: int = 4,
    parent: Optional[ParentImage] = None,
    timestamp: int = 0,
    workers: Optional[int] = None,
) -> ForeignWriter:
    """A writer for new, empty ``files``, whose final names are ``names``, in the order of ``vmdk_files``.

    ``level`` (0 to 9, by default 6) and ``workers`` (threads) concern streamOptimized alone, ``parent``
    monolithicSparse. ``timestamp`` is there because every format has it: no field of a VMDK holds a time. Raises
    BadRequest for what does not fit together.
    """
    del timestamp
    if len(files) != len(names) or len(names) != len(vmdk_files(names[0], subformat, size_bytes)):
        raise BadRequest(
            "The number of files does not fit the subformat",
            expected=len(vmdk_files(names[0], subformat, size_bytes)),
            found=len(files),
        )
    _check_options(subformat, grain_bytes, level, adapter_type, hardware_version, parent)
    descriptor = NewDescriptor(
        subformat, _extent_lines(names, subformat, size_bytes), adapter_type, hardware_version, parent
    )
    # A name that is too long or cannot be written shall not come out at the end.
    if len(descriptor.pack("")) > DESCRIPTOR_SECTORS * SECTOR and subformat in (MONOLITHIC_SPARSE, STREAM):
        raise BadRequest(
            "The file names are too long for a VMDK",
            path=files[0].path,
            expected=f"up to {DESCRIPTOR_SECTORS * SECTOR} bytes of descriptor",
        )
    if subformat == STREAM:
        from .stream_writer import StreamWriter

        return StreamWriter(
            files[0],
            descriptor,
            size_bytes=size_bytes,
            grain_bytes=grain_bytes,
            level=6 if level is None else level,
            workers=workers,
        )
    if subformat in (MONOLITHIC_FLAT, SPLIT_FLAT):
        from .flat_writer import FlatWriter

        return FlatWriter(files, descriptor, grain_bytes=grain_bytes)
    return SparseWriter(files, descriptor, grain_bytes=grain_bytes)


def _check_size(size_bytes: int) -> None:
    if size_bytes <= 0 or size_bytes % SECTOR or size_bytes > MOST_SECTORS * SECTOR:
        raise BadRequest(
            "This is no possible size of a VMDK",
            expected=f"a multiple of {SECTOR} up to {MOST_SECTORS * SECTOR}",
            found=size_bytes,
        )


def _check_options(
    subformat: str,
    grain_bytes: int,
    level: Optional[int],
    adapter_type: str,
    hardware_version: int,
    parent: Optional[ParentImage],
) -> None:
    if not _LEAST_GRAIN <= grain_bytes <= _MOST_GRAIN or grain_bytes & (grain_bytes - 1):
        raise BadRequest(
            "This is no possible grain size",
            expected=f"a power of two, {_LEAST_GRAIN}..{_MOST_GRAIN}",
            found=grain_bytes,
        )
    if adapter_type not in ADAPTER_TYPES:
        hint = "The adapter of the virtual machine may be another one (pvscsi, sata, nvme): then lsilogic belongs into the image."
        raise BadRequest(
            f"There is no adapter type {adapter_type!r}",
            expected=", ".join(ADAPTER_TYPES),
            found=adapter_type,
            hint=hint,
        )
    if not 1 <= hardware_version <= 99:
        raise BadRequest("This is no hardware version", expected="1..99", found=hardware_version)
    if level is not None and (subformat != STREAM or not 0 <= level <= 9):
        raise BadRequest(
            "compression_level: this level is not possible",
            expected=f"0..9, with {STREAM}",
            found=f"{level}, with {subformat}",
        )
    if parent is not None and subformat != MONOLITHIC_SPARSE:
        raise BadRequest("An image of this subformat has no parent", expected=MONOLITHIC_SPARSE, found=subformat)


def _extent_lines(names: Sequence[str], subformat: str, size_bytes: int) -> Tuple[ExtentLine, ...]:
    sectors = size_bytes // SECTOR
    if subformat in (MONOLITHIC_SPARSE, STREAM):
        return (ExtentLine(sectors, "SPARSE", names[0]),)
    if subformat == MONOLITHIC_FLAT:
        return (ExtentLine(sectors, "FLAT", names[1]),)
    kind = "SPARSE" if subformat == SPLIT_SPARSE else "FLAT"
    piece = SPLIT_BYTES // SECTOR
    return tuple(ExtentLine(min(piece, sectors - index * piece), kind, name) for index, name in enumerate(names[1:]))


class Course:
    """The way of a writer through the disk: where the next range may start."""

    def __init__(self, size_bytes: int, path: str) -> None:
        self.size_bytes = size_bytes
        self._path = path
        self._position = 0

    def advance(self, offset: int, length: int) -> None:
        """Go behind the range.

        Raises BadRequest when that goes back or leaves the disk; an empty range may lie anywhere in it.
        """
        end = offset + length
        if length < 0 or end > self.size_bytes or offset < (self._position if length else 0):
            expected = f"{self._position}..{self.size_bytes}"
            raise BadRequest(
                "The range goes back or leaves the disk", path=self._path, expected=expected, found=f"{offset}..{end}"
            )
        if length:
            self._position = end


def split_range(pieces: Sequence[ExtentLine], start: int, end: int) -> Iterator[Tuple[int, int, int]]:
    """The parts of a range of guest bytes as ``(piece, start in it, length)``; all pieces but the last are of one
    size.
    """
    piece_bytes = pieces[0].sectors * SECTOR
    while start < end:
        index, inside = divmod(start, piece_bytes)
        length = min(end - start, piece_bytes - inside)
        yield index, inside, length
        start += length


class SparseWriter:
    """Writes monolithicSparse and twoGbMaxExtentSparse, and overlays of the first kind.

    Implements ``ForeignWriter``.
    """

    def __init__(self, files: Sequence[File], descriptor: NewDescriptor, *, grain_bytes: int) -> None:
        self.grain = grain_bytes
        self.properties: Mapping[str, object] = _properties(descriptor, grain_bytes)
        self._file = files[0]
        self._descriptor = descriptor
        self._course = Course(sum(extent.sectors for extent in descriptor.extents) * SECTOR, files[0].path)
        self._is_single = len(files) == 1
        pieces = files if self._is_single else files[1:]
        room = DESCRIPTOR_SECTORS if self._is_single else 0
        self._pieces = [
            _SparsePiece(file, extent.sectors, grain_bytes, room) for file, extent in zip(pieces, descriptor.extents)
        ]

    def write(self, offset: int, buffer: Buffer) -> None:
        """Store ``buffer`` at guest byte ``offset``. Raises BadRequest when that goes back or leaves the disk."""
        view = memoryview(buffer).cast("B")
        self._course.advance(offset, len(view))
        done = 0
        for index, start, length in split_range(self._descriptor.extents, offset, offset + len(view)):
            self._pieces[index].write(start, view[done : done + length])
            done += length

    def write_zeros(self, offset: int, length: int) -> None:
        """Let the range read as zeros.

        In an overlay its grains are stored: not every reader knows the entry for a grain of zeros.

        They are holes of the file where the host has holes. Raises BadRequest when the range goes back or leaves the
        disk.
        """
        self._course.advance(offset, length)
        if length and self._descriptor.parent is not None:
            self._pieces[0].reserve(offset // self.grain, (offset + length - 1) // self.grain)

    def finish(self, identity: str) -> None:
        """Write the directories, the headers and the descriptor."""
        text = self._descriptor.pack(identity)
        for piece in self._pieces:
            piece.finish(text if self._is_single else b"")
        if not self._is_single:
            self._file.pwrite(0, text)


def _properties(descriptor: NewDescriptor, grain_bytes: int) -> Dict[str, object]:
    return {
        "subformat": descriptor.create_type,
        "cluster_size": grain_bytes,
        "compression": "none",
        "adapter_type": descriptor.adapter_type,
    }


class _SparsePiece:
    """One hosted sparse extent. It holds the one table that the stream is in."""

    def __init__(self, file: File, capacity: int, grain_bytes: int, descriptor_sectors: int) -> None:
        self._file = file
        self._grain_bytes = grain_bytes
        self._grain_sectors = grain_bytes // SECTOR
        self._header = hosted_header(
            capacity=capacity, grain_sectors=self._grain_sectors, descriptor_sectors=descriptor_sectors
        )
        self._next_grain = 0
        self._next_sector = self._header.data_sector
        self._table = 0
        self._entries = array("I", bytes(4 * TABLE_ENTRIES))
        self._is_used = False

    def write(self, offset: int, view: memoryview) -> None:
        first, last = offset // self._grain_bytes, (offset + len(view) - 1) // self._grain_bytes
        self.reserve(first, last)
        # Neighbours in the guest are neighbours in the file, so one call writes them all.
        start = self._next_sector * SECTOR - (last - first + 1) * self._grain_bytes
        self._file.pwrite(start + offset % self._grain_bytes, view)

    def reserve(self, first: int, last: int) -> None:
        """Give places to the grains ``first`` to ``last`` that have none yet; none behind them has one."""
        grain = max(first, self._next_grain)
        while grain <= last:
            table, low = divmod(grain, TABLE_ENTRIES)
            if table != self._table:
                self._flush(table)
            high = min(TABLE_ENTRIES, low + last + 1 - grain)
            end = self._next_sector + (high - low) * self._grain_sectors
            self._entries[low:high] = array("I", range(self._next_sector, end, self._grain_sectors))
            self._is_used = True
            self._next_sector = end
            grain += high - low
        self._next_grain = max(self._next_grain, last + 1)

    def _flush(self, table: int) -> None:
        """Write the table to both of its places and begin the next one; a table without entries stays a hole."""
        if self._is_used:
            packed = _packed(self._entries)
            for start in self._table_starts():
                self._file.pwrite((start + self._table * TABLE_SECTORS) * SECTOR, packed)
            self._entries = array("I", bytes(4 * TABLE_ENTRIES))
        self._table = table
        self._is_used = False

    def _table_starts(self) -> Tuple[int, int]:
        """The sectors of the first table of the redundant directory and of the other one."""
        tables_end = self._header.gd_sector
        first = tables_end - self._header.tables * TABLE_SECTORS
        return first, self._header.gd_sector + first - self._header.rgd_sector

    def finish(self, text: bytes) -> None:
        self._flush(0)
        self._file.truncate(self._next_sector * SECTOR)
        for directory, start in zip((self._header.rgd_sector, self._header.gd_sector), self._table_starts()):
            for first in range(0, self._header.tables, _DIRECTORY_PIECE):
                count = min(_DIRECTORY_PIECE, self._header.tables - first)
                sectors = range(start + first * TABLE_SECTORS, start + (first + count) * TABLE_SECTORS, TABLE_SECTORS)
                self._file.pwrite(directory * SECTOR + 4 * first, _packed(array("I", sectors)))
        padded = text.ljust(self._header.descriptor_sectors * SECTOR, b"\0")
        self._file.pwrite(0, pack_sparse_header(self._header) + padded)


def _packed(entries: array[int]) -> bytes:
    if sys.byteorder == "big":
        entries = entries[:]
        entries.byteswap()
    return entries.tobytes()

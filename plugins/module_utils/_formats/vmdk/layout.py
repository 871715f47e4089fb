# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The binary structures of a VMDK: headers of sparse extents, markers, and where a new extent has its tables.

All numbers are little-endian, all places and lengths in the structures are sectors of 512 bytes. The facts come from
the Virtual Disk Format 5.0 note of VMware and from what VMware, VirtualBox and QEMU accept::

    hosted sparse     header | descriptor | redundant directory | its tables | directory | its tables | grains
    streamOptimized   header | descriptor | grains, marker, table | grains, marker, table ... | marker, directory |
    marker, footer | end COWD              header | directory | tables and grains as they were allocated
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Optional, Tuple

from ..._core.errors import BadRequest, Damaged, Unsupported
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR, ceil_div, round_up
from ..._io.port import File
from ..damage import DamagedSource

SPARSE_MAGIC = b"KDMV"
COWD_MAGIC = b"COWD"
SE_SPARSE_MAGIC = b"\xbe\xba\xfe\xca"
HEADER_BYTES = 512

FLAG_NEWLINES = 1 << 0
FLAG_REDUNDANT = 1 << 1
FLAG_ZEROED = 1 << 2
FLAG_COMPRESSED = 1 << 16
FLAG_MARKERS = 1 << 17
_KNOWN_HIGH_FLAGS = FLAG_COMPRESSED | FLAG_MARKERS

DIRECTORY_AT_END = 0xFFFFFFFFFFFFFFFF
ZEROED_GRAIN = 1
"""The table entry of a grain of zeros, where FLAG_ZEROED allows it; 0 is a grain that is not there."""

MARKER_END, MARKER_TABLE, MARKER_DIRECTORY, MARKER_FOOTER = 0, 1, 2, 3
TABLE_ENTRIES = 512
TABLE_SECTORS = TABLE_ENTRIES * 4 // SECTOR
COWD_TABLE_ENTRIES = 4096
DESCRIPTOR_SECTORS = 20
"""What a new image reserves for its embedded descriptor, as all writers do."""

STREAM_DATA_SECTOR = 128
MOST_SECTORS = (1 << 53) // SECTOR
MOST_TABLES = 1 << 20
"""Tables of all extents of a disk together; with the usual grains of 64 KiB they cover 32 TiB."""

MOST_EXTENTS = 4096
MOST_DESCRIPTOR_SECTORS = 2048
_LEAST_GRAIN_SECTORS = 8
_MOST_GRAIN_SECTORS = 1 << 21
# A compressed grain is inflated in memory.
_MOST_COMPRESSED_GRAIN_SECTORS = 4096
_NEWLINES = b"\n \r\n"
_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")
_COWD = struct.Struct("<4sIIIIIII")
_MARKER = struct.Struct("<QII496x")
GRAIN_HEADER = struct.Struct("<QI")


@dataclass(frozen=True)
class SparseHeader:
    """The header of a sparse extent.

    ``gd_sector`` is DIRECTORY_AT_END where only the footer knows the place of the directory.
    """

    version: int
    flags: int
    capacity: int
    grain_sectors: int
    descriptor_sector: int
    descriptor_sectors: int
    table_entries: int
    rgd_sector: int
    gd_sector: int
    data_sector: int
    is_unclean: bool = False
    is_deflated: bool = False

    @property
    def is_compressed(self) -> bool:
        """Whether grains are deflated."""
        return bool(self.flags & FLAG_COMPRESSED)

    @property
    def has_zeroed_grains(self) -> bool:
        """Whether the entry ZEROED_GRAIN means a grain of zeros."""
        return bool(self.flags & FLAG_ZEROED)

    @property
    def is_flat(self) -> bool:
        """Whether there are no grains: the disk follows as it is, where the embedded descriptor says (Haiku)."""
        return not self.capacity and not self.gd_sector and not self.rgd_sector

    @property
    def tables(self) -> int:
        """The number of grain tables, present or not."""
        return ceil_div(self.capacity, self.table_entries * self.grain_sectors)

    @property
    def first_free_sector(self) -> int:
        """The first sector after the header and the embedded descriptor."""
        return self.descriptor_sector + self.descriptor_sectors if self.descriptor_sectors else 1


def parse_sparse_header(raw: bytes, *, path: str, offset: int = 0) -> SparseHeader:
    """The header (or footer) in the first 512 bytes of ``raw``, every field within the limits.

    ``offset`` is where it lies, for errors. Raises Damaged or Unsupported. Places are not yet compared with the file.
    """
    if len(raw) < HEADER_BYTES or raw[:4] != SPARSE_MAGIC:
        raise DamagedSource("This is no header of a sparse extent", path, offset, expected="KDMV", found=raw[:4])
    fields = _HEADER.unpack(raw[:HEADER_BYTES])
    unclean, newlines, algorithm = fields[11:]
    values = (*fields[1:11], bool(unclean), algorithm == 1)
    header = SparseHeader(*values)
    version = header.version
    if version not in (1, 2, 3):
        raise Unsupported(
            f"Sparse extents of version {version} are not known", path, offset + 4, expected="1, 2 or 3", found=version
        )
    _check_flags(header.flags, newlines, path, offset)
    _check_numbers(header, path, offset)
    if algorithm > 1:
        message = "The compression of the extent is not known"
        raise Unsupported(message, path, offset + 77, expected="0 or 1", found=algorithm)
    _check_compressed(header, path, offset)
    return header


def _check_numbers(header: SparseHeader, path: str, offset: int) -> None:
    if not header.is_flat:
        _check_capacity(header.capacity, path, offset + 12)
    grain, entries = header.grain_sectors, header.table_entries
    _check_power(grain, _LEAST_GRAIN_SECTORS, _MOST_GRAIN_SECTORS, "sectors of a grain", path, offset + 20)
    _check_power(entries, 1, TABLE_ENTRIES, "entries of a grain table", path, offset + 44)
    place = header.descriptor_sector, header.descriptor_sectors
    if place[1] > MOST_DESCRIPTOR_SECTORS or (place[1] and not 0 < place[0] <= MOST_SECTORS):
        expected = f"up to {MOST_DESCRIPTOR_SECTORS} sectors"
        raise DamagedSource(
            "The place of the descriptor is impossible", path, offset + 28, expected=expected, found=place
        )


def _check_flags(flags: int, newlines: bytes, path: str, offset: int) -> None:
    if flags & FLAG_NEWLINES and newlines != _NEWLINES:
        hint = "The file was transferred as text, or is damaged; transfer it again in binary mode."
        raise Damaged(
            "The line ends in the header are changed", path, offset + 73, expected=_NEWLINES, found=newlines, hint=hint
        )
    if flags >> 16 << 16 & ~_KNOWN_HIGH_FLAGS:
        raise Unsupported(
            "The extent needs features that are not known",
            path,
            offset + 8,
            expected="bits 16 and 17 at most",
            found=hex(flags),
        )


def _check_compressed(header: SparseHeader, path: str, offset: int) -> None:
    if header.is_compressed != header.is_deflated:
        raise DamagedSource(
            "Flags and compression of the header contradict each other",
            path,
            offset + 77,
            expected=int(header.is_compressed),
            found=int(header.is_deflated),
        )
    if not header.is_compressed:
        return
    if not header.flags & FLAG_MARKERS:
        raise Unsupported("Compressed extents without markers are not known", path, offset + 8, found=hex(header.flags))
    if header.grain_sectors > _MOST_COMPRESSED_GRAIN_SECTORS:
        most = _MOST_COMPRESSED_GRAIN_SECTORS
        raise Unsupported(
            "The compressed grains are too large",
            path,
            offset + 20,
            expected=f"up to {most} sectors",
            found=header.grain_sectors,
        )


def pack_sparse_header(header: SparseHeader) -> bytes:
    """The 512 bytes of ``header``."""
    return _HEADER.pack(
        SPARSE_MAGIC,
        header.version,
        header.flags,
        header.capacity,
        header.grain_sectors,
        header.descriptor_sector,
        header.descriptor_sectors,
        header.table_entries,
        header.rgd_sector,
        header.gd_sector,
        header.data_sector,
        int(header.is_unclean),
        _NEWLINES if header.flags & FLAG_NEWLINES else bytes(4),
        int(header.is_deflated),
    )


@dataclass(frozen=True)
class CowdHeader:
    """The header of a COWD extent, the sparse form of ESX; its tables have 4096 entries and there is one directory."""

    capacity: int
    grain_sectors: int
    gd_sector: int

    table_entries = COWD_TABLE_ENTRIES
    first_free_sector = 1
    is_compressed = False
    has_zeroed_grains = False

    @property
    def tables(self) -> int:
        """The number of grain tables, present or not."""
        return ceil_div(self.capacity, COWD_TABLE_ENTRIES * self.grain_sectors)


def parse_cowd_header(raw: bytes, *, path: str) -> CowdHeader:
    """The header of a COWD extent. Raises Damaged or Unsupported. Places are not yet compared with the file."""
    if len(raw) < HEADER_BYTES or raw[:4] != COWD_MAGIC:
        raise DamagedSource("This is no header of a COWD extent", path, 0, expected="COWD", found=raw[:4])
    _magic, version, _flags, capacity, grain, gd, entries, _free = _COWD.unpack_from(raw)
    if version != 1:
        raise Unsupported(f"COWD extents of version {version} are not known", path, 4, expected=1, found=version)
    _check_capacity(capacity, path, 12)
    _check_power(grain, 1, _MOST_GRAIN_SECTORS, "sectors of a grain", path, 16)
    header = CowdHeader(capacity, grain, gd)
    if entries < header.tables:
        raise DamagedSource(
            "The grain directory is too short for the disk", path, 24, expected=header.tables, found=entries
        )
    return header


@dataclass(frozen=True)
class Marker:
    """A sector of a stream that announces ``sectors`` of something that is not a grain."""

    sectors: int
    kind: int


def pack_marker(sectors: int, kind: int) -> bytes:
    """The 512 bytes of a marker."""
    return _MARKER.pack(sectors, 0, kind)


def parse_marker(raw: bytes) -> Optional[Marker]:
    """The marker in ``raw``; None for what is none, such as a grain."""
    if len(raw) < SECTOR:
        return None
    sectors, size, kind = _MARKER.unpack(raw)
    return None if size else Marker(sectors, kind)


def read_sector(file: File, offset: int) -> bytes:
    """The 512 bytes at ``offset``; fewer where the file ends."""
    buffer = bytearray(HEADER_BYTES)
    got = file.pread_into(offset, buffer)
    return bytes(buffer[:got])


def read_sparse_header(file: File) -> SparseHeader:
    """The header of a hosted sparse or stream extent; where it says so, what its footer says.

    Raises Damaged or Unsupported.
    """
    header = parse_sparse_header(read_sector(file, 0), path=file.path)
    if header.gd_sector != DIRECTORY_AT_END:
        return header
    footer, place = _read_footer(file)
    if _common(footer) != _common(header):
        raise DamagedSource("Header and footer contradict each other", file.path, place)
    if footer.gd_sector == DIRECTORY_AT_END:
        raise DamagedSource("The footer has no directory", file.path, place + 56)
    return replace(footer, descriptor_sector=header.descriptor_sector, descriptor_sectors=header.descriptor_sectors)


def _read_footer(file: File) -> Tuple[SparseHeader, int]:
    """The footer of a stream and its offset."""
    size = file.size()
    place = size - 2 * SECTOR
    if size < 4 * SECTOR or size % SECTOR:
        raise DamagedSource("The file ends before its footer", file.path, size, expected="whole sectors with a footer")
    marker, last = parse_marker(read_sector(file, place - SECTOR)), parse_marker(read_sector(file, place + SECTOR))
    if marker != Marker(1, MARKER_FOOTER) or last != Marker(0, MARKER_END):
        message, expected = "The file does not end with a footer", "footer and end of stream"
        hint = "The file was cut off or something was appended; transfer it again."
        raise Damaged(message, file.path, place - SECTOR, expected=expected, hint=hint)
    return parse_sparse_header(read_sector(file, place), path=file.path, offset=place), place


def _common(header: SparseHeader) -> Tuple[object, ...]:
    """What a footer repeats of the header."""
    shape = header.capacity, header.grain_sectors, header.table_entries
    return (header.version, header.flags, header.is_deflated, *shape)


def hosted_header(*, capacity: int, grain_sectors: int, descriptor_sectors: int) -> SparseHeader:
    """The header of a new hosted sparse extent of ``capacity`` sectors, which also says where its tables lie.

    Version 1, because libvmdk misreads the entry for a zeroed grain of version 2; both directories, and room for all
    tables, because the products of VMware expect them. Raises BadRequest where a full extent would leave the 32 bits of
    its entries.
    """
    tables = ceil_div(capacity, TABLE_ENTRIES * grain_sectors)
    first = 1 + descriptor_sectors
    rgd = first
    gd = first + directory_sectors(tables) + tables * TABLE_SECTORS
    end = gd + directory_sectors(tables) + tables * TABLE_SECTORS
    data = round_up(end, max(grain_sectors, STREAM_DATA_SECTOR))
    if data + round_up(capacity, grain_sectors) > 1 << 32 or tables > MOST_TABLES:
        hint = "Use a subformat of several files (twoGbMaxExtentSparse), a flat or a streamOptimized one."
        raise BadRequest(
            "A sparse extent of VMDK cannot be that large", expected="below 2 TiB", found=capacity * SECTOR, hint=hint
        )
    desc_at = 1 if descriptor_sectors else 0
    flags = FLAG_NEWLINES | FLAG_REDUNDANT
    return SparseHeader(1, flags, capacity, grain_sectors, desc_at, descriptor_sectors, TABLE_ENTRIES, rgd, gd, data)


def stream_header(*, capacity: int, grain_sectors: int) -> SparseHeader:
    """The header of a new streamOptimized extent: version 3, as ESXi demands; its directory is in the footer.

    Raises BadRequest for more tables than readers accept.
    """
    header = SparseHeader(
        version=3,
        flags=FLAG_NEWLINES | FLAG_COMPRESSED | FLAG_MARKERS,
        capacity=capacity,
        grain_sectors=grain_sectors,
        descriptor_sector=1,
        descriptor_sectors=DESCRIPTOR_SECTORS,
        table_entries=TABLE_ENTRIES,
        rgd_sector=0,
        gd_sector=DIRECTORY_AT_END,
        data_sector=STREAM_DATA_SECTOR,
        is_deflated=True,
    )
    if header.tables > MOST_TABLES:
        raise BadRequest(
            "The disk is too large for VMDK",
            expected=f"up to {MOST_TABLES * TABLE_ENTRIES * grain_sectors * SECTOR}",
            found=capacity * SECTOR,
        )
    return header


def directory_sectors(tables: int) -> int:
    """The room of a grain directory."""
    return ceil_div(tables * 4, SECTOR)


def _check_capacity(capacity: int, path: str, offset: int) -> None:
    if not 0 < capacity <= MOST_SECTORS:
        raise DamagedSource(
            "The size of the extent is impossible", path, offset, expected=f"1..{MOST_SECTORS}", found=capacity
        )


def _check_power(number: int, least: int, most: int, what: str, path: str, offset: int) -> None:
    if not least <= number <= most or number & (number - 1):
        raise DamagedSource(
            f"The number of {what} is impossible",
            path,
            offset,
            expected=f"a power of two, {least}..{most}",
            found=number,
        )

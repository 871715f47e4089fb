# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The 64 bytes an expanding image starts with (format reference, sections 1.1 to 1.4 and 1.6).

::

    0       64              data_start                        end of file
    | header | table (BAT) .. | cluster | cluster | cluster ... |

Integers are little-endian. A sector is 512 bytes; the field called "tracks" holds the cluster size in sectors.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Tuple

from ..._core.errors import CHECK_HINT, BadRequest, Damaged
from ..._core.records import dataclass
from ..._core.units import SECTOR, ceil_div, round_up

MAGIC_V1 = b"WithoutFreeSpace"
MAGIC_V2 = b"WithouFreSpacExt"
HEADER_BYTES = 64
ENTRY_BYTES = 4
DISK_TYPE = 2

TYPE_OFFSET = 16
CLUSTER_OFFSET = 28
ENTRIES_OFFSET = 32
SIZE_OFFSET = 36
IN_USE_OFFSET = 44
DATA_OFFSET = 48
FLAGS_OFFSET = 52
EXTENSION_OFFSET = 56

IN_USE = 0x746F6E59
CLOSED_WITH_EXTENSION = 0x312E3276
CLOSED = 0

FLAG_EMPTY = 1
FLAG_CONVERTING = 2
FLAGS_UNKNOWN = 0xFFFFFFFF
"""All bits set stands for "unknown" and counts as no flag at all."""

_LAYOUT = struct.Struct("<16s5IQ3IQ")
_MAGICS = {MAGIC_V1: 1, MAGIC_V2: 2}
_HEADS = 16
_SECTORS_PER_CYLINDER = 512
_U32 = (1 << 32) - 1
_CLUSTER_BYTES_LIMIT = 1 << 31
_GUEST_BYTES_LIMIT = 1 << 63
# QEMU refuses a larger table.
_TABLE_BYTES_MAX = (1 << 31) - 1


class DamagedHeader(Damaged):
    """The header contradicts itself or the file; the others of its fields often leave one way to read it."""

    usual_hint = CHECK_HINT


@dataclass(frozen=True)
class HdsHeader:
    """What the header says. ``data_off`` and ``ext_off`` are in sectors, as in the file."""

    version: int
    heads: int
    cylinders: int
    cluster_sectors: int
    bat_entries: int
    size_sectors: int
    in_use: int
    data_off: int
    flags: int
    ext_off: int

    @property
    def cluster_bytes(self) -> int:
        """The size of a cluster."""
        return self.cluster_sectors * SECTOR

    @property
    def size_bytes(self) -> int:
        """The size the guest sees."""
        return self.size_sectors * SECTOR

    @property
    def entry_bytes(self) -> int:
        """The bytes that one unit of a table entry stands for."""
        return SECTOR if self.version == 1 else self.cluster_bytes

    @property
    def entry_step(self) -> int:
        """How much the entries of two clusters differ that follow one another in the file."""
        return self.cluster_sectors if self.version == 1 else 1

    @property
    def table_end(self) -> int:
        """The file offset just after the table."""
        return HEADER_BYTES + ENTRY_BYTES * self.bat_entries

    @property
    def data_start(self) -> int:
        """The file offset of the first cluster; ``data_off`` 0 means the first sector after the table."""
        return self.data_off * SECTOR if self.data_off else round_up(self.table_end, SECTOR)

    @property
    def is_dirty(self) -> bool:
        """Whether somebody has the image open for writing, or died while doing so."""
        return self.in_use == IN_USE

    @property
    def is_converting(self) -> bool:
        """Whether a change of the format version was begun and not finished."""
        return self.flags != FLAGS_UNKNOWN and bool(self.flags & FLAG_CONVERTING)

    @property
    def used_entries(self) -> int:
        """How many clusters the guest size needs; entries after them mean nothing."""
        return ceil_div(self.size_sectors, self.cluster_sectors)


def is_hds(prefix: bytes) -> bool:
    """Whether a file with these first bytes (at least 16) claims to be an expanding image."""
    return bytes(prefix[:16]) in _MAGICS


def parse_header(raw: bytes, *, path: str, file_size: int) -> HdsHeader:
    """The header in ``raw``, the first 64 bytes of a file of ``file_size`` bytes. Raises Damaged for what cannot be.

    The high half of the size is ignored in version 1, because old writers left junk there. The file may end before the
    first cluster. Table entries and the format extension are judged elsewhere.
    """
    if not is_hds(raw):
        raise DamagedHeader(
            "The file is no expanding image: it does not start with a known signature",
            path,
            0,
            expected=MAGIC_V1,
            found=bytes(raw[:16]),
        )
    if min(len(raw), file_size) < HEADER_BYTES:
        raise DamagedHeader("The file ends within its header", path, file_size, expected=HEADER_BYTES, found=file_size)
    disk_type, header = unpack_header(raw, version=_MAGICS[bytes(raw[:16])])
    if disk_type != DISK_TYPE:
        raise DamagedHeader(
            "The header names an unknown kind of disk", path, TYPE_OFFSET, expected=DISK_TYPE, found=disk_type
        )
    _check_sizes(header, path)
    _check_table_length(header, path, file_size)
    _check_data_start(header, path)
    return header


def unpack_header(raw: bytes, *, version: int) -> Tuple[int, HdsHeader]:
    """The kind of disk and the fields in ``raw`` (64 bytes) as stored; nothing is checked, not even the signature."""
    _magic, disk_type, heads, cylinders, cluster_sectors, entries, size, in_use, data_off, flags, ext_off = (
        _LAYOUT.unpack_from(raw)
    )
    if version == 1:
        size &= _U32
    return disk_type, HdsHeader(
        version, heads, cylinders, cluster_sectors, entries, size, in_use, data_off, flags, ext_off
    )


def _check_sizes(header: HdsHeader, path: str) -> None:
    if not 1 <= header.cluster_sectors < _CLUSTER_BYTES_LIMIT // SECTOR:
        raise DamagedHeader(
            "The cluster size is out of bounds",
            path,
            CLUSTER_OFFSET,
            expected="1..4194303 sectors",
            found=header.cluster_sectors,
        )
    if header.size_bytes >= _GUEST_BYTES_LIMIT:
        raise DamagedHeader(
            "The guest size is out of bounds",
            path,
            SIZE_OFFSET,
            expected="less than 2^54 sectors",
            found=header.size_sectors,
        )


def _check_table_length(header: HdsHeader, path: str, file_size: int) -> None:
    if header.table_end > file_size:
        raise DamagedHeader(
            "The table does not fit into the file",
            path,
            ENTRIES_OFFSET,
            expected=f"at most {(file_size - HEADER_BYTES) // 4}",
            found=header.bat_entries,
        )
    if header.bat_entries < header.used_entries:
        raise DamagedHeader(
            "The table is shorter than the guest size needs",
            path,
            ENTRIES_OFFSET,
            expected=header.used_entries,
            found=header.bat_entries,
        )


def _check_data_start(header: HdsHeader, path: str) -> None:
    if header.version == 2 and (not header.data_off or header.data_off % header.cluster_sectors):
        expected = f"a multiple of {header.cluster_sectors} sectors"
        raise DamagedHeader(
            "The data area does not start at a cluster", path, DATA_OFFSET, expected=expected, found=header.data_off
        )
    if header.data_start < header.table_end:
        expected = f"at least {ceil_div(header.table_end, SECTOR)}"
        raise DamagedHeader(
            "The data area starts within the table", path, DATA_OFFSET, expected=expected, found=header.data_off
        )


def pack_header(header: HdsHeader) -> bytes:
    """The 64 bytes of ``header``."""
    return _LAYOUT.pack(
        MAGIC_V1 if header.version == 1 else MAGIC_V2,
        DISK_TYPE,
        header.heads,
        header.cylinders,
        header.cluster_sectors,
        header.bat_entries,
        header.size_sectors,
        header.in_use,
        header.data_off,
        header.flags,
        header.ext_off,
    )


def new_header(*, size_bytes: int, cluster_bytes: int, version: int) -> HdsHeader:
    """The header of a new, empty, closed image as Parallels and QEMU write it; the size is rounded up to sectors.

    Raises BadRequest when the cluster is no multiple of a sector or the version cannot hold the size.
    """
    largest = max_size_bytes(version, cluster_bytes)
    if not 0 < size_bytes <= largest:
        raise BadRequest(
            f"An image of version {version} with clusters of {cluster_bytes} bytes cannot hold {size_bytes} bytes",
            expected=f"1..{largest} bytes",
            found=size_bytes,
            hint="Use format version 2 or a larger cluster." if size_bytes > largest else None,
        )
    size_sectors = ceil_div(size_bytes, SECTOR)
    cluster_sectors = cluster_bytes // SECTOR
    entries = ceil_div(size_sectors, cluster_sectors)
    return HdsHeader(
        version=version,
        heads=_HEADS,
        cylinders=min(size_sectors // _SECTORS_PER_CYLINDER, _U32),
        cluster_sectors=cluster_sectors,
        bat_entries=entries,
        size_sectors=size_sectors,
        in_use=CLOSED,
        data_off=_data_off(entries, cluster_sectors),
        flags=0,
        ext_off=0,
    )


def max_size_bytes(version: int, cluster_bytes: int) -> int:
    """The largest guest size of a new image, in bytes.

    Version 1 counts in 32-bit sectors, in the guest and in the file, where the header area takes its share. Version 2
    is bounded by the largest table that QEMU opens. Raises BadRequest for an impossible version or cluster size.
    """
    if version not in (1, 2):
        raise BadRequest(f"There is no format version {version}", expected="1 or 2", found=version)
    if not SECTOR <= cluster_bytes < _CLUSTER_BYTES_LIMIT or cluster_bytes % SECTOR:
        raise BadRequest(
            f"{cluster_bytes} bytes are no possible cluster size",
            expected="a multiple of 512 below 2 GiB",
            found=cluster_bytes,
        )
    cluster_sectors = cluster_bytes // SECTOR
    most = _TABLE_BYTES_MAX // ENTRY_BYTES
    if version == 2:
        return most * cluster_bytes
    fits, fails = 0, _U32 // cluster_sectors + 2
    while fails - fits > 1:
        middle = (fits + fails) // 2
        if middle <= most and _data_off(middle, cluster_sectors) + (middle - 1) * cluster_sectors <= _U32:
            fits = middle
        else:
            fails = middle
    return min(fits * cluster_sectors, _U32) * SECTOR


def _data_off(entries: int, cluster_sectors: int) -> int:
    """The end of the table, rounded up to a cluster, in sectors."""
    return ceil_div(HEADER_BYTES + ENTRY_BYTES * entries, cluster_sectors * SECTOR) * cluster_sectors

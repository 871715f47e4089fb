# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The structures of a VHD image (Virtual PC, Hyper-V, Azure): "Virtual Hard Disk Image Format Specification", 1.0.

::

    fixed          data | footer
    dynamic        footer copy | dynamic header | table | bitmap, block | bitmap, block ... | footer
    differencing   the same, with the names of the parent somewhere among it

All numbers are big-endian. A table entry is the sector of a block's bitmap, or NOT_STORED. A bitmap has one bit per
sector, the highest bit of a byte first; a set bit means that the sector is stored here.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Callable, Iterator, List, Optional, Tuple, Union

from ..._core.errors import Damaged, Unsupported
from ..._core.guid import derive, of_bytes, to_bytes
from ..._core.records import dataclass
from ..._core.units import GIB, KIB, MIB, SECTOR, ceil_div, format_size, round_up
from ..image import SUSPENDED

FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
SUBFORMATS = {FIXED: "fixed", DYNAMIC: "dynamic", DIFFERENCING: "differencing"}

FOOTER_BYTES = 512
HEADER_BYTES = 1024
ENTRY_BYTES = 4
NOT_STORED = 0xFFFFFFFF
NO_OFFSET = 0xFFFFFFFFFFFFFFFF

# What Hyper-V, Virtual PC and QEMU agree on.
LARGEST_SIZE = 2040 * GIB
SMALLEST_BLOCK = 4 * KIB
LARGEST_BLOCK = 64 * MIB
# Enough for the largest disk with blocks of 256 KiB; the smallest that are known of have 512 KiB.
LARGEST_TABLE = 32 * MIB
LONGEST_LOCATOR = 64 * KIB

FOOTER_COOKIE = b"conectix"
HEADER_COOKIE = b"cxsparse"
VERSION = 0x00010000
FEATURES_RESERVED = 2
FEATURES_KNOWN = 3
CREATOR_APPLICATION = b"win "
CREATOR_VERSION = 0x000A0000
CREATOR_SYSTEM = b"Wi2k"

RELATIVE_NAME = b"W2ru"
ABSOLUTE_NAME = b"W2ku"
# Best first: Unicode before the code page of an unknown machine, names that move with the image before others.
LOCATOR_ENCODINGS = {RELATIVE_NAME: "utf-16-le", ABSOLUTE_NAME: "utf-16-le", b"Wi2r": "cp1252", b"Wi2k": "cp1252"}

# Products of which it is known that their guests are shown cylinders * heads * sectors, and that QEMU reads so.
GEOMETRY_CREATORS = (b"vpc ", b"vs  ", b"qemu")
LARGEST_GEOMETRY = (65535, 16, 255)

EPOCH = 946684800
"""2000-01-01 in seconds since 1970."""

_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB")
_FOOTER_CHECKSUM = 64
_HEADER = struct.Struct(">8sQQIIII16sII")
_HEADER_CHECKSUM = 36
_NAME_OFFSET, _NAME_BYTES = 64, 512
_LOCATOR = struct.Struct(">4sIIIQ")
_LOCATORS_OFFSET, _LOCATOR_COUNT = 576, 8


@dataclass(frozen=True)
class Footer:
    """What the last 512 bytes of an image say.

    Sizes and ``data_offset`` (of the dynamic header) are in bytes, ``timestamp`` counts from ``EPOCH``.
    """

    disk_type: int
    current_size: int
    original_size: int
    data_offset: int
    unique_id: bytes
    timestamp: int = 0
    geometry: Tuple[int, int, int] = (0, 0, 0)
    features: int = FEATURES_RESERVED
    creator_application: bytes = CREATOR_APPLICATION
    creator_version: int = CREATOR_VERSION
    creator_system: bytes = CREATOR_SYSTEM
    saved_state: bool = False


@dataclass(frozen=True)
class Locator:
    """Where the image keeps one name of its parent: ``length`` bytes at file byte ``offset``."""

    code: bytes
    length: int
    offset: int


@dataclass(frozen=True)
class DynamicHeader:
    """What a dynamic or differencing image says of its blocks and of its parent. Offsets and sizes in bytes."""

    table_offset: int
    entries: int
    block_bytes: int
    parent_id: bytes = bytes(16)
    parent_timestamp: int = 0
    parent_name: bytes = b""
    locators: Tuple[Locator, ...] = ()

    @property
    def bitmap_bytes(self) -> int:
        """The length of the bitmap in front of each block: whole sectors."""
        return ceil_div(self.block_bytes // SECTOR // 8, SECTOR) * SECTOR

    @property
    def stored_bytes(self) -> int:
        """The length of a block with its bitmap."""
        return self.bitmap_bytes + self.block_bytes


def checksum(raw: Union[bytes, bytearray], field: int) -> int:
    """The inverted sum of all bytes but the four of the checksum itself, at ``field``."""
    return ~(sum(raw) - sum(raw[field : field + 4])) & 0xFFFFFFFF


def geometry_of(size_bytes: int) -> Tuple[int, int, int]:
    """Cylinders, heads and sectors per track for a disk of this size (specification, appendix "CHS Calculation")."""
    sectors = min(size_bytes // SECTOR, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        return sectors // 255 // 16, 16, 255
    tracks = sectors // 17
    heads = max(4, ceil_div(tracks, 1024))
    per_track = 17
    if tracks >= heads * 1024 or heads > 16:
        heads, per_track = 16, 31
        tracks = sectors // per_track
    if tracks >= heads * 1024:
        heads, per_track = 16, 63
        tracks = sectors // per_track
    return tracks // heads, heads, per_track


def vhd_time(timestamp: int) -> int:
    """Seconds since 1970 as the format counts them; what it cannot hold becomes the nearest time that it can."""
    return min(max(timestamp - EPOCH, 0), 0xFFFFFFFF)


def guid_text(raw: bytes) -> str:
    """16 bytes of an id as a GUID: lower case, in braces."""
    return of_bytes(bytes(raw))


def unique_id(identity: str) -> bytes:
    """The id of the image that is finished with ``identity``, as its own footer and the headers of overlays have it."""
    return to_bytes(derive(identity, "vhd", "unique_id"))


def pack_footer(footer: Footer) -> bytes:
    """The 512 bytes of a footer."""
    raw = bytearray(FOOTER_BYTES)
    values = (FOOTER_COOKIE, footer.features, VERSION, footer.data_offset, footer.timestamp)
    creator = (footer.creator_application, footer.creator_version, footer.creator_system)
    sizes = (footer.original_size, footer.current_size, *footer.geometry)
    _FOOTER.pack_into(raw, 0, *values, *creator, *sizes, footer.disk_type, 0, footer.unique_id, footer.saved_state)
    struct.pack_into(">I", raw, _FOOTER_CHECKSUM, checksum(raw, _FOOTER_CHECKSUM))
    return bytes(raw)


def parse_footer(raw: bytes, *, path: str, offset: int, is_summed: bool = True) -> Footer:
    """The footer in these 512 bytes. Its checksum counts only if it ``is_summed``.

    Raises Damaged for a wrong cookie or checksum, and Unsupported for another version or kind of disk.
    """
    values = _FOOTER.unpack_from(raw)
    if values[0] != FOOTER_COOKIE:
        raise Damaged("This is no footer of a VHD image", path, offset, expected=FOOTER_COOKIE, found=values[0])
    if is_summed:
        _check_sum(raw, "footer", path, offset)
    _check_version(values[2], "footer", path, offset + 12)
    disk_type = values[13]
    if disk_type not in SUBFORMATS:
        found = f"type {disk_type}"
        raise Unsupported(
            "The VHD image is of an unknown kind", path, offset + 60, expected="type 2, 3 or 4", found=found
        )
    return Footer(
        disk_type=disk_type,
        features=values[1],
        data_offset=values[3],
        timestamp=values[4],
        creator_application=values[5],
        creator_version=values[6],
        creator_system=values[7],
        original_size=values[8],
        current_size=values[9],
        geometry=(values[10], values[11], values[12]),
        unique_id=values[15],
        saved_state=values[16] != 0,
    )


def pack_header(header: DynamicHeader) -> bytes:
    """The 1024 bytes of a dynamic header.

    Each locator claims whole sectors, in bytes as Virtual PC and Hyper-V write it, not in sectors.
    """
    raw = bytearray(HEADER_BYTES)
    numbers = (header.table_offset, VERSION, header.entries, header.block_bytes, 0)
    _HEADER.pack_into(raw, 0, HEADER_COOKIE, NO_OFFSET, *numbers, header.parent_id, header.parent_timestamp, 0)
    raw[_NAME_OFFSET : _NAME_OFFSET + len(header.parent_name)] = header.parent_name
    for index, locator in enumerate(header.locators):
        space = ceil_div(locator.length, SECTOR) * SECTOR
        _LOCATOR.pack_into(
            raw, _LOCATORS_OFFSET + index * _LOCATOR.size, locator.code, space, locator.length, 0, locator.offset
        )
    struct.pack_into(">I", raw, _HEADER_CHECKSUM, checksum(raw, _HEADER_CHECKSUM))
    return bytes(raw)


def parse_header(raw: bytes, *, path: str, offset: int) -> DynamicHeader:
    """The dynamic header in these 1024 bytes.

    Raises Damaged for a wrong cookie, checksum or block size, and Unsupported for another version.
    """
    cookie, _next, table_offset, version, entries, block_bytes, _sum, parent_id, parent_timestamp, _zero = (
        _HEADER.unpack_from(raw)
    )
    if cookie != HEADER_COOKIE:
        raise Damaged("This is no dynamic header of a VHD image", path, offset, expected=HEADER_COOKIE, found=cookie)
    _check_sum(raw, "dynamic header", path, offset)
    _check_version(version, "dynamic header", path, offset + 24)
    if not SMALLEST_BLOCK <= block_bytes <= LARGEST_BLOCK or block_bytes & (block_bytes - 1):
        expected = f"a power of two from {SMALLEST_BLOCK} to {LARGEST_BLOCK}"
        raise Damaged("The block size is impossible", path, offset + 32, expected=expected, found=block_bytes)
    return DynamicHeader(
        table_offset=table_offset,
        entries=entries,
        block_bytes=block_bytes,
        parent_id=parent_id,
        parent_timestamp=parent_timestamp,
        parent_name=raw[_NAME_OFFSET : _NAME_OFFSET + _NAME_BYTES],
        locators=_parse_locators(raw),
    )


def _parse_locators(raw: bytes) -> Tuple[Locator, ...]:
    """The locators that are in use.

    How much space they claim is not trusted: some write it in bytes, some in sectors.
    """
    rows = (_LOCATOR.unpack_from(raw, _LOCATORS_OFFSET + index * _LOCATOR.size) for index in range(_LOCATOR_COUNT))
    return tuple(Locator(code, length, offset) for code, _space, length, _zero, offset in rows if code != bytes(4))


def check_header(header: DynamicHeader, footer: Footer, *, path: str, file_size: int) -> None:
    """Raise Damaged unless the table covers the disk and is within the file, Unsupported for an excessive one."""
    size, offset = round_up(footer.current_size, SECTOR), footer.data_offset
    if header.entries * header.block_bytes < size:
        expected = f"at least {ceil_div(size, header.block_bytes)} entries"
        raise Damaged("The table is too short for the disk", path, offset + 28, expected=expected, found=header.entries)
    table_bytes = header.entries * ENTRY_BYTES
    if table_bytes > LARGEST_TABLE:
        expected = f"at most {LARGEST_TABLE // ENTRY_BYTES} entries"
        raise Unsupported("The table has too many entries", path, offset + 28, expected=expected, found=header.entries)
    end = header.table_offset + table_bytes
    if header.table_offset < FOOTER_BYTES or end > file_size:
        found = f"{header.table_offset}..{end}"
        raise Damaged(
            "The table lies outside the file", path, offset + 16, expected=f"{FOOTER_BYTES}..{file_size}", found=found
        )


def check_size(footer: Footer, *, path: str, offset: int) -> None:
    """Raise Damaged for a disk without a size, and Unsupported for one that is larger than the format allows."""
    if not footer.current_size:
        raise Damaged("The disk has no size", path, offset + 48, expected="at least one sector", found=0)
    if footer.current_size > LARGEST_SIZE:
        expected = f"at most {format_size(LARGEST_SIZE)}"
        raise Unsupported(
            "The disk is larger than the VHD format allows",
            path,
            offset + 48,
            expected=expected,
            found=footer.current_size,
        )


def footer_warnings(footer: Footer) -> List[str]:
    """What a user should know of an image apart from its content."""
    warnings = []
    cylinders, heads, sectors = footer.geometry
    shown = cylinders * heads * sectors * SECTOR
    is_shown = footer.creator_application in GEOMETRY_CREATORS and footer.geometry != LARGEST_GEOMETRY
    if is_shown and shown != footer.current_size:
        creator = footer.creator_application.decode().strip()
        warnings.append(
            f"The image was made by {creator!r}, whose guests see a disk of {shown} bytes "
            f"(cylinders * heads * sectors), but its size field says {footer.current_size} bytes, "
            "which is what was taken."
        )
    if footer.current_size % SECTOR:
        warnings.append(f"The size of {footer.current_size} bytes is not a multiple of {SECTOR} and was rounded up.")
    if footer.saved_state:
        warnings.append(SUSPENDED)
    if footer.features & ~FEATURES_KNOWN:
        warnings.append(f"Unknown feature bits were ignored: {footer.features & ~FEATURES_KNOWN:#x}.")
    return warnings


def decode_name(raw: bytes, encoding: str) -> Optional[str]:
    """A parent's name with ``/`` between its parts and no leading ``./``; None when there is none or it is no text."""
    if encoding.startswith("utf-16"):
        raw = raw[: len(raw) // 2 * 2]
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return None
    text = text.lstrip("\ufeff").rstrip("\0").replace("\\", "/")
    while text.startswith("./"):
        text = text[2:].lstrip("/")
    return text if text and "\0" not in text else None


def parent_names(header: DynamicHeader, read: Callable[[int, int], bytes]) -> Tuple[str, ...]:
    """Where the parent may lie, best first, each name once.

    ``read`` takes an offset and a length; fewer bytes than that are no name.
    """
    names: List[Optional[str]] = []
    for code, encoding in LOCATOR_ENCODINGS.items():
        for locator in header.locators:
            if locator.code == code and locator.length <= LONGEST_LOCATOR:
                raw = read(locator.offset, locator.length)
                names.append(decode_name(raw, encoding) if len(raw) == locator.length else None)
    names.append(decode_name(header.parent_name, "utf-16-be"))
    return tuple(dict.fromkeys(name for name in names if name is not None))


def piece_name(path: str, number: int) -> str:
    """The file name of a further piece of the split image that begins in ``path``: ``disk.v01`` for ``disk.vhd``."""
    stem, _dot, extension = path.rsplit("/", 1)[-1].rpartition(".")
    return f"{stem}.{'V' if extension.isupper() else 'v'}{number:02d}"


def runs_of_set_bits(bitmap: bytes, first: int, end: int) -> Iterator[Tuple[int, int]]:
    """The runs of set bits from ``first`` up to, not including, ``end``: ``(first, after the last)``, ascending.

    The highest bit of a byte is its first.
    """
    base = first // 8 * 8
    part = bitmap[first // 8 : ceil_div(end, 8)]
    if not part.strip(b"\xff"):
        yield first, end
        return
    if not part.strip(b"\0"):
        return
    # A one in front keeps the zeros that the number begins with.
    bits = bin(int.from_bytes(b"\1" + part, "big"))[3:]
    position = bits.find("1", first - base, end - base)
    while position >= 0:
        following = bits.find("0", position, end - base)
        if following < 0:
            yield base + position, end
            return
        yield base + position, base + following
        position = bits.find("1", following, end - base)


def _check_sum(raw: bytes, what: str, path: str, offset: int) -> None:
    field = _FOOTER_CHECKSUM if what == "footer" else _HEADER_CHECKSUM
    (found,) = struct.unpack_from(">I", raw, field)
    expected = checksum(raw, field)
    if found != expected:
        raise Damaged(
            f"The checksum of the {what} is wrong",
            path,
            offset + field,
            expected=f"{expected:#010x}",
            found=f"{found:#010x}",
        )


def _check_version(version: int, what: str, path: str, offset: int) -> None:
    if version >> 16 != VERSION >> 16:
        found = f"{version >> 16}.{version & 0xFFFF}"
        raise Unsupported(f"The {what} has an unknown version", path, offset, expected="1.x", found=found)

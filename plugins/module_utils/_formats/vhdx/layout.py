# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The structures of a VHDX file (MS-VHDX), parsed and packed: headers, region table, metadata, parent locator.

All numbers are little-endian, GUIDs have their first three fields little-endian, texts are UTF-16LE. The first MiB::

    0          64 KiB    128 KiB   192 KiB        256 KiB              320 KiB
    vhdxfile   header 1  header 2  region table   region table copy    zeros up to 1 MiB
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..._core.errors import BadRequest, Damaged, Unsupported
from ..._core.guid import normalise, of_bytes, swapped, to_bytes
from ..._core.records import dataclass
from ..._core.units import KIB, MIB, TIB
from ..damage import DamagedImage
from .checksum import crc32c

MAGIC = b"vhdxfile"
HEADER_OFFSETS = (64 * KIB, 128 * KIB)
HEADER_BYTES = 4 * KIB
REGION_OFFSETS = (192 * KIB, 256 * KIB)
TABLE_BYTES = 64 * KIB
"""The size of a region table and of the table that a metadata region begins with."""

UNIT = MIB
"""Regions, the log and all blocks begin at multiples of this many bytes, and not at 0."""

MAX_SIZE = 64 * TIB
MAX_BLOCK = 256 * MIB
SECTORS = (512, 4096)
CREATOR = "vdisk.parallels"

BAT = "{2dc27766-f623-4200-9d64-115e9bfd4a08}"
METADATA = "{8b7ca206-4790-4b9a-b8fe-575f050f886e}"
FILE_PARAMETERS = "{caa16737-fa36-4d43-b3b6-33f0aa44e76b}"
VIRTUAL_SIZE = "{2fa54224-cd1b-4876-b211-5dbed83bf4b8}"
DISK_ID = "{beca12ab-b2e6-4523-93ef-c309e000c746}"
LOGICAL_SECTOR = "{8141bf1d-a96f-4709-ba47-f233a8faab5f}"
PHYSICAL_SECTOR = "{cda348c7-445d-4471-9cc9-e9885251c556}"
PARENT_LOCATOR = "{a8d35f2d-b30b-454d-abf7-d3d84834ab0c}"
LOCATOR_TYPE = "{b04aefb7-d19e-4a81-b789-25b8e9445913}"

_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_REGIONS = struct.Struct("<4sIII")
_REGION = struct.Struct("<16sQII")
_ITEMS = struct.Struct("<8sHH20s")
_ITEM = struct.Struct("<16sIIII")
_LOCATOR = struct.Struct("<16sHH")
_PAIR = struct.Struct("<IIHH")
_MOST_ENTRIES = 2047
_MOST_ITEM_BYTES = MIB
_REQUIRED_REGION = 1
_IS_USER, _IS_VIRTUAL_DISK, _IS_REQUIRED = 1, 2, 4
_LEAVE_ALLOCATED, _HAS_PARENT = 1, 2
# The items that have a fixed length; no image is without them.
_FIXED_ITEMS = {FILE_PARAMETERS: 8, VIRTUAL_SIZE: 8, DISK_ID: 16, LOGICAL_SECTOR: 4, PHYSICAL_SECTOR: 4}
_FLAGS = {FILE_PARAMETERS: _IS_REQUIRED, PARENT_LOCATOR: _IS_REQUIRED}


def _is_intact(raw: bytes, signature: bytes) -> bool:
    """Whether a structure begins with its signature, and with its checksum after that."""
    return raw[:4] == signature and crc32c(raw[:4] + bytes(4) + raw[8:]) == int.from_bytes(raw[4:8], "little")


def _sealed(raw: bytes) -> bytes:
    return raw[:4] + crc32c(raw).to_bytes(4, "little") + raw[8:]


def pack_guid(text: str) -> bytes:
    """The 16 bytes of a GUID text."""
    return swapped(to_bytes(text))


def unpack_guid(raw: bytes) -> str:
    """16 bytes as a GUID text, lower case and in braces."""
    return of_bytes(swapped(bytes(raw)))


@dataclass(frozen=True)
class VhdxHeader:
    """One of the two headers. ``log_id`` is None when the log is empty; log offset and length are file bytes."""

    sequence: int
    file_id: str
    data_id: str
    log_id: Optional[str]
    log_version: int
    log_offset: int
    log_bytes: int


def choose_header(raws: Sequence[bytes], *, path: str) -> VhdxHeader:
    """The header that counts: of the valid ones that with the higher sequence number.

    Raises Damaged when there is none or when two claim the same number, Unsupported for another version of the format.
    """
    intact = [raw for raw in raws if len(raw) == HEADER_BYTES and _is_intact(raw, b"head")]
    fields = [_HEADER.unpack_from(raw) for raw in intact]
    valid = [(entry[2], raw, entry) for entry, raw in zip(fields, intact) if entry[7] == 1]
    if fields and not valid:
        raise Unsupported(
            "A VHDX file of this version cannot be read", path, HEADER_OFFSETS[0] + 66, expected=1, found=fields[0][7]
        )
    if not valid:
        raise DamagedImage("Both headers are damaged", path, HEADER_OFFSETS[0])
    # Some writers make two headers that are equal to the last bit.
    if len(valid) == 2 and valid[0][0] == valid[1][0] and valid[0][1] != valid[1][1]:
        raise DamagedImage("Both headers claim to be the newer one", path, HEADER_OFFSETS[1] + 8, found=valid[0][0])
    _signature, _crc, sequence, file_id, data_id, log_id, log_version, _version, log_bytes, log_offset = max(valid)[2]
    if log_version != 0:
        raise Unsupported("The log of this VHDX file has an unknown version", path, expected=0, found=log_version)
    log_guid = unpack_guid(log_id) if any(log_id) else None
    return VhdxHeader(
        sequence, unpack_guid(file_id), unpack_guid(data_id), log_guid, log_version, log_offset, log_bytes
    )


def pack_header(header: VhdxHeader) -> bytes:
    """The 4 KiB of a header."""
    log_id = pack_guid(header.log_id) if header.log_id else bytes(16)
    ids = pack_guid(header.file_id), pack_guid(header.data_id), log_id
    raw = _HEADER.pack(b"head", 0, header.sequence, *ids, header.log_version, 1, header.log_bytes, header.log_offset)
    return _sealed(raw.ljust(HEADER_BYTES, b"\0"))


def pack_identifier() -> bytes:
    """The beginning of the file."""
    return MAGIC + CREATOR.encode("utf-16-le")


class Region(NamedTuple):
    """``length`` bytes of the file from byte ``offset`` on."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The offset just after the region."""
        return self.offset + self.length


def parse_regions(raws: Sequence[bytes], *, path: str) -> Dict[str, Region]:
    """The regions by GUID, from the first of the two tables that is not damaged. Where they lie is not judged.

    Raises Damaged when both are damaged, or when a region is missing or there twice, Unsupported for an unknown one
    that must be understood.
    """
    offset, raw = _intact_table(raws, path)
    count = _REGIONS.unpack_from(raw)[2]
    if count > _MOST_ENTRIES:
        message, expected = "The region table has too many entries", f"at most {_MOST_ENTRIES}"
        raise Damaged(message, path, offset + 8, expected=expected, found=count)
    regions: Dict[str, Region] = {}
    for index in range(count):
        place = _REGIONS.size + index * _REGION.size
        guid, start, length, flags = _REGION.unpack_from(raw, place)
        name = unpack_guid(guid)
        if name in regions:
            raise DamagedImage("A region is listed twice", path, offset + place, found=name)
        if name not in (BAT, METADATA) and flags & _REQUIRED_REGION:
            message = "An unknown region must be understood to read this file"
            raise Unsupported(message, path, offset + place, found=name)
        regions[name] = Region(start, length)
    missing = [name for name in (BAT, METADATA) if name not in regions]
    if missing:
        raise DamagedImage("A region is missing", path, offset, expected=missing[0])
    return regions


def _intact_table(raws: Sequence[bytes], path: str) -> Tuple[int, bytes]:
    """The first region table that is not damaged, and its offset."""
    for offset, raw in zip(REGION_OFFSETS, raws):
        if len(raw) == TABLE_BYTES and _is_intact(raw, b"regi"):
            return offset, raw
    raise DamagedImage("Both region tables are damaged", path, REGION_OFFSETS[0])


def pack_regions(*, bat: Region, metadata: Region) -> bytes:
    """The 64 KiB of a region table."""
    entries = [
        _REGION.pack(pack_guid(name), *region, _REQUIRED_REGION) for name, region in ((BAT, bat), (METADATA, metadata))
    ]
    return _sealed((_REGIONS.pack(b"regi", 0, len(entries), 0) + b"".join(entries)).ljust(TABLE_BYTES, b"\0"))


class Item(NamedTuple):
    """``length`` bytes of metadata, ``offset`` bytes after the beginning of its region."""

    offset: int
    length: int


def parse_items(raw: bytes, region: Region, *, path: str) -> Dict[str, Item]:
    """The known items of the metadata table ``raw``, by GUID.

    Raises Damaged for a bad table, a missing item or one outside ``region``, Unsupported for an unknown one that must
    be understood.
    """
    signature, _reserved, count, _rest = _ITEMS.unpack_from(raw)
    if signature != b"metadata" or count > _MOST_ENTRIES:
        raise DamagedImage(
            "The table of metadata is damaged", path, region.offset, expected=b"metadata", found=signature
        )
    items: Dict[Tuple[str, bool], Item] = {}
    for index in range(count):
        place = _ITEMS.size + index * _ITEM.size
        guid, offset, length, flags, _reserved = _ITEM.unpack_from(raw, place)
        key, place = (unpack_guid(guid), bool(flags & _IS_USER)), region.offset + place
        if key in items:
            raise DamagedImage("An item of metadata is listed twice", path, place, found=key[0])
        if flags & _IS_REQUIRED and (key[1] or key[0] not in (*_FIXED_ITEMS, PARENT_LOCATOR)):
            message = "An unknown item of metadata must be understood to read this file"
            raise Unsupported(message, path, place, found=key[0])
        if length > _MOST_ITEM_BYTES or (length and (offset < TABLE_BYTES or offset + length > region.length)):
            message, found = "An item of metadata leaves its region", f"{length} bytes at {offset}"
            raise DamagedImage(message, path, place, expected=region.length, found=found)
        items[key] = Item(offset, length)
    found_items = {name: item for (name, is_user), item in items.items() if not is_user}
    _check_lengths(found_items, region, path)
    return found_items


def _check_lengths(items: Mapping[str, Item], region: Region, path: str) -> None:
    for name, length in _FIXED_ITEMS.items():
        if name not in items or items[name].length != length:
            found = items[name].length if name in items else "nothing"
            message = f"The item {name} of metadata is missing or has a wrong length"
            raise DamagedImage(message, path, region.offset, expected=length, found=found)


@dataclass(frozen=True)
class VhdxDisk:
    """What the metadata says of the disk; sizes are bytes. ``locator`` is there exactly when the image has a parent."""

    size: int
    block_bytes: int
    logical_sector: int
    physical_sector: int
    disk_id: str
    is_fixed: bool
    locator: Optional[Mapping[str, str]] = None

    @property
    def chunk_blocks(self) -> int:
        """How many payload blocks share one block of sector bits."""
        return (self.logical_sector << 23) // self.block_bytes

    @property
    def blocks(self) -> int:
        """How many payload blocks the disk has."""
        return -(-self.size // self.block_bytes)

    @property
    def table_entries(self) -> int:
        """How many entries the block table has."""
        if self.locator is None:
            return self.blocks + (self.blocks - 1) // self.chunk_blocks
        return -(-self.blocks // self.chunk_blocks) * (self.chunk_blocks + 1)


def parse_disk(values: Mapping[str, bytes], *, path: str) -> VhdxDisk:
    """The disk that the values of the metadata items describe. Raises Damaged for what cannot be."""
    block_bytes, flags = struct.unpack("<II", values[FILE_PARAMETERS])
    size, logical, physical = (
        int.from_bytes(values[name], "little") for name in (VIRTUAL_SIZE, LOGICAL_SECTOR, PHYSICAL_SECTOR)
    )
    if bool(flags & _HAS_PARENT) != (PARENT_LOCATOR in values):
        expected = "a parent locator" if flags & _HAS_PARENT else "no parent locator"
        raise DamagedImage("The metadata contradicts itself about a parent image", path, expected=expected)
    locator = parse_locator(values[PARENT_LOCATOR], path=path) if flags & _HAS_PARENT else None
    disk = VhdxDisk(
        size, block_bytes, logical, physical, unpack_guid(values[DISK_ID]), bool(flags & _LEAVE_ALLOCATED), locator
    )
    for text, expected, found in complaints(disk):
        raise DamagedImage(text, path, expected=expected, found=found)
    return disk


def complaints(disk: VhdxDisk) -> List[Tuple[str, str, int]]:
    """What of the numbers the format does not allow: message, expected, found."""
    block, logical = disk.block_bytes, disk.logical_sector
    found = []
    if not UNIT <= block <= MAX_BLOCK or block & (block - 1):
        found.append(("The block size is impossible", f"a power of two from {UNIT} to {MAX_BLOCK}", block))
    for name, sector in (("logical", logical), ("physical", disk.physical_sector)):
        if sector not in SECTORS:
            found.append((f"The {name} sector size is impossible", "512 or 4096", sector))
    if not 0 < disk.size <= MAX_SIZE:
        found.append(("The disk size is impossible", f"1..{MAX_SIZE}", disk.size))
    if logical in SECTORS and disk.size % logical:
        found.append(("The disk size is no multiple of its logical sectors", f"a multiple of {logical}", disk.size))
    return found


def pack_metadata(disk: VhdxDisk) -> Tuple[bytes, bytes]:
    """The used beginning of the metadata table, and that of the items, which follow its 64 KiB directly."""
    flags = (_LEAVE_ALLOCATED if disk.is_fixed else 0) | (0 if disk.locator is None else _HAS_PARENT)
    values = {
        FILE_PARAMETERS: struct.pack("<II", disk.block_bytes, flags),
        VIRTUAL_SIZE: struct.pack("<Q", disk.size),
        DISK_ID: pack_guid(disk.disk_id),
        LOGICAL_SECTOR: struct.pack("<I", disk.logical_sector),
        PHYSICAL_SECTOR: struct.pack("<I", disk.physical_sector),
    }
    if disk.locator is not None:
        values[PARENT_LOCATOR] = pack_locator(disk.locator)
    table, items = _ITEMS.pack(b"metadata", 0, len(values), bytes(20)), b""
    for name, value in values.items():
        flags = _FLAGS.get(name, _IS_VIRTUAL_DISK | _IS_REQUIRED)
        table += _ITEM.pack(pack_guid(name), TABLE_BYTES + len(items), len(value), flags, 0)
        items += value
    return table, items


def parse_locator(raw: bytes, *, path: str) -> Dict[str, str]:
    """The keys and values of a parent locator. Raises Damaged, or Unsupported for the locator of another product."""
    pairs: Dict[str, str] = {}
    for key_offset, value_offset, key_bytes, value_bytes in _locator_entries(raw, path):
        key = _text(raw, key_offset, key_bytes, path)
        if key in pairs:
            raise DamagedImage("The parent locator has an entry twice", path, found=key[:60])
        pairs[key] = _text(raw, value_offset, value_bytes, path)
    for key in ("parent_linkage", "parent_linkage2"):
        if key in pairs:
            pairs[key] = normalise(pairs[key], path=path, what=key)
    if "parent_linkage" not in pairs or not {"relative_path", "volume_path", "absolute_win32_path"} & set(pairs):
        message, expected = "The parent locator does not name the parent", "parent_linkage and a path"
        raise DamagedImage(message, path, expected=expected, found=sorted(pairs)[:8])
    return pairs


def _locator_entries(raw: bytes, path: str) -> List[Tuple[int, int, int, int]]:
    """Offset and length of keys and values, which together are no longer than the locator."""
    cut = "The parent locator is cut off"
    if len(raw) < _LOCATOR.size:
        raise DamagedImage(cut, path, expected=f"at least {_LOCATOR.size} bytes", found=len(raw))
    kind, _reserved, count = _LOCATOR.unpack_from(raw)
    if unpack_guid(kind) != LOCATOR_TYPE:
        raise Unsupported("The parent is named in an unknown way", path, expected=LOCATOR_TYPE, found=unpack_guid(kind))
    if _LOCATOR.size + count * _PAIR.size > len(raw):
        raise DamagedImage(cut, path, expected=f"{count} entries", found=f"{len(raw)} bytes")
    entries = [_PAIR.unpack_from(raw, _LOCATOR.size + index * _PAIR.size) for index in range(count)]
    length = sum(sum(entry[2:]) for entry in entries)
    if length > len(raw):
        message, expected = "The texts of the parent locator overlap", f"at most {len(raw)} bytes"
        raise DamagedImage(message, path, expected=expected, found=length)
    return entries


def _text(raw: bytes, offset: int, length: int, path: str) -> str:
    try:
        if offset < _LOCATOR.size or offset + length > len(raw):
            raise ValueError("outside")
        text = raw[offset : offset + length].decode("utf-16-le")
        if "\0" in text:
            raise ValueError("NUL")
    except ValueError as error:
        found = f"{length} bytes at {offset}"
        raise DamagedImage(
            "A text of the parent locator cannot be read", path, expected="UTF-16 within the locator", found=found
        ) from error
    return text


def pack_locator(pairs: Mapping[str, str]) -> bytes:
    """A parent locator. Raises BadRequest for texts that it cannot hold."""
    table, texts = _LOCATOR.pack(pack_guid(LOCATOR_TYPE), 0, len(pairs)), b""
    start = _LOCATOR.size + len(pairs) * _PAIR.size
    for key, value in pairs.items():
        try:
            raw_key, raw_value = key.encode("utf-16-le"), value.encode("utf-16-le")
            table += _PAIR.pack(start + len(texts), start + len(texts) + len(raw_key), len(raw_key), len(raw_value))
        except (UnicodeEncodeError, struct.error) as error:
            raise BadRequest(
                "The name of the parent cannot be written into the image", expected="a shorter name in Unicode"
            ) from error
        texts += raw_key + raw_value
    return table + texts

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The header of VirtualBox disk images (VDI): its fields, what they may be, and its bytes.

::

    0        64          72                         offset_map          offset_data
    | text   | mark, ver | header (384 or 400 bytes) | .. | map of blocks | .. | block 0 | block 1 | ...

All numbers are little-endian, UUIDs are in the byte order of Windows. There is no checksum and no footer, and a parent
has no name but its UUID: VirtualBox keeps the names of all images in a registry of its own. The facts are those of
``VDICore.h`` of VirtualBox and of ``block/vdi.c`` of QEMU.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Optional, Tuple

from ..._core.errors import BadRequest, Damaged, Unsupported
from ..._core.guid import derive, of_bytes, swapped, to_bytes
from ..._core.records import dataclass
from ..._core.units import KIB, MIB, SECTOR, ceil_div, format_size, round_up
from ..damage import DamagedImage
from ..image_ids import NO_IDS, ImageIds

DYNAMIC = "dynamic"
FIXED = "fixed"
DIFFERENCING = "differencing"

HEADER_BYTES = 512
"""What is read and written of the header, with the text before it."""

ENTRY_BYTES = 4
FREE = 0xFFFFFFFF
"""The entry of a block that was never written."""

ZERO_BLOCK = 0xFFFFFFFE
"""The entry of a block that was set to zeros. Every smaller entry is the ordinal of a stored block."""

MOST_BLOCKS = 0x1FFFFF80
"""QEMU opens no image with more."""

_MARK = 0xBEDA107F
_VERSION = 0x00010001
_OLD_VERSION = 0x00000002
_HEADER = struct.Struct("<64sIIIII256sIIIIIIIQIIII16s16s16s16sIIII")
_BODY_OFFSET = 72
_LEAST_BODY = 384
_BODY_WITH_LCHS = 400
_TYPES = {1: DYNAMIC, 2: FIXED, 4: DIFFERENCING}
_UNDO = 3
_KNOWN_FLAGS = 0x101
_LEAST_BLOCK = 4 * KIB
_MOST_BLOCK = 64 * MIB
_ALIGNMENT = MIB
_TEXT = b"<<< vdisk.parallels Virtual Disk Image >>>\n"
_NO_UUID = bytes(16)


@dataclass(frozen=True)
class VdiHeader:
    """What the header of an image says; sizes and offsets in bytes. Only a differencing one has a parent in ``ids``."""

    subformat: str
    size_bytes: int
    block_bytes: int
    extra_bytes: int
    blocks: int
    allocated: int
    offset_map: int
    offset_data: int
    flags: int
    ids: ImageIds

    @property
    def identity(self) -> Optional[str]:
        """The UUID of the image, None when it has none."""
        return self.ids.image

    @property
    def stride(self) -> int:
        """From the start of one stored block to that of the next."""
        return self.block_bytes + self.extra_bytes

    @property
    def used_blocks(self) -> int:
        """How many blocks the guest sees; the map may have more."""
        return ceil_div(self.size_bytes, self.block_bytes)

    @property
    def warnings(self) -> Tuple[str, ...]:
        """What is odd, but does not change the content."""
        found = []
        if self.flags & ~_KNOWN_FLAGS:
            found.append(f"The VDI header has flags of unknown meaning ({self.flags:#x}); they were ignored.")
        if self.allocated > self.blocks:
            found.append(
                f"The VDI header counts {self.allocated} stored blocks, but the disk has only {self.blocks}; "
                "VirtualBox refuses such an image."
            )
        return tuple(found)


def parse_header(raw: bytes, *, path: str, file_size: int) -> VdiHeader:
    """The header in the first HEADER_BYTES of a file of ``file_size`` bytes.

    Raises Damaged for what no VDI image has, and Unsupported for old versions, undo images and absurd sizes.
    """
    _check_mark(raw, path)
    fields = _HEADER.unpack_from(raw)
    body_bytes, kind, flags = fields[3:6]
    offset_map, offset_data = fields[7:9]
    size, block, extra, blocks, allocated = fields[14:19]
    ids = ImageIds(*(None if raw == _NO_UUID else _uuid_text(raw) for raw in fields[19:23]))
    if body_bytes < _LEAST_BODY:
        raise Damaged(
            "The header has an impossible length", path, 72, expected=f"at least {_LEAST_BODY}", found=body_bytes
        )
    _check_base(kind, ids.parent, path)
    header = VdiHeader(_TYPES[kind], size, block, extra, blocks, allocated, offset_map, offset_data, flags, ids)
    _check_sizes(header, path)
    _check_places(header, body_bytes, path, file_size)
    return header


def _check_mark(raw: bytes, path: str) -> None:
    if len(raw) < _BODY_OFFSET:
        raise DamagedImage(
            "The file is too short for a VDI header", path, len(raw), expected=HEADER_BYTES, found=len(raw)
        )
    mark, version = struct.unpack_from("<II", raw, 64)
    if mark != _MARK:
        raise Damaged("This is no VDI image", path, 64, expected=f"{_MARK:#010x}", found=f"{mark:#010x}")
    if version != _VERSION:
        what = (
            "an image of the first VirtualBox versions"
            if version == _OLD_VERSION
            else f"version {version >> 16}.{version & 0xFFFF} of the format"
        )
        raise Unsupported(f"The VDI image is {what}", path, 68, expected="version 1.1", found=f"{version:#010x}")
    if len(raw) < HEADER_BYTES:
        raise DamagedImage("The file ends within its header", path, len(raw), expected=HEADER_BYTES, found=len(raw))


def _check_base(kind: int, parent: Optional[str], path: str) -> None:
    """Nothing with a parent passes as a whole disk: it would read zeros where the parent has data."""
    if kind == _UNDO:
        raise Unsupported("The VDI image is an undo image", path, 76, expected="type 1, 2 or 4", found=kind)
    if kind not in _TYPES:
        raise Damaged(
            "The header names an image type that there is not",
            path,
            76,
            expected="1 (dynamic), 2 (fixed) or 4 (differencing)",
            found=kind,
        )
    if (_TYPES[kind] == DIFFERENCING) != (parent is not None):
        raise DamagedImage(
            "The header says two things of the image below",
            path,
            424,
            expected="a differencing image with the UUID of its parent, or neither",
            found=f"a {_TYPES[kind]} image, parent {parent}",
        )


def _check_sizes(header: VdiHeader, path: str) -> None:
    size, block, extra, blocks = header.size_bytes, header.block_bytes, header.extra_bytes, header.blocks
    if not size:
        raise Damaged("The header gives the disk no size", path, 368, expected="more than 0", found=0)
    if block & (block - 1) or not _LEAST_BLOCK <= block <= _MOST_BLOCK:
        raise Damaged(
            "The block size is impossible", path, 376, expected="a power of two from 4096 to 67108864", found=block
        )
    if extra & (extra - 1) or extra > block:
        raise Damaged(
            "The number of extra bytes of a block is impossible",
            path,
            380,
            expected=f"0, or a power of two up to {block}",
            found=extra,
        )
    if blocks * block < size:
        raise Damaged(
            "The map has too few blocks for the disk",
            path,
            384,
            expected=f"at least {ceil_div(size, block)}",
            found=blocks,
        )
    if blocks > MOST_BLOCKS:
        raise Unsupported("The map has too many blocks", path, 384, expected=f"at most {MOST_BLOCKS}", found=blocks)


def _check_places(header: VdiHeader, body_bytes: int, path: str, file_size: int) -> None:
    offset_map, offset_data = header.offset_map, header.offset_data
    map_end = offset_map + ENTRY_BYTES * header.blocks
    if offset_map % SECTOR or offset_map < _BODY_OFFSET + body_bytes:
        expected = f"a multiple of 512, at least {_BODY_OFFSET + body_bytes}"
        raise Damaged("The map lies in an impossible place", path, 340, expected=expected, found=offset_map)
    if offset_data % SECTOR or offset_data < map_end:
        raise Damaged(
            "The data lies in an impossible place",
            path,
            344,
            expected=f"a multiple of 512, at least {map_end}",
            found=offset_data,
        )
    if map_end > file_size:
        raise DamagedImage("The file ends within its map", path, file_size, expected=map_end, found=file_size)


def _uuid_text(raw: bytes) -> str:
    return of_bytes(swapped(raw))


def new_header(*, subformat: str, size_bytes: int, block_bytes: int) -> VdiHeader:
    """The header of a new image without stored blocks, laid out as VirtualBox does.

    Raises BadRequest for an impossible image.
    """
    if subformat not in (DYNAMIC, FIXED):
        raise BadRequest("A VDI image is dynamic or fixed", expected=f"{DYNAMIC} or {FIXED}", found=subformat)
    if block_bytes & (block_bytes - 1) or not _LEAST_BLOCK <= block_bytes <= _MOST_BLOCK:
        raise BadRequest(
            "A VDI image cannot have such blocks", expected="a power of two from 4 KiB to 64 MiB", found=block_bytes
        )
    most = MOST_BLOCKS * block_bytes
    if not 0 < size_bytes <= most:
        raise BadRequest(
            f"A VDI image with blocks of {format_size(block_bytes)} cannot have this size",
            expected=f"1 to {most} bytes",
            found=size_bytes,
        )
    blocks = ceil_div(size_bytes, block_bytes)
    offset_data = round_up(_ALIGNMENT + ENTRY_BYTES * blocks, _ALIGNMENT)
    return VdiHeader(subformat, size_bytes, block_bytes, 0, blocks, 0, _ALIGNMENT, offset_data, 0, NO_IDS)


def pack_header(header: VdiHeader, *, allocated: int, identity: str) -> bytes:
    """The first sector of an image with ``allocated`` stored blocks.

    Both of its UUIDs derive from the GUID ``identity``; VirtualBox refuses an image whose UUIDs are zero. QEMU wants a
    sector size of 512 in the old geometry, VirtualBox in the new one.
    """
    kind = next(number for number, name in _TYPES.items() if name == header.subformat)
    created, modified = (swapped(to_bytes(derive(identity, "vdi", field))) for field in ("create", "modify"))
    start = (
        _TEXT,
        _MARK,
        _VERSION,
        _BODY_WITH_LCHS,
        kind,
        header.flags,
        b"",
        header.offset_map,
        header.offset_data,
        0,
        0,
        0,
        SECTOR,
        0,
    )
    sizes = (header.size_bytes, header.block_bytes, header.extra_bytes, header.blocks, allocated)
    return _HEADER.pack(*start, *sizes, created, modified, _NO_UUID, _NO_UUID, 0, 0, 0, SECTOR).ljust(
        HEADER_BYTES, b"\0"
    )

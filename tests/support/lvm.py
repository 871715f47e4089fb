# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Physical volumes of LVM2 for tests, written with nothing but struct and a bitwise CRC."""

from __future__ import annotations

import struct
from typing import Sequence, Tuple

UUID = "abcdefghijklmnopqrstuvwxyzABCDEF"
AREA = (4096, 64 << 10)
FIRST_EXTENT, EXTENT, EXTENTS = 1 << 20, 1 << 20, 12
Stripes = Sequence[Tuple[str, int]]


def crc(message: bytes) -> int:
    value = 0xF597A6CF
    for byte in message:
        value ^= byte
        for _bit in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
    return value


def segment(number: int, first: int, count: int, stripes: Stripes, kind: str = "striped", more: str = "") -> str:
    listed = ", ".join(f'"{name}", {place}' for name, place in stripes)
    return (
        f'segment{number} {{ start_extent = {first}\n extent_count = {count}\n type = "{kind}"\n'
        f" stripe_count = {len(stripes)}\n stripes = [ {listed} ]\n {more} }}\n"
    )


def logical(name: str, *segments: str, status: str = '"READ", "WRITE", "VISIBLE"') -> str:
    return f"{name} {{ status = [{status}]\n segment_count = {len(segments)}\n{''.join(segments)} }}\n"


def text(volumes: str = "", *, status: str = "", own: str = "", more: str = "", count: int = EXTENTS) -> str:
    ident = "-".join((UUID[:6], UUID[6:10], UUID[10:14], UUID[14:18], UUID[18:22], UUID[22:26], UUID[26:]))
    return (
        f'vg0 {{\n id = "x"\n seqno = 3\n status = [{status}]\n flags = []\n extent_size = {EXTENT // 512}\n'
        f'physical_volumes {{ pv0 {{ id = "{ident}"\n status = ["ALLOCATABLE"]\n flags = [{own}]\n'
        f" pe_start = {FIRST_EXTENT // 512}\n pe_count = {count} }} {more} }}\n"
        f'logical_volumes {{ {volumes} }}\n}}\n# Generated\ncontents = "Text Format Volume Group"\nversion = 1\n'
    )


def physical(
    content: str = "", *, offset: int = 512, flags: int = 0, size: int = FIRST_EXTENT + EXTENTS * EXTENT
) -> bytes:
    """A whole physical volume with this text, its label in sector 1."""
    raw = (content or text()).encode() + b"\0"
    disk = bytearray(size)
    label = bytearray(512)
    label[:8], label[8:16], label[20:24], label[24:32] = b"LABELONE", struct.pack("<Q", 1), b"\x20\0\0\0", b"LVM2 001"
    label[32:64] = UUID.encode()
    struct.pack_into("<Q", label, 64, size)
    struct.pack_into("<QQQQQQQQ", label, 72, FIRST_EXTENT, 0, 0, 0, *AREA, 0, 0)
    struct.pack_into("<I", label, 16, crc(bytes(label[20:])))
    disk[512:1024] = label
    header = bytearray(512)
    header[4:20] = b" LVM2 x[5A%r0N*>"
    struct.pack_into("<IQQ", header, 20, 1, *AREA)
    struct.pack_into("<QQII", header, 40, offset, len(raw), crc(raw), flags)
    struct.pack_into("<I", header, 0, crc(bytes(header[4:])))
    disk[AREA[0] : AREA[0] + 512] = header
    first = min(len(raw), AREA[1] - offset)
    disk[AREA[0] + offset : AREA[0] + offset + first] = raw[:first]
    disk[AREA[0] + 512 : AREA[0] + 512 + len(raw) - first] = raw[first:]
    return bytes(disk)

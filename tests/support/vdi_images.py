# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VDI images made from the format description with ``struct`` alone, sharing no code with the engine."""

from __future__ import annotations

import struct
import uuid
from typing import Dict, Mapping, Optional, Sequence

FREE = 0xFFFFFFFF
ZERO = 0xFFFFFFFE
CREATED = uuid.UUID("11223344-5566-7788-99aa-bbccddeeff00")
MODIFIED = uuid.UUID("00ffeedd-ccbb-aa99-8877-665544332211")

# Field: its offset and struct format.
FIELDS = {
    "signature": (64, "<I"),
    "version": (68, "<I"),
    "header_bytes": (72, "<I"),
    "type": (76, "<I"),
    "flags": (80, "<I"),
    "offset_map": (340, "<I"),
    "offset_data": (344, "<I"),
    "sector_bytes": (360, "<I"),
    "size": (368, "<Q"),
    "block": (376, "<I"),
    "extra": (380, "<I"),
    "blocks": (384, "<I"),
    "allocated": (388, "<I"),
    "created": (392, "16s"),
    "modified": (408, "16s"),
    "linkage": (424, "16s"),
    "parent_modified": (440, "16s"),
}


def pack_header(**fields: object) -> bytes:
    """The first sector with ``fields`` as FIELDS names them; what is not given is as QEMU writes it."""
    values: Dict[str, object] = {
        "signature": 0xBEDA107F,
        "version": 0x00010001,
        "header_bytes": 384,
        "type": 1,
        "flags": 0,
        "offset_map": 512,
        "sector_bytes": 512,
        "block": 1 << 20,
        "extra": 0,
        "created": CREATED.bytes_le,
        "modified": MODIFIED.bytes_le,
        **fields,
    }
    raw = bytearray(512)
    raw[: len(b"<<< QEMU VM Virtual Disk Image >>>\n")] = b"<<< QEMU VM Virtual Disk Image >>>\n"
    for name, value in values.items():
        offset, form = FIELDS[name]
        struct.pack_into(form, raw, offset, value)
    return bytes(raw)


def build_vdi(
    path: str,
    *,
    size: int,
    contents: Mapping[int, bytes],
    block: int = 1 << 20,
    extra: int = 0,
    order: Optional[Sequence[int]] = None,
    entries: Optional[Mapping[int, int]] = None,
    file_size: Optional[int] = None,
    **fields: object,
) -> int:
    """Write an image with the guest blocks ``contents`` and return the offset of its data.

    ``order`` is that of the stored blocks, by default that of the disk; ``entries`` overrides entries of the map;
    ``file_size`` cuts or stretches the file at the end; ``fields`` overrides those of the header.
    """
    blocks = int(str(fields.get("blocks", -(-size // block))))
    ordered = list(order) if order is not None else sorted(contents)
    table = [FREE] * blocks
    for ordinal, index in enumerate(ordered):
        table[index] = ordinal
    for index, entry in (entries or {}).items():
        table[index] = entry
    data = 512 + -(-4 * blocks // 512) * 512
    header = {
        "size": size,
        "block": block,
        "extra": extra,
        "blocks": blocks,
        "allocated": len(ordered),
        "offset_data": data,
        **fields,
    }
    with open(path, "wb") as stream:
        stream.write(pack_header(**header))
        stream.write(struct.pack(f"<{blocks}I", *table))
        for ordinal, index in enumerate(ordered):
            stream.seek(data + ordinal * (block + extra))
            stream.write(b"\xee" * extra + contents[index])
        stream.truncate(data + len(ordered) * (block + extra) if file_size is None else file_size)
    return data


def change(path: str, **fields: object) -> None:
    """Overwrite fields of the header of an image."""
    with open(path, "r+b") as stream:
        for name, value in fields.items():
            offset, form = FIELDS[name]
            stream.seek(offset)
            stream.write(struct.pack(form, value))


def field(path: str, name: str) -> object:
    """One field of the header of an image."""
    offset, form = FIELDS[name]
    with open(path, "rb") as stream:
        stream.seek(offset)
        return struct.unpack(form, stream.read(struct.calcsize(form)))[0]

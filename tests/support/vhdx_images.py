# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VHDX files built from their parts, apart from the code under test, and what a reader sees of one."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.reader import VhdxImage, open_vhdx
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

PORT = OsPort()
KIB, MIB = 1 << 10, 1 << 20
BAT, METADATA = "2dc27766-f623-4200-9d64-115e9bfd4a08", "8b7ca206-4790-4b9a-b8fe-575f050f886e"
PARAMETERS, SIZE, DISK_ID = (
    "caa16737-fa36-4d43-b3b6-33f0aa44e76b",
    "2fa54224-cd1b-4876-b211-5dbed83bf4b8",
    "beca12ab-b2e6-4523-93ef-c309e000c746",
)
LOGICAL, PHYSICAL = "8141bf1d-a96f-4709-ba47-f233a8faab5f", "cda348c7-445d-4471-9cc9-e9885251c556"
LOCATOR, LOCATOR_TYPE = "a8d35f2d-b30b-454d-abf7-d3d84834ab0c", "b04aefb7-d19e-4a81-b789-25b8e9445913"
DATA_ID = "0a0a0a0a-1b1b-2c2c-3d3d-4e4e4e4e4e4e"
PARENT_ID = "{99999999-aaaa-bbbb-cccc-dddddddddddd}"
LOG_ID = "10101010-2020-3030-4040-505050505050"
LOG_AT, METADATA_AT, BAT_AT, DATA_AT = MIB, 2 * MIB, 3 * MIB, 4 * MIB
PAIRS = {
    "parent_linkage": PARENT_ID,
    "relative_path": ".\\base.vhdx",
    "absolute_win32_path": "\\\\?\\c:\\disks\\base.vhdx",
}


def crc32c(content: bytes) -> int:
    """Bit by bit for each value of a byte, as the format describes it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = (crc >> 8) ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _crc_entry(value: int) -> int:
    for _bit in range(8):
        value = (value >> 1) ^ 0x82F63B78 if value & 1 else value >> 1
    return value


CRC_TABLE = [_crc_entry(value) for value in range(256)]


def guid(text: str) -> bytes:
    return uuid.UUID(text).bytes_le


def sealed(raw: bytes) -> bytes:
    return raw[:4] + struct.pack("<I", crc32c(raw[:4] + bytes(4) + raw[8:])) + raw[8:]


def header(
    sequence: int,
    *,
    data_id: str = DATA_ID,
    log_id: Optional[str] = None,
    version: int = 1,
    log_version: int = 0,
    log: Tuple[int, int] = (LOG_AT, MIB),
) -> bytes:
    ids = bytes(16) + guid(data_id) + (guid(log_id) if log_id else bytes(16))
    raw = (
        b"head"
        + bytes(4)
        + struct.pack("<Q", sequence)
        + ids
        + struct.pack("<HHIQ", log_version, version, log[1], log[0])
    )
    return sealed(raw.ljust(4096, b"\0"))


def regions(entries: Sequence[Tuple[str, int, int, int]]) -> bytes:
    raw = b"regi" + bytes(4) + struct.pack("<II", len(entries), 0)
    raw += b"".join(guid(name) + struct.pack("<QII", *rest) for name, *rest in entries)
    return sealed(raw.ljust(64 * KIB, b"\0"))


def locator(pairs: Mapping[str, str], kind: str = LOCATOR_TYPE) -> bytes:
    table, texts = guid(kind) + struct.pack("<HH", 0, len(pairs)), b""
    for key, value in pairs.items():
        place = 20 + 12 * len(pairs) + len(texts)
        raw_key, raw_value = key.encode("utf-16-le"), value.encode("utf-16-le")
        table += struct.pack("<IIHH", place, place + len(raw_key), len(raw_key), len(raw_value))
        texts += raw_key + raw_value
    return table + texts


def metadata(items: Sequence[Tuple[str, int, bytes]]) -> bytes:
    table, values = b"metadata" + struct.pack("<HH", 0, len(items)) + bytes(20), b""
    for name, flags, value in items:
        table += guid(name) + struct.pack("<IIII", 65536 + len(values), len(value), flags, 0)
        values += value
    return table.ljust(65536, b"\0") + values


def items(
    size: int,
    *,
    block: int = MIB,
    sectors: Tuple[int, int] = (512, 512),
    flags: int = 0,
    pairs: Optional[Mapping[str, str]] = None,
) -> List[Tuple[str, int, bytes]]:
    flags |= 2 if pairs is not None else 0
    found = [
        (PARAMETERS, 4, struct.pack("<II", block, flags)),
        (SIZE, 6, struct.pack("<Q", size)),
        (DISK_ID, 6, bytes(range(16))),
        (LOGICAL, 6, struct.pack("<I", sectors[0])),
        (PHYSICAL, 6, struct.pack("<I", sectors[1])),
    ]
    return found + ([(LOCATOR, 4, locator(pairs))] if pairs is not None else [])


class Built:
    """A file in parts, each of which may be replaced before it is written.

    ``bat`` maps indexes of the table to entries.
    """

    def __init__(
        self,
        size: int = 4 * MIB,
        *,
        block: int = MIB,
        sectors: Tuple[int, int] = (512, 512),
        flags: int = 0,
        pairs: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.items = items(size, block=block, sectors=sectors, flags=flags, pairs=pairs)
        self.regions = [(BAT, BAT_AT, MIB, 1), (METADATA, METADATA_AT, MIB, 1)]
        self.bat: Dict[int, int] = {}
        self.parts: Dict[int, bytes] = {0: b"vhdxfile", 64 * KIB: header(1), 128 * KIB: header(2)}
        self.length = DATA_AT

    def put(self, index: int, offset: int, content: bytes, *, state: int = 6, length: int = MIB) -> None:
        """An entry of the table, and the block that it names."""
        self.bat[index] = offset | state
        self.parts[offset] = content
        self.length = max(self.length, offset + length)

    def write(self, path: Path) -> str:
        parts = {
            192 * KIB: regions(self.regions),
            256 * KIB: regions(self.regions),
            METADATA_AT: metadata(self.items),
            **self.parts,
        }
        with open(path, "wb") as stream:
            stream.truncate(self.length)
            for offset, content in parts.items():
                stream.seek(offset)
                stream.write(content)
            for index, entry in self.bat.items():
                stream.seek(BAT_AT + 8 * index)
                stream.write(struct.pack("<Q", entry))
            stream.truncate(self.length)
        return str(path)


def content_of(image: VhdxImage, start: int = 0, length: Optional[int] = None) -> bytes:
    buffer = bytearray(image.size - start if length is None else length)
    image.pread_into(start, buffer)
    return bytes(buffer)


def kinds(image: VhdxImage) -> List[Tuple[int, int, str]]:
    return [(extent.start, extent.length, extent.kind) for extent in image.extents(0, image.size)]


def opened(path: str) -> VhdxImage:
    return open_vhdx(PORT, path)

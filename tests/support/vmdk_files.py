# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""VMDK files made from the format description with ``struct`` alone, sharing no code with the engine."""

from __future__ import annotations

import struct
import zlib
from types import MappingProxyType
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

SECTOR = 512
HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")
AT_END = 0xFFFFFFFFFFFFFFFF
# Where each field of the header lies, with the code of its type.
FIELDS = {
    "magic": (0, "4s"),
    "version": (4, "I"),
    "flags": (8, "I"),
    "capacity": (12, "Q"),
    "grain": (20, "Q"),
    "descriptor_offset": (28, "Q"),
    "descriptor_size": (36, "Q"),
    "entries": (44, "I"),
    "rgd": (48, "Q"),
    "gd": (56, "Q"),
    "overhead": (64, "Q"),
    "unclean": (72, "B"),
    "newlines": (73, "4s"),
    "compression": (77, "H"),
}


class Built(NamedTuple):
    """A sparse extent and where its structures are, in bytes; ``tables`` and ``grains`` by their numbers."""

    raw: bytearray
    directory: int
    tables: Dict[int, int]
    grains: Dict[int, int]


def put(raw: bytearray, field: str, value: object, *, at: int = 0) -> None:
    """Change one field of the header (or footer) at byte ``at``."""
    offset, code = FIELDS[field]
    struct.pack_into("<" + code, raw, at + offset, value)


def get(raw: bytes, field: str, *, at: int = 0) -> object:
    """One field of the header (or footer) at byte ``at``."""
    offset, code = FIELDS[field]
    return struct.unpack_from("<" + code, raw, at + offset)[0]


def text(
    create_type: str,
    extents: Iterable[str],
    *,
    cid: str = "1a2b3c4d",
    parent: str = "ffffffff",
    hint: Optional[str] = None,
    more: Sequence[str] = (),
) -> bytes:
    """A descriptor."""
    lines = ["# Disk DescriptorFile", "version=1", f"CID={cid}", f"parentCID={parent}", f'createType="{create_type}"']
    lines += [f'parentFileNameHint="{hint}"'] if hint else []
    return "\n".join(
        [*lines, "", "# Extent description", *extents, "", "#DDB", 'ddb.adapterType = "ide"', *more, ""]
    ).encode()


def sparse(
    *,
    capacity: int,
    grains: Mapping[int, bytes],
    zeroed: Sequence[int] = (),
    grain: int = 8,
    entries: int = 512,
    version: int = 1,
    flags: int = 1,
    descriptor: bytes = b"",
    descriptor_sectors: int = 20,
    redundant: bool = False,
    all_tables: bool = False,
) -> Built:
    """A hosted sparse extent whose grains lie in the order of ``grains``; tables that nothing is in are left out
    unless asked for.
    """
    count = -(-capacity // (grain * entries))
    table_sectors = -(-entries * 4 // SECTOR)
    directory_sectors = -(-count * 4 // SECTOR)
    used = range(count) if all_tables else sorted({number // entries for number in [*grains, *zeroed]})
    position = 1 + (descriptor_sectors if descriptor else 0)
    directories: List[Tuple[int, Dict[int, int]]] = []
    for _index in range(2 if redundant else 1):
        tables = {table: position + directory_sectors + index * table_sectors for index, table in enumerate(used)}
        directories.append((position, tables))
        position += directory_sectors + len(tables) * table_sectors
    data = -(-position // grain) * grain
    places = {number: data + index * grain for index, number in enumerate(grains)}
    raw = bytearray((data + len(places) * grain) * SECTOR)
    fields = (
        b"KDMV",
        version,
        flags | 2 * redundant,
        capacity,
        grain,
        1 if descriptor else 0,
        descriptor_sectors if descriptor else 0,
        entries,
    )
    raw[:SECTOR] = HEADER.pack(
        *fields, directories[0][0] if redundant else 0, directories[-1][0], data, 0, b"\n \r\n", 0
    )
    raw[SECTOR : SECTOR + len(descriptor)] = descriptor
    for start, tables in directories:
        for table, sector in tables.items():
            struct.pack_into("<I", raw, start * SECTOR + 4 * table, sector)
        for number, sector in [*places.items(), *((number, 1) for number in zeroed)]:
            struct.pack_into("<I", raw, tables[number // entries] * SECTOR + 4 * (number % entries), sector)
    for number, content in grains.items():
        raw[places[number] * SECTOR : places[number] * SECTOR + len(content)] = content
    start, tables = directories[-1]
    in_bytes = {table: sector * SECTOR for table, sector in tables.items()}
    return Built(raw, start * SECTOR, in_bytes, {number: sector * SECTOR for number, sector in places.items()})


def stream(
    *, capacity: int, grains: Mapping[int, bytes], descriptor: bytes, grain: int = 8, footer: bool = True, last: int = 0
) -> Built:
    """A stream with a footer, or with a header that knows the directory.

    ``grains`` ascend; the last holds only ``last`` bytes if asked.
    """
    count = -(-capacity // (grain * 512))
    raw = bytearray(21 * SECTOR)
    raw[SECTOR : SECTOR + len(descriptor)] = descriptor
    tables: Dict[int, int] = {}
    places: Dict[int, int] = {}
    for table in range(count):
        inside = {number: content for number, content in grains.items() if number // 512 == table}
        if not inside:
            continue
        packed = bytearray(2048)
        for number, content in inside.items():
            places[number] = len(raw)
            struct.pack_into("<I", packed, 4 * (number % 512), len(raw) // SECTOR)
            content = content[:last] if last and number == max(grains) else content
            raw += record(number * grain, zlib.compress(content))
        raw += marker(4, 1)
        tables[table] = len(raw)
        raw += packed
    directory = b"".join(struct.pack("<I", tables.get(table, 0) // SECTOR) for table in range(count))
    raw += marker(-(-len(directory) // SECTOR), 2)
    start = len(raw)
    raw += directory.ljust(-(-len(directory) // SECTOR) * SECTOR, b"\0")
    fields = (b"KDMV", 3, 0x30001, capacity, grain, 1, 20, 512, 0)
    closing = HEADER.pack(*fields, start // SECTOR, 128, 0, b"\n \r\n", 1)
    raw[:SECTOR] = HEADER.pack(*fields, AT_END, 128, 0, b"\n \r\n", 1) if footer else closing
    if footer:
        raw += marker(1, 3) + closing
    raw += bytes(SECTOR)
    return Built(raw, start, tables, places)


def marker(sectors: int, kind: int) -> bytes:
    """A marker of a stream."""
    return struct.pack("<QII", sectors, 0, kind).ljust(SECTOR, b"\0")


def record(sector: int, packed: bytes) -> bytes:
    """A grain of a stream."""
    raw = struct.pack("<QI", sector, len(packed)) + packed
    return raw.ljust(-(-len(raw) // SECTOR) * SECTOR, b"\0")


def cowd(*, capacity: int, grains: Mapping[int, bytes], grain: int = 1) -> Built:
    """A COWD extent."""
    count = -(-capacity // (grain * 4096))
    position = 4 + -(-count * 4 // SECTOR)
    tables = {}
    for table in sorted({number // 4096 for number in grains}):
        tables[table] = position * SECTOR
        position += 32
    places = {number: (position + index * grain) * SECTOR for index, number in enumerate(grains)}
    raw = bytearray((position + len(grains) * grain) * SECTOR)
    struct.pack_into("<4sIIIIIII", raw, 0, b"COWD", 1, 3, capacity, grain, 4, count, len(raw) // SECTOR)
    for table, offset in tables.items():
        struct.pack_into("<I", raw, 4 * SECTOR + 4 * table, offset // SECTOR)
    for number, offset in places.items():
        struct.pack_into("<I", raw, tables[number // 4096] + 4 * (number % 4096), offset // SECTOR)
        raw[offset : offset + grain * SECTOR] = grains[number].ljust(grain * SECTOR, b"\0")
    return Built(raw, 4 * SECTOR, tables, places)


def sesparse(*, capacity: int, grains: Mapping[int, bytes], zeroed: Mapping[int, int] = MappingProxyType({})) -> Built:
    """A space-efficient sparse extent, its grains in the given order; ``zeroed`` grains are of kind 1 or 2."""
    count = -(-capacity // (8 * 4096))
    used = sorted({number // 4096 for number in [*grains, *zeroed]})
    directory, tables = 16, 16 + -(-count * 8 // SECTOR)
    data = -(-(tables + 64 * len(used)) // 8) * 8
    raw = bytearray((data + 8 * len(grains)) * SECTOR)
    fields = [0xCAFEBABE, 0x0000000200000001, capacity, 8, 64, 0, 0, 0, 0, 0, 8, 1, 9, 1, 10, 1]
    fields += [directory, tables - directory, tables, 64 * len(used), 1, 1, 2, 1, data, 8 * len(grains)]
    struct.pack_into("<26Q", raw, 0, *fields)
    struct.pack_into("<4Q", raw, 8 * SECTOR, 0xCAFECAFE, 0, 0, 0)
    for index, table in enumerate(used):
        struct.pack_into("<Q", raw, directory * SECTOR + 8 * table, 1 << 60 | index)

    def put_entry(number: int, entry: int) -> None:
        place = tables * SECTOR + used.index(number // 4096) * 32768 + 8 * (number % 4096)
        struct.pack_into("<Q", raw, place, entry)

    for index, (number, content) in enumerate(grains.items()):
        put_entry(number, 3 << 60 | (index & 0xFFF) << 48 | index >> 12)
        raw[(data + 8 * index) * SECTOR : (data + 8 * index) * SECTOR + len(content)] = content
    for number, kind in zeroed.items():
        put_entry(number, kind << 60)
    starts = {table: tables * SECTOR + index * 32768 for index, table in enumerate(used)}
    return Built(raw, directory * SECTOR, starts, {n: (data + 8 * i) * SECTOR for i, n in enumerate(grains)})

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Test images made from the format description with ``struct`` alone, sharing no code with the engine."""

from __future__ import annotations

import hashlib
import os
import random
import struct
from typing import Dict, Iterable, Mapping, NamedTuple, Optional, Sequence, Tuple

SECTOR = 512
MAGICS = {1: b"WithoutFreeSpace", 2: b"WithouFreSpacExt"}
HEADER = struct.Struct("<16sIIIIIQIIIQ")
LEAKED = b"\xee"
"""What fills the clusters of the file that no entry names."""


class Built(NamedTuple):
    """Where things are in an image that ``build_hds`` made; ``offsets`` maps guest clusters to file offsets."""

    path: str
    data_start: int
    cluster_bytes: int
    offsets: Dict[int, int]
    file_size: int


def noise(chance: random.Random, length: int) -> bytes:
    """Random bytes; ``randbytes`` is newer than Python 3.8."""
    return chance.getrandbits(8 * length).to_bytes(length, "little") if length else b""


def fill(cluster_index: int, length: int, seed: int = 0) -> bytes:
    """``length`` bytes that depend on the cluster, on the place within it and on ``seed``; hardly any of them is
    zero.
    """
    words, value = [], (cluster_index * 0x9E3779B1 + seed * 0x85EBCA6B + 1) & 0xFFFFFFFF
    for _index in range(64):
        value = (value * 1664525 + 1013904223) & 0xFFFFFFFF
        words.append(value | 0x01010101)
    block = struct.pack("<64I", *words)
    blocks = -(-length // len(block))
    marked = bytearray(block * blocks)
    for number in range(blocks):
        struct.pack_into("<I", marked, number * len(block), 0x80000000 | number)
    return bytes(marked[:length])


def guest_bytes(*, size_sectors: int, cluster_sectors: int, clusters: Mapping[int, bytes]) -> bytes:
    """What a guest reads from an image with these clusters and no parent."""
    disk = bytearray(size_sectors * SECTOR)
    for index, content in clusters.items():
        start = index * cluster_sectors * SECTOR
        stop = min(len(disk), start + len(content))
        disk[start:stop] = content[: max(0, stop - start)]
    return bytes(disk)


def pack_hds_header(
    *,
    size_sectors: int,
    bat_entries: int,
    cluster_sectors: int = 2048,
    version: int = 1,
    data_off: int = 0,
    in_use: int = 0,
    flags: int = 0,
    ext_off: int = 0,
    disk_type: int = 2,
    heads: int = 16,
    cylinders: Optional[int] = None,
    size_high: int = 0,
    magic: Optional[bytes] = None,
) -> bytes:
    """The 64 bytes of a header, every field as asked. ``size_high`` is added to the high half of the size."""
    if cylinders is None:
        cylinders = min(size_sectors // 512, 0xFFFFFFFF)
    size = (size_sectors + (size_high << 32)) & 0xFFFFFFFFFFFFFFFF
    start = magic if magic is not None else MAGICS[version]
    return HEADER.pack(
        start, disk_type, heads, cylinders, cluster_sectors, bat_entries, size, in_use, data_off, flags, ext_off
    )


def build_hds(
    path: str | os.PathLike[str],
    *,
    size_sectors: int,
    clusters: Mapping[int, bytes],
    cluster_sectors: int = 2048,
    version: int = 1,
    data_off: Optional[int] = None,
    in_use: int = 0,
    flags: int = 0,
    order: Optional[Sequence[int]] = None,
    bat_entries: Optional[int] = None,
    gaps: Iterable[int] = (),
    entries: Optional[Mapping[int, int]] = None,
    ext_off: int = 0,
    size_high: int = 0,
    disk_type: int = 2,
    heads: int = 16,
    cylinders: Optional[int] = None,
    magic: Optional[bytes] = None,
    tail: bytes = b"",
    file_size: Optional[int] = None,
) -> Built:
    """Write an expanding image whose guest ``clusters`` hold these bytes; the rest of a shorter one is a hole of the
    host file.

    ``order``: the guest clusters as they lie in the file, ascending by default. ``gaps``: cluster slots of the file
    that stay unused and are filled with LEAKED. ``data_off`` in sectors: None is the end of the table rounded up to a
    cluster; 0 is written as it is and means the sector behind the table. ``entries`` overrides raw table entries.
    ``tail`` follows the last slot; ``file_size`` cuts or stretches the file at the very end.
    """
    cluster_bytes = cluster_sectors * SECTOR
    if bat_entries is None:
        bat_entries = -(-size_sectors // cluster_sectors)
    table_end = 64 + 4 * bat_entries
    if data_off is None:
        data_off = -(-table_end // cluster_bytes) * cluster_sectors
    data_start = data_off * SECTOR if data_off else -(-table_end // SECTOR) * SECTOR
    slots, offsets, leaks = 0, {}, set(gaps)
    for index in order if order is not None else sorted(clusters):
        while slots in leaks:
            slots += 1
        offsets[index] = data_start + slots * cluster_bytes
        slots += 1
    slots = max([slots, *(gap + 1 for gap in leaks)])
    unit = SECTOR if version == 1 else cluster_bytes
    table = [0] * bat_entries
    for index, offset in offsets.items():
        table[index] = offset // unit
    for index, entry in (entries or {}).items():
        table[index] = entry
    with open(path, "wb") as stream:
        stream.write(
            pack_hds_header(
                size_sectors=size_sectors,
                bat_entries=bat_entries,
                cluster_sectors=cluster_sectors,
                version=version,
                data_off=data_off,
                in_use=in_use,
                flags=flags,
                ext_off=ext_off,
                disk_type=disk_type,
                heads=heads,
                cylinders=cylinders,
                size_high=size_high,
                magic=magic,
            )
        )
        stream.write(struct.pack(f"<{bat_entries}I", *table))
        stream.truncate(data_start + slots * cluster_bytes)
        for gap in leaks:
            stream.seek(data_start + gap * cluster_bytes)
            stream.write(LEAKED * cluster_bytes)
        for index, offset in offsets.items():
            stream.seek(offset)
            stream.write(clusters[index][:cluster_bytes])
        stream.seek(data_start + slots * cluster_bytes)
        stream.write(tail)
        if file_size is not None:
            stream.truncate(file_size)
    return Built(os.fspath(path), data_start, cluster_bytes, offsets, os.path.getsize(path))


def pack_bitmap(
    *, size_sectors: int, granularity: int, clusters: Sequence[int], identity: bytes = b"\x11" * 16
) -> bytes:
    """The data of a dirty bitmap feature; ``clusters`` are its L1 entries (0, 1 or a sector number)."""
    return struct.pack(f"<Q16sII{len(clusters)}Q", size_sectors, identity, granularity, len(clusters), *clusters)


def pack_extension(
    features: Iterable[Tuple[int, int, bytes]],
    *,
    cluster_bytes: int,
    magic: int = 0xAB234CEF23DCEA87,
    digest: Optional[bytes] = None,
) -> bytes:
    """The cluster of a format extension with ``features`` (magic, flags, data)."""
    body = b""
    for number, flags, data in features:
        body += struct.pack("<QQII", number, flags, len(data), 0) + data + bytes(-len(data) % 8)
    body = body.ljust(cluster_bytes - 24, b"\0")
    return struct.pack("<Q16s", magic, hashlib.md5(body).digest() if digest is None else digest) + body

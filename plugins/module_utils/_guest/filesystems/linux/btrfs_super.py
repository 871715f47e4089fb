# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The superblock of Btrfs, and what it says of a file system on one device (kernel ``btrfs_tree.h``)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Optional, Tuple

from ...._core.records import dataclass
from ..answer import Uncertain
from ..checksums import crc32c
from ..volume import Volume

PLACES = (0x10000, 0x4000000, 0x4000000000)
LENGTH = 4096
_MAGIC = b"_BHRfS_M"
_KNOWN_INCOMPAT, _KNOWN_RO_COMPAT, _KNOWN_FLAGS = 0x7FF, 0xF, 0x3
_MIXED_UUID, _BLOCK_GROUP_TREE = 0x400, 0x8
_ERROR_FLAG = 0x4
SYSTEM_ARRAY = 811


@dataclass(frozen=True)
class BtrfsSuper:
    """What is read of the superblock. A root is (logical address, level, generation)."""

    checksum: int
    fsid: bytes
    generation: int
    root: Tuple[int, int, int]
    chunk_root: Tuple[int, int, int]
    node: int
    sector: int
    device: int
    device_size: int
    has_group_tree: bool
    system_chunks: bytes


def read_super(volume: Volume, place: int = PLACES[0]) -> Optional[bytes]:
    """The copy at one of PLACES, None when it is none."""
    if volume.size < place + LENGTH:
        return None
    raw = volume.read(place, LENGTH)
    return raw if raw[64:72] == _MAGIC and struct.unpack_from("<Q", raw, 48)[0] == place else None


def is_sound(raw: bytes, kind: int) -> bool:
    """Whether the checksum of a node or superblock is right. ``kind`` as in the superblock."""
    if kind == 0:
        return bool(~crc32c(raw[32:]) & 0xFFFFFFFF == struct.unpack_from("<I", raw)[0])
    if kind == 1:
        from .xxh64 import xxh64

        return bool(xxh64(raw[32:]) == struct.unpack_from("<Q", raw)[0])
    import hashlib

    digest = hashlib.sha256(raw[32:]) if kind == 2 else hashlib.blake2b(raw[32:], digest_size=32)
    return digest.digest() == raw[:32]


def parse_super(volume: Volume) -> BtrfsSuper:
    """The first superblock. Raises Uncertain unless all of it is known, and no log waits."""
    raw = read_super(volume)
    if raw is None:
        raise Uncertain("unrecognised")
    kind = struct.unpack_from("<H", raw, 196)[0]
    if kind > 3:
        raise Uncertain("unknown_features")
    if not is_sound(raw, kind):
        raise Uncertain("damaged")
    _refuse_state(raw)
    generation, root, chunk_root = struct.unpack_from("<QQQ", raw, 72)
    sector, node = struct.unpack_from("<II", raw, 144)
    length, incompatible = struct.unpack_from("<I", raw, 160)[0], struct.unpack_from("<Q", raw, 188)[0]
    if not (4096 <= node <= 65536 and node & (node - 1) == 0 and 512 <= sector <= node) or length > 2048:
        raise Uncertain("damaged")
    device, device_size = struct.unpack_from("<QQ", raw, 201)
    if device_size > volume.size:
        raise Uncertain("too_large")
    _refuse_newer_copies(volume, raw)
    return BtrfsSuper(
        checksum=kind,
        fsid=raw[571:587] if incompatible & _MIXED_UUID else raw[32:48],
        generation=generation,
        root=(root, raw[198], generation),
        chunk_root=(chunk_root, raw[199], struct.unpack_from("<Q", raw, 164)[0]),
        node=node,
        sector=sector,
        device=device,
        device_size=device_size,
        has_group_tree=bool(struct.unpack_from("<Q", raw, 180)[0] & _BLOCK_GROUP_TREE),
        system_chunks=raw[SYSTEM_ARRAY : SYSTEM_ARRAY + length],
    )


def _refuse_state(raw: bytes) -> None:
    flags, log_root = struct.unpack_from("<Q", raw, 56)[0], struct.unpack_from("<Q", raw, 96)[0]
    read_only, incompatible = struct.unpack_from("<QQ", raw, 180)
    if flags & _ERROR_FLAG:
        raise Uncertain("errors")
    if flags & ~_KNOWN_FLAGS or incompatible & ~_KNOWN_INCOMPAT or read_only & ~_KNOWN_RO_COMPAT:
        raise Uncertain("unknown_features")
    if struct.unpack_from("<Q", raw, 136)[0] != 1:
        raise Uncertain("raid")
    if log_root:
        raise Uncertain("unclean")


def _refuse_newer_copies(volume: Volume, raw: bytes) -> None:
    """The first copy is written first, so none is newer."""
    for place in PLACES[1:]:
        copy = read_super(volume, place)
        is_newer = copy is not None and copy[32:48] == raw[32:48] and copy[72:80][::-1] > raw[72:80][::-1]
        if is_newer:
            raise Uncertain("damaged")

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""xxHash64 with seed 0, which some Btrfs have as checksum (xxhash_spec.md of its author)."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct

_ONE, _TWO, _THREE = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_FOUR, _FIVE = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_M = (1 << 64) - 1


def xxh64(message: bytes) -> int:
    """The hash of a message."""
    value = _FIVE
    whole = len(message) // 32 * 32
    if whole:
        value = _stripes(message, whole)
    value = (value + len(message)) & _M
    at = whole
    while at + 8 <= len(message):
        value ^= _round(0, struct.unpack_from("<Q", message, at)[0])
        value = (_rotated(value, 27) * _ONE + _FOUR) & _M
        at += 8
    if at + 4 <= len(message):
        value ^= struct.unpack_from("<I", message, at)[0] * _ONE & _M
        value = (_rotated(value, 23) * _TWO + _THREE) & _M
        at += 4
    for byte in message[at:]:
        value = _rotated(value ^ (byte * _FIVE & _M), 11) * _ONE & _M
    value = (value ^ (value >> 33)) * _TWO & _M
    value = (value ^ (value >> 29)) * _THREE & _M
    return value ^ (value >> 32)


def _stripes(message: bytes, whole: int) -> int:
    lanes = [(_ONE + _TWO) & _M, _TWO, 0, -_ONE & _M]
    for stripe in struct.iter_unpack("<4Q", message[:whole]):
        lanes = [_round(lane, word) for lane, word in zip(lanes, stripe)]
    value = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18))) & _M
    for lane in lanes:
        value = ((value ^ _round(0, lane)) * _ONE + _FOUR) & _M
    return value


def _round(lane: int, word: int) -> int:
    return _rotated((lane + word * _TWO) & _M, 31) * _ONE & _M


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _M

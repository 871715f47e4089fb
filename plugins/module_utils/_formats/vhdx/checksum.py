# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The checksum of VHDX structures: CRC-32C."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from functools import lru_cache
from typing import Tuple

from ..._io.port import Buffer

_POLYNOMIAL = 0x82F63B78


def crc32c(content: Buffer, crc: int = 0) -> int:
    """The CRC-32C of ``content``; ``crc`` is that of what comes before it.

    The message is one large number that is halved again and again: its first part, multiplied by the right power of x,
    is added to the rest. That takes a few dozen operations on large numbers instead of one for each byte.
    """
    view = memoryview(content)
    bits = view.nbytes * 8
    crc ^= 0xFFFFFFFF
    if bits > 1024:
        message = int.from_bytes(view, "little") ^ crc
        crc = 0
        power = (bits - 65).bit_length() - 1
        while bits > 1024:
            kept = (1 << power) + 64
            folded = bits - kept
            low = message & ((1 << folded) - 1)
            message >>= folded
            for degree in _weight(kept):
                message ^= low << (kept - folded - degree)
            bits = kept
            power -= 1
        view = memoryview(message.to_bytes(bits // 8, "little"))
    table = _table()
    for byte in view:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@lru_cache(maxsize=64)
def _weight(power: int) -> Tuple[int, ...]:
    """The degrees of the terms of x^power modulo the polynomial. Bit 31 is x^0 here, as in the checksum."""
    result, factor = 1 << 31, 1 << 30
    while power:
        if power & 1:
            result = _product(result, factor)
        factor = _product(factor, factor)
        power >>= 1
    return tuple(degree for degree in range(32) if result >> (31 - degree) & 1)


def _product(one: int, other: int) -> int:
    result = 0
    for bit in range(31, -1, -1):
        if one >> bit & 1:
            result ^= other
        other = (other >> 1) ^ (_POLYNOMIAL if other & 1 else 0)
    return result


@lru_cache(maxsize=1)
def _table() -> Tuple[int, ...]:
    entries = []
    for entry in range(256):
        for _bit in range(8):
            entry = (entry >> 1) ^ (_POLYNOMIAL if entry & 1 else 0)
        entries.append(entry)
    return tuple(entries)

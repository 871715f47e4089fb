# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes: sectors, bytes and the way people write them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import Union

from .errors import BadRequest

SECTOR = 512
KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

_FACTORS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB, "P": 1 << 50}
_SIZE = r"(\d{1,20})(?:\.(\d{1,6}))?\s*([KMGTP]?)(?:I?B)?"


def parse_size(text: Union[str, int], *, option: str = "size") -> int:
    """Bytes meant by ``text``: a number, or one with K, M, G, T or P (powers of 1024; ``B`` and ``iB`` may follow).

    Raises BadRequest when it is no size, is negative, or does not come to whole bytes.
    """
    match = re.fullmatch(_SIZE, str(text).strip(), re.IGNORECASE)
    if match is None:
        raise BadRequest(
            f"{option}: {str(text)[:40]!r} is not a size",
            expected="a number with an optional K, M, G or T",
            hint="Write for example 64G or 512MiB.",
        )
    whole, fraction, unit = match.groups()
    factor = _FACTORS[unit.upper()]
    size = int(whole) * factor
    if fraction:
        part, rest = divmod(int(fraction) * factor, 10 ** len(fraction))
        if rest:
            raise BadRequest(f"{option}: {text!r} is not a whole number of bytes")
        size += part
    return size


def format_size(size: int) -> str:
    """``size`` bytes for people: the largest unit that keeps at most one decimal, such as ``1.5 GiB``."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(size) >= factor:
            value = f"{size / factor:.1f}"
            return f"{value[:-2] if value.endswith('.0') else value} {unit}"
    return f"{size} B"


def round_up(value: int, step: int) -> int:
    """The smallest multiple of ``step`` that is not below ``value``."""
    return -(-value // step) * step


def counted(number: int, noun: str) -> str:
    """A number of things, such as ``1 error`` and ``2 errors``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def ceil_div(value: int, divisor: int) -> int:
    """``value / divisor``, rounded up."""
    return -(-value // divisor)

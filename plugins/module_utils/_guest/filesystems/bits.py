# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bitmaps to ranges: which bits of a bitmap are 0."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Tuple


def zero_runs(bitmap: bytes, count: int, *, high_first: bool = False) -> Iterator[Tuple[int, int]]:
    """Ranges (first, end) of bits that are 0 among the first ``count``, ascending, not touching.

    Bit 0 is the lowest of the first byte, with ``high_first`` the highest. 8 * len(bitmap) must reach ``count``. Give
    at most a few hundred KiB at once: a bit takes a byte.
    """
    if count > 8 * len(bitmap):
        raise ValueError("the bitmap is too short")
    if not bitmap.strip(b"\xff"):
        return
    guard = 1 << 8 * len(bitmap)
    if high_first:
        text = format(int.from_bytes(bitmap, "big") | guard, "b")[1:]
    else:
        text = format(int.from_bytes(bitmap, "little") | guard, "b")[:0:-1]
    end = 0
    while True:
        start = text.find("0", end, count)
        if start < 0:
            return
        end = text.find("1", start, count)
        if end < 0:
            yield start, count
            return
        yield start, end

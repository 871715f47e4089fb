# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Buffers that the kernel fills quickly, and comparing and clearing them at the speed of memory.

A large block from malloc begins 16 bytes after the start of a page. Into exactly that place some processors (AMD EPYC)
copy at a quarter of their speed, so a buffer here begins a cache line later.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import struct
from typing import Union

from .port import Buffer

_SKEW = 48


def new_buffer(length: int) -> memoryview:
    """A buffer of ``length`` bytes, all zero, for data that is read in bulk. Slices of it are as good."""
    return memoryview(bytearray(_SKEW + length))[_SKEW:]


def is_equal(one: memoryview, other: Buffer) -> bool:
    """Whether ``one``, whole as ``new_buffer`` made it, begins with ``other``; ValueError for a part of a buffer.

    By memcmp: memoryviews are compared byte by byte.
    """
    raw: bytearray = one.obj  # type: ignore[assignment]
    if len(raw) != _SKEW + len(one):
        raise ValueError("not a whole buffer")
    return raw.startswith(other, _SKEW)


def clear(buffer: Union[bytearray, memoryview]) -> None:
    """Fill ``buffer`` with zeros by memset; assigning zeros copies them, on some processors twenty times slower."""
    if len(buffer):
        struct.pack_into(f"{len(buffer)}x", buffer, 0)

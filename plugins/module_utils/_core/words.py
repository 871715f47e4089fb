# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables of numbers of one width, as the bytes of a file and as an array of this machine."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import sys
from array import array
from typing import Union

LITTLE, BIG = "little", "big"


def unpack_words(raw: Union[bytes, bytearray], typecode: str = "I", order: str = LITTLE) -> array[int]:
    """The numbers in ``raw``, which holds whole ones: of 32 bits, or with the typecode ``Q`` of 64."""
    words = array(typecode, raw)
    if order != sys.byteorder:
        words.byteswap()
    return words


def pack_words(words: array[int], order: str = LITTLE) -> bytes:
    """The bytes of the numbers, whatever their width. ``words`` stay as they are."""
    if order != sys.byteorder:
        words = words[:]
        words.byteswap()
    return words.tobytes()

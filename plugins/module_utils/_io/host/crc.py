# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""CRC-32 (that of zlib) as fast as the host can.

The zlib of most distributions knows no instruction for it: 4 GiB/s on a core of x86-64. Two libraries that are there on
many hosts do: libdeflate, and liblzma from 5.6 on, 8 to 20 GiB/s. The numbers are the same, so nothing depends on which
one it is; where there is none, where it cannot be loaded, or where its numbers differ, zlib does the work.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import os
import sys
import zlib
from typing import Any, Callable, Optional

Crc = Callable[[memoryview, int], int]

# Machines for which both libraries have code that uses the instructions.
_MACHINES = ("x86_64", "aarch64")
# 5.6.2, stable, as ``lzma_version_number`` says it. The two before it were tampered with.
_OLDEST_LZMA = 50060022
_PROBE = bytes(range(256)) * 17

_best: Optional[Crc] = None


def fast_crc32() -> Crc:
    """What computes the CRC-32 of a buffer that goes on from another value; worth it for buffers of many KiB.

    Looked up once a run: it loads libraries.
    """
    global _best  # pylint: disable=global-statement
    if _best is None:
        _best = _by_library() or zlib.crc32
    return _best


def _by_library() -> Optional[Crc]:
    if not sys.platform.startswith("linux") or os.uname().machine not in _MACHINES:
        # On macOS zlib itself uses the instruction.
        return None
    try:
        import ctypes
    except ImportError:
        return None
    for make in (_of_libdeflate, _of_liblzma):
        try:
            made = make(ctypes)
        except (OSError, AttributeError):
            continue
        if made is not None and _agrees(made):
            return made
    return None


def _of_libdeflate(ctypes: Any) -> Crc:
    function = ctypes.CDLL("libdeflate.so.0").libdeflate_crc32
    function.argtypes = (ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t)
    function.restype = ctypes.c_uint32
    return _on_buffers(ctypes, lambda address, length, value: function(value, address, length))


def _of_liblzma(ctypes: Any) -> Optional[Crc]:
    library = ctypes.CDLL("liblzma.so.5")
    if library.lzma_version_number() < _OLDEST_LZMA:
        return None
    function = library.lzma_crc32
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32)
    function.restype = ctypes.c_uint32
    return _on_buffers(ctypes, function)


def _on_buffers(ctypes: Any, function: Callable[[int, int, int], int]) -> Crc:
    """``function`` of address, length and value for buffers; zlib for those whose address ctypes does not tell."""
    at, address_of = ctypes.c_char.from_buffer, ctypes.addressof

    def crc32(buffer: memoryview, value: int) -> int:
        if buffer.readonly or not buffer.contiguous or not buffer.nbytes:
            return zlib.crc32(buffer, value)
        # It holds the buffer until the call is over.
        first = at(buffer)
        return function(address_of(first), buffer.nbytes, value)

    return crc32


def _agrees(crc32: Crc) -> bool:
    """Whether it gives the numbers of zlib, for whole buffers and parts that begin and end anywhere."""
    probe = memoryview(bytearray(_PROBE))
    parts = (probe, probe[1:-3], probe[13:64], probe[7:8])
    return all(crc32(part, value) == zlib.crc32(part, value) for part in parts for value in (0, 0xDEADBEEF))

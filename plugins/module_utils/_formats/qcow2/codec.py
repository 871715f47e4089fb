# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packing and unpacking one cluster of a qcow2 image: deflate without a frame, or one zstd frame."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import importlib
import zlib
from typing import Any, Callable, Optional, Tuple

from ..._core.errors import BadRequest, Unsupported
from ..._core.randomness import looks_random

Unpack = Callable[[bytes, int], Optional[bytes]]
"""Gives exactly so many bytes, or None when the packed ones are not worth that; they may be followed by others."""

Pack = Callable[[bytes], Optional[bytes]]
"""Gives the packed bytes, or None when hardly anything would be saved.

Depends on the content alone; threads may share it.
"""

# QEMU inflates with a window of 4 KiB, so nothing may refer to what lies farther back. Reading takes all there is.
_WRITTEN_WINDOW_BITS = 12
_READ_WINDOW_BITS = 15
_ZSTD_WINDOW_BITS = 23
_LEVELS = {"zlib": (1, 6, 9), "zstd": (1, 3, 19)}
# Where less than this part of a cluster would be saved, reading it fast is worth more.
_LEAST_SAVING = 16


def unpacker(compression: str, *, path: str) -> Unpack:
    """The function that unpacks clusters. Raises Unsupported where zstd is not installed."""
    if compression == "zlib":
        return _inflate
    name, module = _zstd(path)
    return _zstd_unpacker(name, module)


def packer(compression: str, level: Optional[int], *, path: str) -> Pack:
    """The function that packs clusters, at ``level`` or the usual one.

    Raises BadRequest for a level that does not exist and Unsupported where zstd is not installed.
    """
    least, usual, most = _LEVELS[compression]
    chosen = usual if level is None else level
    if not least <= chosen <= most:
        raise BadRequest(
            f"compression_level: {compression} has no level {chosen}", path, expected=f"{least}..{most}", found=chosen
        )
    if compression == "zlib":
        return _deflater(chosen)
    name, module = _zstd(path)
    return _zstd_packer(name, module, chosen)


def _inflate(packed: bytes, length: int) -> Optional[bytes]:
    stream = zlib.decompressobj(-_READ_WINDOW_BITS)
    try:
        content = stream.decompress(packed, length)
        # Asking for one byte more brings to light what would not fit.
        if len(content) != length or stream.decompress(stream.unconsumed_tail, 1):
            return None
    except zlib.error:
        return None
    return content


def _deflater(level: int) -> Pack:
    def pack(content: bytes) -> Optional[bytes]:
        if looks_random(content):
            return None
        stream = zlib.compressobj(level, zlib.DEFLATED, -_WRITTEN_WINDOW_BITS)
        return _if_smaller(stream.compress(content) + stream.flush(), content)

    return pack


def _if_smaller(packed: bytes, content: bytes) -> Optional[bytes]:
    return packed if len(packed) <= len(content) - len(content) // _LEAST_SAVING - 1 else None


def _zstd(path: str) -> Tuple[str, Any]:
    """The module that knows zstd and its name."""
    for name in ("compression.zstd", "zstandard"):
        try:
            return name, importlib.import_module(name)
        except ImportError:
            continue
    hint = "Install the Python package zstandard on this host, or use Python 3.14 or later."
    raise Unsupported("zstd is not available to Python here", path, expected="compression.zstd or zstandard", hint=hint)


def _zstd_unpacker(name: str, module: Any) -> Unpack:
    def unpack(packed: bytes, length: int) -> Optional[bytes]:
        try:
            if name == "zstandard":
                # One call ends with the frame, whatever follows it.
                content = (
                    module.ZstdDecompressor(max_window_size=1 << _ZSTD_WINDOW_BITS)
                    .stream_reader(packed)
                    .read(length + 1)
                )
            else:
                options = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW_BITS}
                content = module.ZstdDecompressor(options=options).decompress(packed, length + 1)
        except module.ZstdError:
            return None
        return content if len(content) == length else None

    return unpack


def _zstd_packer(name: str, module: Any, level: int) -> Pack:
    def pack(content: bytes) -> Optional[bytes]:
        if name == "zstandard":
            packed = module.ZstdCompressor(level=level, write_content_size=True).compress(content)
        else:
            packed = module.compress(content, level)
        return _if_smaller(packed, content)

    return pack

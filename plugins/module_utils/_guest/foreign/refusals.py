# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is added to the refusal of an image by its reader: the whole that it is a part of, or the next step."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath

from ..._core.errors import DiskError, NotAWholeDisk
from ..._formats.detect import UNSTRUCTURED, detect
from ..._io.durable import read_start
from ..._io.port import Port
from .advice import complete, false_name
from .whole import extent_of_vmdk, piece_of_vhd

_PREFIX = 4096


def explain(port: Port, error: DiskError, format: str, *, is_guessed: bool) -> None:
    """Complete ``error`` of the image at its path, or raise one that says more.

    Where the format was guessed by the name alone, the file may be a piece, or what its name says only in part.
    """
    path = error.path or ""
    if isinstance(error, NotAWholeDisk) and path:
        error.hint = extent_of_vmdk(port, path).hint
    elif is_guessed and format == "vhd" and _is_named_only(port, path):
        suffix = posixpath.splitext(path)[1]
        raise (false_name(path, suffix) if suffix.lower().endswith("vhd") else piece_of_vhd(port, path)) from error
    else:
        complete(error, format)


def _is_named_only(port: Port, path: str) -> bool:
    """Whether only the name says that a file is a VHD."""
    stat = port.stat(path)
    size = stat.size if stat is not None else 0
    file = port.open_read(path)
    try:
        tail = bytearray(min(size, 512))
        file.pread_into(size - len(tail), tail)
    finally:
        file.close()
    return detect(read_start(port, path, _PREFIX), suffix_bytes=bytes(tail), name="") == UNSTRUCTURED

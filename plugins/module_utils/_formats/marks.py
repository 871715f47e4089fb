# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a file is by its marks, whatever it is called."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Sequence

from .._core.errors import AlreadyExists
from .._io.durable import read_start
from .._io.port import Port
from .detect import TAIL_BYTES, UNSTRUCTURED, detect

_PREFIX = 4096


def mark_of(port: Port, path: str) -> str:
    """The format that the marks of the file at ``path`` claim, or UNSTRUCTURED."""
    stat = port.stat(path)
    size = stat.size if stat is not None else 0
    file = port.open_read(path)
    try:
        tail = bytearray(min(size, TAIL_BYTES))
        file.pread_into(size - len(tail), tail)
    finally:
        file.close()
    return detect(read_start(port, path, _PREFIX), suffix_bytes=bytes(tail), name="")


def refuse_other_marks(port: Port, path: str, own: Sequence[str], *, what: str) -> None:
    """Raise AlreadyExists for a file that is to be replaced by ``what``, and has a mark that is not among its ``own``:
    it is something else, which may be needed.
    """
    kind = mark_of(port, port.real_path(path))
    if kind not in (UNSTRUCTURED, *own):
        raise AlreadyExists(
            f"The destination is no {what}, but looks like {kind}",
            path=path,
            found=kind,
            expected=what,
            hint="Choose another dest, or set force: true to replace it.",
        )

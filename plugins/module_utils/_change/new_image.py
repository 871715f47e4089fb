# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A new, empty image."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Optional

from .._bundle.shape import PLAIN, Shape, header_of_part
from .._core.plan import CreateFile, Step, WriteBytes
from .._core.units import round_up
from .._formats.hds.bat import sequential_entries
from .._formats.hds.header import HdsHeader, pack_header

_TABLE_PIECE = 1 << 18
_TABLE_OFFSET = 64


def empty_image_steps(path: str, shape: Shape, length: int, *, like: Optional[str] = None) -> Iterator[Step]:
    """A new image of ``length`` zero bytes of a disk of this shape, with mode and owner of the file ``like``."""
    if shape.kind == PLAIN:
        yield CreateFile(path, length, reserve=shape.preallocate, like=like)
        return
    header = header_of_part(shape, length)
    whole = header.data_start + (round_up(length, shape.cluster_bytes) if shape.preallocate else 0)
    yield CreateFile(path, whole, reserve=shape.preallocate, like=like)
    if shape.preallocate:
        yield from reserved_table_steps(path, header)
    yield WriteBytes(path, 0, pack_header(header))


def reserved_table_steps(path: str, header: HdsHeader) -> Iterator[Step]:
    """The table of an image that has all its clusters, in order."""
    for first in range(0, header.used_entries, _TABLE_PIECE):
        count = min(_TABLE_PIECE, header.used_entries - first)
        yield WriteBytes(path, _TABLE_OFFSET + 4 * first, sequential_entries(header, first, count))

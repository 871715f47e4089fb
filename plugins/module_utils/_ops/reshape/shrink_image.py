# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One image that is to hold less of the guest disk, when nobody counts on what lies behind its new end any more."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterator, Optional, Sequence

from ..._bundle.bundle import ImageState
from ..._change.image import clear_steps, close_steps, mark_steps
from ..._change.table import clipped, resized, table_of
from ..._core.plan import Resize, Step, Sync, WriteBytes
from ..._core.records import dataclass, replace
from ..._formats.hds.header import ENTRY_BYTES, HEADER_BYTES, IN_USE, HdsHeader, pack_header


@dataclass(frozen=True)
class CutImage:
    """An image that is to hold less; ``header`` is the one it will have, closed, None for a plain one.

    ``table_end`` is where its table ended.
    """

    image: ImageState
    length: int
    header: Optional[HdsHeader]
    size_after: int
    table_end: int = 0


def cut_image(image: ImageState, length: int, *, entries: int = 0) -> CutImage:
    """What makes an image hold ``length`` bytes, fewer than now.

    ``entries`` is how many its table had, when its header no longer says so.
    """
    header = image.header
    if header is None:
        return CutImage(image, length, None, length)
    short = resized(header, length, header.data_start)
    kept = clipped(table_of(image, header), short, short.bat_entries)
    table_end = min(header.data_start, max(header.table_end, HEADER_BYTES + ENTRY_BYTES * entries))
    return CutImage(image, length, short, min(image.stat.size, kept.data_end), table_end)


def cut_steps(cut: CutImage) -> Iterator[Step]:
    """The steps of one image, when nobody counts on what is past its new end any more. They may be repeated."""
    path = cut.image.path
    if cut.header is None:
        yield Resize(path, cut.size_after)
        yield Sync(files=(path,))
        return
    yield from mark_steps([cut.image])
    yield WriteBytes(path, 0, pack_header(replace(cut.header, in_use=IN_USE)))
    # Slots are given back only when no durable header counts the entries that name them.
    yield Sync(files=(path,))
    yield from clear_steps(path, cut.header.table_end, cut.table_end)
    yield Resize(path, cut.size_after)
    yield Sync(files=(path,))
    yield from close_steps([cut.image], keep_extension=False)


def commit_of_cut(steps: Sequence[Step]) -> int:
    """Which of ``cut_steps`` makes the image hold less to its readers: its header, for a plain one its length."""
    headers = [at for at, step in enumerate(steps) if isinstance(step, WriteBytes) and step.offset == 0]
    return headers[0] if headers else 0

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Slots: the places of clusters in an image file, those in use and those that are free."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import NamedTuple, Tuple

from .._bundle.bundle import ImageState
from .._core.units import ceil_div
from .._formats.hds.header import HdsHeader


class Slots(NamedTuple):
    """Where a receiver has room: reusable byte ranges on its cluster grid, then everything from ``append_at``."""

    reusable: Tuple[Tuple[int, int], ...]
    append_at: int


def free_slots(image: ImageState, header: HdsHeader) -> Slots:
    """The room in an existing image: whole unused clusters first, then the end of the file on the cluster grid."""
    step = header.cluster_bytes
    whole = [(start, end - (end - start) % step) for start, end in image.unused]
    grid_end = header.data_start + ceil_div(max(0, image.stat.size - header.data_start), step) * step
    return Slots(tuple((start, end) for start, end in whole if end > start), grid_end)

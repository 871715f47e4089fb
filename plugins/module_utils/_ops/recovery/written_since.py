# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What other programs put into an image after a run of ours was cut off. Recovery leaves it as it is."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from ..._bundle.bundle import ImageState
from ..._core.units import SECTOR, round_up


def was_written_since(image: ImageState, length: int) -> bool:
    """Whether more than the rest of a cluster is in use past ``length``, where a run of ours had named nothing yet."""
    table = image.table
    clusters = table.data_end if table is not None and len(table) else 0
    return max(clusters, extension_end(image)) > _whole(image, length)


def extension_end(image: ImageState) -> int:
    """Where the format extension ends that the header names, even one that is not valid, as of a program that died."""
    header = image.header
    if header is None or not header.ext_off:
        return 0
    end = min(image.stat.size, header.ext_off * SECTOR + header.cluster_bytes)
    return max([end, *(stop for _start, stop in image.pinned)])


def _whole(image: ImageState, length: int) -> int:
    header = image.header
    if header is None or length <= header.data_start:
        return length
    return header.data_start + round_up(length - header.data_start, header.cluster_bytes)

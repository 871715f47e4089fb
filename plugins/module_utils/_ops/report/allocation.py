# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which stretches of the guest disk each layer holds, as counts for a picture. Told from the tables alone.

The guest disk is divided into buckets of equal length::

    guest disk      |----------|----------|----------|------|
    clusters held    ###    #     ######## ###
    counts               4          8          3         0
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Dict, List, Sequence

from ..._bundle.bundle import BundleState, ImageState
from ..._core import guid as guids
from ..._core.errors import BadRequest
from ..._core.units import SECTOR, ceil_div
from ..._formats.hds.bat import RunTable

MOST_BUCKETS = 4096


def allocation_map(state: BundleState, buckets: int) -> Dict[str, Any]:
    """How many clusters each layer of the whole tree, parents first, holds in each of at most ``buckets`` buckets.

    A bucket is a whole number of clusters long, so there may be fewer of them. Raises BadRequest for a number that
    makes no picture.
    """
    if not 1 <= buckets <= MOST_BUCKETS:
        raise BadRequest("map: the number of buckets is out of range", found=buckets, expected=f"1 to {MOST_BUCKETS}")
    sizes = [image.header.cluster_bytes for image in state.images.values() if image.header is not None]
    unit = max(sizes, default=state.descriptor.storages[0].cluster_sectors * SECTOR)
    clusters = ceil_div(state.descriptor.size_bytes, unit)
    bucket_bytes = ceil_div(clusters, buckets) * unit
    count = ceil_div(state.descriptor.size_bytes, bucket_bytes)
    return {
        "bucket_size": bucket_bytes,
        "layers": [_layer(state, guid, unit, bucket_bytes, count) for guid in _parents_first(state)],
    }


def _parents_first(state: BundleState) -> List[str]:
    # The sort is stable: those of one depth stay in the order of the descriptor.
    return sorted(state.tree.shots, key=state.tree.depth)


def _layer(state: BundleState, guid: str, unit: int, bucket_bytes: int, count: int) -> Dict[str, Any]:
    parent = state.tree.shots[guid].parent
    images = state.layer(guid)
    cluster = next((image.header.cluster_bytes for image in images if image.header is not None), unit)
    used = [0] * count
    for image in images:
        start = state.descriptor.storages[image.storage].start_sector * SECTOR
        for bucket, held in enumerate(_held(image, cluster, start, bucket_bytes, count)):
            used[bucket] += held
    return {
        "guid": guid,
        "parent": None if parent == guids.NONE else parent,
        "current": guid == state.tree.top,
        "outside": any(image.outside for image in images),
        "file_size": sum(image.stat.size for image in images),
        "used_size": sum(image.used for image in images),
        "cluster_size": cluster,
        "used_clusters": used,
    }


def _held(image: ImageState, cluster: int, start: int, bucket_bytes: int, count: int) -> List[int]:
    """Clusters of one image in each bucket; one that lies on a border counts where it begins.

    ``start`` is where its part of the disk begins, in bytes.
    """
    borders = [max(0, ceil_div(bucket * bucket_bytes - start, cluster)) for bucket in range(count)]
    # Whatever the table holds behind the end of the disk belongs to the last bucket.
    end = ceil_div(image.size, cluster) if image.table is None else 1 << 32
    borders.append(end)
    if image.table is None:
        return [max(0, min(following, end) - min(border, end)) for border, following in zip(borders, borders[1:])]
    return held_between(image.table, borders)


def held_between(table: RunTable, borders: Sequence[int]) -> List[int]:
    """How many clusters the table holds from each of the ascending guest clusters ``borders`` up to the next one.

    Sums over slices of the table, so that the cost of a table with millions of runs is that of adding them up.
    """
    starts, counts = table.first_clusters, table.counts
    held = []
    index = spill = 0
    for number, border in enumerate(borders):
        following = bisect_left(starts, border)
        # The last run that begins below the border may reach over it.
        over = max(0, starts[following - 1] + counts[following - 1] - border) if following else 0
        if number:
            held.append(sum(counts[index:following]) + spill - over)
        index, spill = following, over
    return held

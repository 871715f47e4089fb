# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ranges of the guest disk each layer holds, as counts for a picture, from the tables alone.

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


def refuse_bad_number(buckets: int) -> None:
    """Raise BadRequest for a number of buckets that is out of range."""
    if not 1 <= buckets <= MOST_BUCKETS:
        hint = f"Use 1 to {MOST_BUCKETS}, or 0 for no map."
        raise BadRequest(
            "map: the number of ranges is out of range", found=buckets, expected=f"1 to {MOST_BUCKETS}", hint=hint
        )


def allocation_map(state: BundleState, buckets: int) -> Dict[str, Any]:
    """How many clusters each layer of the whole tree, parents first, holds in each of at most ``buckets`` buckets.

    A bucket is a whole number of clusters long, so there may be fewer. Raises BadRequest for a number out of range.
    """
    refuse_bad_number(buckets)
    sizes = [image.header.cluster_bytes for image in state.images.values() if image.header is not None]
    unit = max(sizes, default=state.descriptor.storages[0].cluster_sectors * SECTOR)
    clusters = ceil_div(state.descriptor.size_bytes, unit)
    bucket_bytes = ceil_div(clusters, buckets) * unit
    starts = range(0, state.descriptor.size_bytes, bucket_bytes)
    # The sort is stable: those of one depth stay in the order of the descriptor.
    parents_first = sorted(state.tree.shots, key=state.tree.depth)
    return {"bucket_size": bucket_bytes, "layers": [_layer(state, guid, unit, starts) for guid in parents_first]}


def _layer(state: BundleState, guid: str, unit: int, starts: range) -> Dict[str, Any]:
    parent = state.tree.shots[guid].parent
    images = state.layer(guid)
    cluster = next((image.header.cluster_bytes for image in images if image.header is not None), unit)
    held = [_held(image, cluster, state.parts[image.storage][0], starts) for image in images]
    return {
        "guid": guid,
        "parent": None if parent == guids.NONE else parent,
        "current": guid == state.tree.top,
        "outside": any(image.outside for image in images),
        "file_size": sum(image.stat.size for image in images),
        "used_size": sum(image.used for image in images),
        "cluster_size": cluster,
        "used_clusters": [sum(bucket) for bucket in zip(*held)],
    }


def _held(image: ImageState, cluster: int, first: int, starts: range) -> List[int]:
    """Clusters of an image whose part of the disk begins at byte ``first``, in the buckets that begin at ``starts``.

    One on a border counts where it begins.
    """
    borders = [max(0, ceil_div(start - first, cluster)) for start in starts]
    # What the table holds past the end of the disk belongs to the last bucket.
    end = ceil_div(image.size, cluster) if image.table is None else 1 << 32
    borders.append(end)
    if image.table is None:
        return [max(0, min(following, end) - min(border, end)) for border, following in zip(borders, borders[1:])]
    return held_between(image.table, borders)


def held_between(table: RunTable, borders: Sequence[int]) -> List[int]:
    """How many clusters the table holds from each of the ascending guest clusters ``borders`` up to the next one.

    Sums over slices of the table, so that a table with millions of runs costs no more than adding them up.
    """
    starts, counts = table.first_clusters, table.counts
    held = []
    index = spill = 0
    for number, border in enumerate(borders):
        following = bisect_left(starts, border)
        # The last run that begins before the border may cross it.
        over = max(0, starts[following - 1] + counts[following - 1] - border) if following else 0
        if number:
            held.append(sum(counts[index:following]) + spill - over)
        index, spill = following, over
    return held

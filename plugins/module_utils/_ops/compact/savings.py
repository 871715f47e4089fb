# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each image of a disk can give back, by reason: the estimate that a compaction and a report start from."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState, ImageState
from ..._bundle.guards import minds_holes
from ..._core.records import dataclass
from ..._core.units import SECTOR
from ..._formats.hds.header import HdsHeader
from ..._io.port import Port
from .changes import Change, FreshCopy, Holes, Relocation
from .clusters import Clusters, union
from .droppable import EQUAL, METADATA, SOURCES, ZERO, find_droppable
from .relocate import dropped_places, kept_runs
from .stored_zeros import SMALLEST, ZeroScan, data_within, joined

IN_PLACE = "in_place"


COPY = "copy"


PUNCH = "punch"


LEAKED = "leaked"


FREE_IN_FILESYSTEM = "free_in_filesystem"


@dataclass(frozen=True)
class ImageSavings:
    """What one image can give back: bytes by reason, and the change that does it. ``read`` are the bytes looked at."""

    image: ImageState
    reasons: Mapping[str, int]
    change: Change
    read: int

    @property
    def reclaimable(self) -> int:
        """Bytes that the host gets back."""
        return self.change.reclaimable


def estimate(port: Port, state: BundleState, *, scan: str, strategy: str = IN_PLACE) -> List[ImageSavings]:
    """What each image of our own could give back. Nothing is changed."""
    savings = []
    for image in state.images.values():
        if image.outside:
            continue
        if image.header is None:
            found = _plain(port, state, image, scan)
        elif strategy == PUNCH:
            found = _punched(port, state, image, image.header, scan)
        else:
            found = _shortened(port, state, image, image.header, scan, strategy)
        if found is not None:
            savings.append(found)
    return savings


def _shortened(
    port: Port, state: BundleState, image: ImageState, header: HdsHeader, scan: str, strategy: str
) -> ImageSavings:
    found = find_droppable(port, state, image, scan=scan)
    dropped = found.all()
    change: Change
    if strategy == COPY:
        change = FreshCopy(image, header, dropped, state.location.directory, minds_holes(state))
    else:
        change = Relocation(image, header, dropped)
    reasons = {reason: len(clusters) * header.cluster_bytes for reason, clusters in found.clusters.items()}
    return ImageSavings(image, {**reasons, LEAKED: image.leaked}, change, found.bytes_read)


def _punched(port: Port, state: BundleState, image: ImageState, header: HdsHeader, scan: str) -> ImageSavings:
    """Zeros become holes wherever they are stored, even in a cluster that hides something; other clusters must be
    dropped first.
    """
    found = find_droppable(port, state, image, scan=scan)
    given = {reason: clusters for reason, clusters in found.clusters.items() if reason != ZERO}
    dropped = union(*given.values())
    file = port.open_read(image.path)
    try:
        zeros = ZeroScan(file, image.stat.block)
        stored: List[Tuple[int, int]] = []
        if SOURCES[scan] and not state.descriptor.storages[image.storage].preallocated:
            used = sorted(
                (offset, offset + count * header.cluster_bytes)
                for _cluster, count, offset in kept_runs(image, header, dropped)
            )
            stored = zeros.ranges(used, min(SMALLEST, header.cluster_bytes))
        leaked = list(data_within(file, image.unused, image.stat.block))
        places = {
            reason: list(data_within(file, joined(dropped_places(image, header, clusters)), image.stat.block))
            for reason, clusters in given.items()
        }
    finally:
        file.close()
    left = sorted(part for parts in places.values() for part in parts)
    change = Holes(image, dropped, tuple(joined(sorted(stored + leaked))), tuple(joined(left)))
    reasons = {
        **{reason: _total(parts) for reason, parts in places.items()},
        ZERO: _total(stored),
        LEAKED: _total(leaked),
    }
    return ImageSavings(image, reasons, change, found.bytes_read + zeros.bytes_read)


def _plain(port: Port, state: BundleState, image: ImageState, scan: str) -> Optional[ImageSavings]:
    """A plain image has no clusters to drop and keeps its length. None where it is to be left as it is."""
    storage = state.descriptor.storages[image.storage]
    if not SOURCES[scan] or storage.preallocated or minds_holes(state):
        return None
    file = port.open_read(image.path)
    try:
        zeros = ZeroScan(file, image.stat.block)
        stored = zeros.ranges([(0, image.size)], min(SMALLEST, storage.cluster_sectors * SECTOR))
    finally:
        file.close()
    return ImageSavings(image, {ZERO: _total(stored)}, Holes(image, Clusters(), tuple(stored), ()), zeros.bytes_read)


def _total(parts: Sequence[Tuple[int, int]]) -> int:
    return sum(end - start for start, end in parts)


def reclaimable_by_reason(savings: Sequence[ImageSavings], *, scan: str) -> Dict[str, Optional[int]]:
    """Bytes by reason; None for what was not looked at."""
    found: Dict[str, Optional[int]] = {
        reason: sum(one.reasons.get(reason, 0) for one in savings) for reason in (LEAKED, ZERO, EQUAL)
    }
    if scan == METADATA:
        found[ZERO] = found[EQUAL] = None
    return {**found, FREE_IN_FILESYSTEM: None}


def summary(savings: Sequence[ImageSavings], *, reclaimed: bool, scan: str) -> Dict[str, Any]:
    """The savings as results: per layer, in total and by reason, in bytes."""
    layers = [
        {
            "guid": one.image.guid,
            "file": one.image.file,
            "reclaimable": one.reclaimable,
            "reclaimed": one.reclaimable if reclaimed else 0,
        }
        for one in savings
    ]
    return {
        "reclaimable": sum(one.reclaimable for one in savings),
        "reclaimed": sum(one.reclaimable for one in savings) if reclaimed else 0,
        "layers": layers,
        "by_reason": reclaimable_by_reason(savings, scan=scan),
    }

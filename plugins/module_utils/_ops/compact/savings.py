# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each image of a disk can give back, by reason: the estimate that a compaction and a report start from."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Sequence

from ..._bundle.bundle import BundleState, ImageState
from ..._bundle.guards import minds_holes
from ..._core.ranges import Range, complement, joined
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR
from ..._formats.hds.header import HdsHeader
from ..._io.port import Port
from .changes import Change, FreshCopy, Holes, Relocation
from .clusters import Clusters, union
from .droppable import EQUAL, FILESYSTEM, FREE_IN_FILESYSTEM, METADATA, SOURCES, ZERO, Droppable, find_droppable
from .relocate import dropped_places, kept_runs
from .stored_zeros import SMALLEST, ZeroScan, data_within

if TYPE_CHECKING:
    from .freed import FreedLayers

IN_PLACE = "in_place"
COPY = "copy"
PUNCH = "punch"

LEAKED = "leaked"


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


def estimate(
    port: Port, state: BundleState, *, scan: str, strategy: str = IN_PLACE, freed: Optional[FreedLayers] = None
) -> List[ImageSavings]:
    """What each image of our own could give back; ``freed`` belongs to a scan of file systems. Nothing is changed."""
    looks = [_Look(port, state, image, scan, freed) for image in state.images.values() if not image.outside]
    found = [_estimate(look, strategy) for look in looks]
    return [savings for savings in found if savings is not None]


@dataclass(frozen=True)
class _Look:
    """One image, and the kind of scan by which it is looked at."""

    port: Port
    state: BundleState
    image: ImageState
    scan: str
    freed: Optional[FreedLayers] = None

    @property
    def takes_zeros(self) -> bool:
        """Whether stored zeros may become holes; those of a preallocated disk are there on purpose."""
        return bool(SOURCES[self.scan]) and not self.state.descriptor.storages[self.image.storage].preallocated

    def droppable(self) -> Droppable:
        """The clusters that may be dropped."""
        if self.freed is not None:
            return self.freed.droppable[(self.image.storage, self.image.guid)]
        return find_droppable(self.port, self.state, self.image, scan=self.scan)


def _estimate(look: _Look, strategy: str) -> Optional[ImageSavings]:
    header = look.image.header
    if header is None:
        return _plain(look)
    return _punched(look, header) if strategy == PUNCH else _shortened(look, header, strategy)


def _shortened(look: _Look, header: HdsHeader, strategy: str) -> ImageSavings:
    image, state, found = look.image, look.state, look.droppable()
    dropped = found.all()
    change: Change = Relocation(image, header, dropped)
    if strategy == COPY:
        change = FreshCopy(image, header, dropped, state.location.directory, minds_holes(state))
        if look.freed is not None:
            from .free_map_check import FreeMapCheck

            place, views = change.temporary, look.freed.views
            check = FreeMapCheck(state, image, place, change.fresh, views, look.freed.swap)
            change = replace(change, check=check)
    reasons = {reason: len(clusters) * header.cluster_bytes for reason, clusters in found.clusters.items()}
    return ImageSavings(image, {**reasons, LEAKED: image.leaked}, change, found.bytes_read)


def _punched(look: _Look, header: HdsHeader) -> ImageSavings:
    """Zeros become holes wherever they are stored, also where they hide something; other clusters are dropped first."""
    image, found = look.image, look.droppable()
    given = {reason: clusters for reason, clusters in found.clusters.items() if reason != ZERO}
    dropped = union(*given.values())
    file = look.port.open_read(image.path)
    try:
        zeros = ZeroScan(file, image.stat.block)
        kept = kept_runs(image, header, dropped) if look.takes_zeros else ()
        used = sorted((offset, offset + count * header.cluster_bytes) for _cluster, count, offset in kept)
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
    reasons = {reason: _total(parts) for reason, parts in {**places, ZERO: stored, LEAKED: leaked}.items()}
    return ImageSavings(image, reasons, change, found.bytes_read + zeros.bytes_read)


def _plain(look: _Look) -> Optional[ImageSavings]:
    """A plain image has no clusters to drop and keeps its length. None where it is to be left as it is."""
    image = look.image
    if not look.takes_zeros or minds_holes(look.state):
        return None
    cluster_bytes = look.state.descriptor.storages[image.storage].cluster_sectors * SECTOR
    file = look.port.open_read(image.path)
    try:
        zeros = ZeroScan(file, image.stat.block)
        free = [] if look.freed is None else look.freed.ranges[(image.storage, image.guid)].within(0, image.size)
        given = [(start, end) for start, end in data_within(file, free, image.stat.block) if end - start >= SMALLEST]
        stored = zeros.ranges(complement(given, 0, image.size), min(SMALLEST, cluster_bytes))
    finally:
        file.close()
    reasons = {ZERO: _total(stored), FREE_IN_FILESYSTEM: _total(given)}
    change = Holes(image, Clusters(), tuple(joined(sorted(stored + given))), ())
    return ImageSavings(image, reasons, change, zeros.bytes_read)


def _total(parts: Sequence[Range]) -> int:
    return sum(end - start for start, end in parts)


def reclaimable_by_reason(savings: Sequence[ImageSavings], *, scan: str) -> Dict[str, Optional[int]]:
    """Bytes by reason; None for what was not looked at."""
    found: Dict[str, Optional[int]] = {
        reason: sum(one.reasons.get(reason, 0) for one in savings) for reason in (LEAKED, ZERO, EQUAL)
    }
    if scan == METADATA:
        found[ZERO] = found[EQUAL] = None
    free = sum(one.reasons.get(FREE_IN_FILESYSTEM, 0) for one in savings)
    return {**found, FREE_IN_FILESYSTEM: free if scan == FILESYSTEM else None}


def summary(savings: Sequence[ImageSavings], *, reclaimed: bool, scan: str) -> Dict[str, Any]:
    """The savings as results: per layer, in total and by reason, in bytes."""
    total = sum(one.reclaimable for one in savings)
    return {
        "reclaimable": total,
        "reclaimed": total if reclaimed else 0,
        "layers": [_layer(one, reclaimed) for one in savings],
        "by_reason": reclaimable_by_reason(savings, scan=scan),
    }


def _layer(one: ImageSavings, reclaimed: bool) -> Dict[str, Any]:
    return {
        "guid": one.image.guid,
        "file": one.image.file,
        "reclaimable": one.reclaimable,
        "reclaimed": one.reclaimable if reclaimed else 0,
    }

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compact: the host gets back what the guest does not use, and no view of any snapshot changes.

There is no commit: whatever part of it is done, every image is valid and every view is the same. What is not done is
found by the next run. Plain images can only get holes, whatever the strategy.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState, ImageState, refuse_converting, refuse_dirty, refuse_encrypted
from ..._change.journal import journal_end_steps, journal_step
from ..._core.errors import Unsupported
from ..._core.plan import Cleanup, CopyRanges, Plan, Step
from ..._core.ranges import joined
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR
from ..._formats.hds.extension import may_keep
from ..._formats.hds.header import HdsHeader
from ..._io.journal import APPLY, ImageBefore, Journal
from ..._io.port import Port
from .changes import Change, FreshCopy, Holes, Relocation, dropped_places, kept_runs, minds_holes, stored_bytes
from .droppable import EQUAL, METADATA, SOURCES, ZERO, ZEROS, find_droppable
from .stored_zeros import SMALLEST, ZeroScan, data_within

__all__ = (
    "COPY",
    "IN_PLACE",
    "METADATA",
    "PUNCH",
    "ZEROS",
    "ImageSavings",
    "estimate",
    "plan_compact",
    "reclaimable_by_reason",
    "summary",
)

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
        change = FreshCopy(image, header, tuple(dropped), state.location.directory, minds_holes(state))
    else:
        change = Relocation(image, header, tuple(dropped))
    reasons = {reason: len(clusters) * header.cluster_bytes for reason, clusters in found.clusters.items()}
    return ImageSavings(image, {**reasons, LEAKED: image.leaked}, change, found.bytes_read)


def _punched(port: Port, state: BundleState, image: ImageState, header: HdsHeader, scan: str) -> ImageSavings:
    """Zeros become holes wherever they are stored, even in a cluster that hides something; other clusters must be
    dropped first.
    """
    found = find_droppable(port, state, image, scan=scan)
    given = {reason: clusters for reason, clusters in found.clusters.items() if reason != ZERO}
    dropped = sorted(cluster for clusters in given.values() for cluster in clusters)
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
            reason: list(data_within(file, dropped_places(image, header, clusters), image.stat.block))
            for reason, clusters in given.items()
        }
    finally:
        file.close()
    left = sorted(part for parts in places.values() for part in parts)
    change = Holes(image, tuple(dropped), tuple(joined(sorted(stored + leaked))), tuple(joined(left)))
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
    return ImageSavings(image, {ZERO: _total(stored)}, Holes(image, (), tuple(stored), ()), zeros.bytes_read)


def _total(parts: Sequence[Tuple[int, int]]) -> int:
    return sum(end - start for start, end in parts)


def plan_compact(
    port: Port,
    state: BundleState,
    *,
    scan: str = ZEROS,
    strategy: str = IN_PLACE,
    threshold: int = 0,
    force: bool = False,
) -> Plan:
    """Give back what ``estimate`` finds, when it is at least ``threshold`` bytes (0: one cluster); else an empty plan.

    Raises Encrypted when data would have to be looked at or moved, Dirty, or Unsupported for holes in a disk whose
    owner refuses them and for a format extension that the strategy cannot keep.
    """
    if scan != METADATA:
        refuse_encrypted(state)
    if strategy == PUNCH and minds_holes(state):
        raise Unsupported(
            "ploop and some versions of Virtuozzo refuse images with holes",
            path=state.location.directory,
            found=f"a descriptor of {state.descriptor.root_name} without the habits of Parallels Desktop",
            hint="Use strategy: in_place or copy.",
        )
    refuse_converting(state)
    refuse_dirty(state, force=force)
    savings = estimate(port, state, scan=scan, strategy=strategy)
    total, read = sum(one.reclaimable for one in savings), sum(one.read for one in savings)
    facts = {"savings": tuple(savings), "reclaimable": total, "scanned": read}
    if total < (threshold or min((_smallest(state, one.image) for one in savings), default=1)):
        return Plan("compact", bytes_read=read, facts={**facts, "after": state})
    worthwhile = [one for one in savings if one.reclaimable]
    if any(one.change.moves_data for one in worthwhile):
        # Nobody has published what the cipher goes by, and it may be the place in the file.
        refuse_encrypted(state)
    for one in worthwhile:
        _refuse_extension(one)
    return _plan(port, state, worthwhile, facts)


def _smallest(state: BundleState, image: ImageState) -> int:
    return (
        image.header.cluster_bytes
        if image.header is not None
        else state.descriptor.storages[image.storage].cluster_sectors * SECTOR
    )


def _refuse_extension(one: ImageSavings) -> None:
    extension = one.image.extension
    if extension is None:
        return
    if isinstance(one.change, FreshCopy):
        raise Unsupported(
            "The image has a format extension, such as the dirty bitmaps of backup software, which a copy would lose",
            path=one.image.path,
            offset=extension.offset,
            hint="Use strategy: in_place, which keeps it.",
        )
    if not may_keep(extension):
        raise Unsupported(
            "The image has a format extension of unknown content, which may not be moved",
            path=one.image.path,
            offset=extension.offset,
        )


def _plan(port: Port, state: BundleState, savings: Sequence[ImageSavings], facts: Dict[str, Any]) -> Plan:
    directory = state.location.directory
    steps = tuple(_steps(port, state, savings))
    moves = [move for step in steps if isinstance(step, CopyRanges) for move in step.moves]
    copies = [one.change for one in savings if isinstance(one.change, FreshCopy)]
    total = sum(one.reclaimable for one in savings)
    after = replace(
        state, images={**state.images, **{(one.image.storage, one.image.guid): one.change.after() for one in savings}}
    )
    return Plan(
        "compact",
        steps,
        state.fingerprint + tuple((copy.temporary, None) for copy in copies),
        lock_directories=(directory,) if state.is_bundle else (),
        lock_files=tuple(image.path for image in state.images.values() if not image.outside),
        space=((directory, (1 << 16) + sum(_room(port, copy) for copy in copies)),),
        bytes_read=facts["scanned"] + sum(move.length for move in moves if move.source is not None),
        bytes_written=sum(move.length for move in moves),
        bytes_freed=total,
        cleanup=Cleanup(
            remove=tuple(copy.temporary for copy in copies),
            disk=directory if state.is_bundle else state.location.descriptor,
        ),
        facts={**facts, "after": after},
    )


def _room(port: Port, copy: FreshCopy) -> int:
    """Blocks that a copy needs while the old file is there."""
    if copy.dense:
        return copy.size_after
    file = port.open_read(copy.image.path)
    try:
        step = copy.header.cluster_bytes
        parts = [
            (offset, offset + count * step)
            for _cluster, count, offset in kept_runs(copy.image, copy.header, copy.dropped)
        ]
        return copy.fresh.data_start + stored_bytes(file, parts)
    finally:
        file.close()


def _steps(port: Port, state: BundleState, savings: Sequence[ImageSavings]) -> Iterator[Step]:
    """Images that are marked meanwhile come first, in the shelter of a journal; a copy shows by its name whose it
    is, and a plain image has no mark.
    """
    marked = [one for one in savings if one.image.header is not None and not isinstance(one.change, FreshCopy)]
    if marked:
        images = [(one.image, one.image.header) for one in marked]
        before = tuple(
            ImageBefore(image.path.rsplit("/", 1)[-1], image.stat.size, header.in_use)
            for image, header in images
            if header is not None
        )
        yield journal_step(state, Journal("compact", APPLY, images=before))
        for one in marked:
            yield from one.change.steps(port)
        yield from journal_end_steps(state)
    for one in savings:
        if one not in marked:
            yield from one.change.steps(port)


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

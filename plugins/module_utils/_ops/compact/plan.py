# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compact: the host gets back what the guest does not use, and no view of any snapshot changes.

There is no commit: whatever part of it is done, every image is valid and every view is the same. What is not done is
found by the next run. Plain images can only get holes, whatever the strategy.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional, Sequence, Tuple

from ..._bundle.bundle import BundleState, ImageState
from ..._bundle.guards import Touches, check_guards, minds_holes, refuse_standing
from ..._change.bundle_plan import SMALL_CHANGES, BundleChange, ChangeFacts, bundle_plan, unchanged
from ..._core.errors import Unsupported
from ..._core.plan import CopyRanges, Plan
from ..._core.records import dataclass, replace
from ..._core.units import SECTOR
from ..._io.journal import APPLY, ImageBefore, Journal
from ..._io.port import Port
from .changes import FreshCopy, stored_bytes
from .droppable import FILESYSTEM, METADATA, ZEROS
from .relocate import kept_runs
from .savings import IN_PLACE, PUNCH, ImageSavings, estimate

if TYPE_CHECKING:
    from .freed import FreedLayers


@dataclass(frozen=True)
class CompactFacts(ChangeFacts):
    """What each image gives back, and the disk after the change."""

    savings: Tuple[ImageSavings, ...]
    filesystems: Optional[Tuple[Dict[str, Any], ...]] = None

    @property
    def reclaimable(self) -> int:
        """Bytes that the host gets back."""
        return sum(one.reclaimable for one in self.savings)


def plan_compact(
    port: Port,
    state: BundleState,
    *,
    scan: str = ZEROS,
    strategy: str = IN_PLACE,
    threshold: int = 0,
    force: bool = False,
    swap: bool = False,
) -> Plan[CompactFacts]:
    """Give back what ``estimate`` finds, when it is at least ``threshold`` bytes (0: one cluster); else an empty plan.

    ``swap`` lets a scan of file systems take pages of swap, too.

    Raises Encrypted when data would have to be looked at or moved, Dirty, or Unsupported for holes in a disk whose
    owner refuses them and for a format extension that the strategy cannot keep.
    """
    if strategy == PUNCH and minds_holes(state):
        _refuse_holes(state)
    clearance = check_guards(state, Touches(data=scan != METADATA), force=force)
    freed: Optional[FreedLayers] = None
    if scan == FILESYSTEM:
        from .freed import find_freed

        freed = find_freed(port, state, swap=swap)
    savings = tuple(estimate(port, state, scan=scan, strategy=strategy, freed=freed))
    facts = CompactFacts(state, savings, None if freed is None else freed.filesystems)
    read = sum(one.read for one in facts.savings) + (0 if freed is None else freed.bytes_read)
    least = threshold or min((_smallest(state, one.image) for one in facts.savings), default=1)
    if facts.reclaimable < least:
        return replace(unchanged("compact", facts), bytes_read=read, bytes_scanned=read)
    worthwhile = [one for one in facts.savings if one.reclaimable]
    if any(one.change.moves_data for one in worthwhile):
        # Nobody has published what the cipher goes by, and it may be the place in the file.
        clearance = check_guards(state, Touches(data=True), force=force)
    if freed is not None:
        # What is free in all views of the disk may be in use in that of a clone, also in a copy that takes the name.
        refuse_standing(state, [one.image.path for one in worthwhile], force=force)
    for one in worthwhile:
        _refuse_extension(one)
    after = {(one.image.storage, one.image.guid): one.change.after() for one in worthwhile}
    facts = replace(facts, after=replace(state, images={**state.images, **after}))
    return bundle_plan(clearance, _change(port, worthwhile, read), facts)


def _refuse_holes(state: BundleState) -> None:
    raise Unsupported(
        "ploop and some versions of Virtuozzo refuse images with holes",
        path=state.location.directory,
        found=f"a descriptor of {state.descriptor.root_name} without the habits of Parallels Desktop",
        hint="Use strategy: in_place or copy.",
    )


def _smallest(state: BundleState, image: ImageState) -> int:
    if image.header is not None:
        return image.header.cluster_bytes
    return state.descriptor.storages[image.storage].cluster_sectors * SECTOR


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
    from ..._formats.hds.extension import may_keep

    if not may_keep(extension):
        raise Unsupported(
            "The image has a format extension of unknown content, which may not be moved",
            path=one.image.path,
            offset=extension.offset,
        )


def _change(port: Port, savings: Sequence[ImageSavings], scanned: int) -> BundleChange:
    """Images that are marked meanwhile come first, sheltered by a journal."""
    # A copy shows by its name whose it is, and a plain image has no mark.
    marked = [one for one in savings if one.image.header is not None and not isinstance(one.change, FreshCopy)]
    sheltered = tuple(step for one in marked for step in one.change.steps(port))
    apart = tuple(step for one in savings if one not in marked for step in one.change.steps(port))
    moves = [move for step in sheltered + apart if isinstance(step, CopyRanges) for move in step.moves]
    copies = [one.change for one in savings if isinstance(one.change, FreshCopy)]
    return BundleChange(
        "compact",
        Journal("compact", APPLY, images=tuple(_before(marked))) if marked else None,
        ends_journal=bool(marked),
        before=sheltered,
        apart=apart,
        temporaries=tuple(copy.temporary for copy in copies),
        hidden=tuple(one.image.path for one in savings if not isinstance(one.change, FreshCopy)),
        replaced=tuple(one.image.path for one in savings if isinstance(one.change, FreshCopy)),
        needed=SMALL_CHANGES + sum(_room(port, copy) for copy in copies),
        bytes_read=scanned
        + sum(move.length for move in moves if move.source is not None)
        + sum(copy.check.bytes_to_read for copy in copies if copy.check is not None),
        bytes_written=sum(move.length for move in moves),
        bytes_freed=sum(one.reclaimable for one in savings),
        bytes_scanned=scanned,
    )


def _before(marked: Sequence[ImageSavings]) -> Iterator[ImageBefore]:
    for one in marked:
        if one.image.header is not None:
            yield ImageBefore(one.image.path.rsplit("/", 1)[-1], one.image.stat.size, one.image.header.in_use)


def _room(port: Port, copy: FreshCopy) -> int:
    """Blocks that a copy needs while the old file is there."""
    if copy.dense:
        return copy.size_after
    file = port.open_read(copy.image.path)
    try:
        step, runs = copy.header.cluster_bytes, kept_runs(copy.image, copy.header, copy.dropped)
        parts = ((offset, offset + count * step) for _cluster, count, offset in runs)
        return copy.fresh.data_start + stored_bytes(file, parts)
    finally:
        file.close()

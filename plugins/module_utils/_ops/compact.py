# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Compact: the host gets back what the guest does not use, in place and without extra room.

Steps of one image, each behind a barrier: mark in use; forget droppable clusters; move the last clusters into the holes;
point the table at them; cut the file; unmark. Every state in between is a valid image with the same content: a place is
reused only when the table that named it is durably gone, and left only when the table that names its successor is durable.
There is no other commit: each prefix is as good as the whole, only longer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from .._bundle.bundle import EXPANDING, BundleState, ImageState, refuse_converting, refuse_dirty, refuse_encrypted
from .._core.errors import Unsupported
from .._core.plan import Cleanup, CopyRanges, Move, Plan, Resize, Step, Sync
from .._core.units import ceil_div
from .._formats.hds_extension import may_keep
from .._formats.hds_header import HdsHeader
from .._io.journal import APPLY, ImageBefore, Journal
from .._io.port import Port
from .image_steps import closes_images, marks_in_use, writes_entries
from .journal_steps import ends_journal, writes_journal
from .zero_clusters import find_droppable

METADATA = "metadata"
ZEROS = "zeros"


@dataclass(frozen=True)
class ImageSavings:
    """What one image can give back. ``dropped`` are cluster indexes; ``relocated`` pairs of cluster index and new offset."""

    image: ImageState
    dropped: Tuple[int, ...]
    moves: Tuple[Move, ...]
    relocated: Tuple[Tuple[int, int], ...]
    size_after: int

    @property
    def leaked(self) -> int:
        """Bytes that no entry names."""
        return self.image.leaked

    @property
    def zero(self) -> int:
        """Bytes of clusters that hold zeros and hide nothing."""
        return len(self.dropped) * self.image.header.cluster_bytes if self.image.header is not None else 0

    @property
    def reclaimable(self) -> int:
        """Bytes by which the file becomes shorter."""
        return max(0, self.image.stat.size - self.size_after)


def estimate(port: Port, state: BundleState, *, scan: str) -> Tuple[List[ImageSavings], int]:
    """What each image of our own could give back, and the bytes that were read to know it. Nothing is changed."""
    savings = []
    read = 0
    for image in state.images.values():
        if image.kind != EXPANDING or image.outside or image.header is None:
            continue
        dropped: List[int] = []
        # A preallocated disk has its zero clusters on purpose.
        if scan == ZEROS and not state.descriptor.storages[image.storage].preallocated:
            dropped, looked_at = find_droppable(port, state, image)
            read += looked_at
        savings.append(plan_image(image, image.header, dropped))
    return savings, read


def plan_image(image: ImageState, header: HdsHeader, dropped: Sequence[int]) -> ImageSavings:
    """Where the clusters of one image go when those in ``dropped`` are forgotten."""
    step = header.cluster_bytes
    gone = set(dropped)
    kept: List[Tuple[int, int]] = []
    holes: List[int] = []
    for run in image.table.runs() if image.table is not None else ():
        for index in range(run.count):
            offset = run.offset + index * step
            if run.cluster + index in gone:
                holes.append(offset)
            else:
                kept.append((offset, run.cluster + index))
    for start, end in image.unused:
        holes += range(start, end - step + 1, step)
    holes.sort()
    kept.sort()
    relocated: List[Tuple[int, int]] = []
    moves: List[Move] = []
    for hole in holes:
        if not kept or kept[-1][0] < hole:
            break
        offset, cluster = kept.pop()
        relocated.append((cluster, hole))
        # The last cluster of a disk may be cut short in the file: only what the guest sees need move.
        moves.append(Move(image.path, offset, hole, min(step, image.stat.size - offset)))
    relocated.sort()
    return ImageSavings(image, tuple(dropped), tuple(moves), tuple(relocated), _end(image, header, kept, relocated))


def _end(image: ImageState, header: HdsHeader, kept: Sequence[Tuple[int, int]], relocated: Sequence[Tuple[int, int]]) -> int:
    step = header.cluster_bytes
    ends = [header.data_start]
    ends += [header.data_start + ceil_div(end - header.data_start, step) * step for _start, end in image.pinned]
    if kept:
        ends.append(kept[-1][0] + step)
    if relocated:
        ends.append(max(offset for _cluster, offset in relocated) + step)
    # A file that ends within its last cluster is not made longer.
    return min(max(ends), image.stat.size)


def plan_compact(port: Port, state: BundleState, *, scan: str = ZEROS, threshold: int = 0, force: bool = False) -> Plan:
    """Give back what ``estimate`` finds, when it is at least ``threshold`` bytes (0: one cluster); else an empty plan.

    Raises Encrypted when data would have to be looked at, Dirty, or Unsupported for a format extension of unknown content.
    """
    if scan != METADATA:
        refuse_encrypted(state)
    refuse_converting(state)
    refuse_dirty(state, force=force)
    savings, read = estimate(port, state, scan=scan)
    total = sum(one.reclaimable for one in savings)
    facts = {"savings": tuple(savings), "reclaimable": total, "scanned": read}
    smallest = min((one.image.header.cluster_bytes for one in savings if one.image.header is not None), default=1)
    if total < (threshold or smallest):
        return Plan("compact", bytes_read=read, facts={**facts, "after": state})
    worthwhile = [one for one in savings if one.reclaimable]
    for one in worthwhile:
        if one.image.extension is not None and not may_keep(one.image.extension):
            raise Unsupported(
                "The image has a format extension of unknown content, which may not be moved", path=one.image.path, offset=one.image.extension.offset
            )
    after = _after(state, worthwhile)
    return Plan(
        "compact",
        tuple(_steps(state, worthwhile)),
        state.fingerprint,
        lock_directories=(state.location.directory,) if state.is_bundle else (),
        lock_files=tuple(image.path for image in state.images.values() if not image.outside),
        space=((state.location.directory, 1 << 16),),
        bytes_read=read + sum(move.length for one in worthwhile for move in one.moves),
        bytes_written=sum(move.length for one in worthwhile for move in one.moves),
        bytes_freed=total,
        cleanup=Cleanup(disk=state.location.directory if state.is_bundle else state.location.descriptor),
        facts={**facts, "after": after},
    )


def _steps(state: BundleState, savings: Sequence[ImageSavings]) -> Iterator[Step]:
    images = tuple(
        ImageBefore(one.image.path.rsplit("/", 1)[-1], one.image.stat.size, one.image.header.in_use) for one in savings if one.image.header is not None
    )
    yield writes_journal(state, Journal("compact", APPLY, images=images))
    for one in savings:
        yield from _image_steps(one)
    yield from ends_journal(state)


def _image_steps(one: ImageSavings) -> Iterator[Step]:
    image, header = one.image, one.image.header
    if header is None:
        return
    yield from marks_in_use([image])
    if one.dropped:
        yield from writes_entries(image.path, header, [(cluster, 0) for cluster in one.dropped])
        yield Sync(files=(image.path,))
    if one.moves:
        yield CopyRanges(image.path, one.moves)
        yield Sync(files=(image.path,))
        yield from writes_entries(image.path, header, one.relocated)
        yield Sync(files=(image.path,))
    yield Resize(image.path, one.size_after)
    yield from closes_images([image], keep_extension=True)


def _after(state: BundleState, savings: Sequence[ImageSavings]) -> BundleState:
    images: Dict[Tuple[int, str], ImageState] = dict(state.images)
    for one in savings:
        image, header = one.image, one.image.header
        if header is None:
            continue
        shorter = replace(image.stat, size=one.size_after, allocated=-1)
        closed = replace(header, in_use=0, flags=header.flags & ~1)
        images[(image.storage, image.guid)] = replace(image, stat=shorter, header=closed, table=None, used_clusters=image.used_clusters - len(one.dropped))
    return replace(state, images=images)


def summary(savings: Sequence[ImageSavings], *, reclaimed: bool, looked_at_data: bool) -> Dict[str, Any]:
    """The savings as results: per layer, in total and by reason, in bytes."""
    zero = sum(one.zero for one in savings) if looked_at_data else None
    layers = [
        {"guid": one.image.guid, "file": one.image.file, "reclaimable": one.reclaimable, "reclaimed": one.reclaimable if reclaimed else 0} for one in savings
    ]
    return {
        "reclaimable": sum(one.reclaimable for one in savings),
        "reclaimed": sum(one.reclaimable for one in savings) if reclaimed else 0,
        "layers": layers,
        "by_reason": {"leaked": sum(one.leaked for one in savings), "zero": zero, "free_in_filesystem": None},
    }

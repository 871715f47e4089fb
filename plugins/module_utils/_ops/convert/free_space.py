# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a source is not copied because it is free in the file systems of the guest, in every layer of the output."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ..._bundle.guards import is_suspended
from ..._core.extents import DATA
from ..._core.ranges import Range
from ..._core.records import dataclass
from ..._formats.image import GuestView
from ..._guest.filesystems.answer import Answer
from ..._guest.filesystems.freed_view import common_ranges, dropped_ranges
from ..._guest.filesystems.runs import Runs
from ..._guest.filesystems.scan import FreeSpace, find_free_space
from ..._guest.source import Source, open_source
from ..._io.port import Port


@dataclass(frozen=True)
class DroppedSpace:
    """The ranges dropped in each layer from the top down, and the file systems of the topmost view, as results."""

    ranges: Tuple[Runs, ...]
    filesystems: Tuple[Dict[str, Any], ...]


def find_dropped(port: Port, source: Source, depths: Sequence[int]) -> DroppedSpace:
    """Look for free space in every view that ends in one of the layers ``depths`` below the top."""
    view = open_source(port, source)
    try:
        found: List[FreeSpace] = []
        for depth in range(max(depths) + 1):
            found.append(find_free_space(view.below(depth), reason=reason_of_source(source, depth)))
        ranges = dropped_ranges(view, [space.free for space in found])
        return DroppedSpace(ranges, tuple(described(view, answer) for answer in found[0].answers))
    finally:
        view.close()


def reason_of_source(source: Source, depth: int) -> Optional[str]:
    """Why nothing is free in the view ``depth`` layers below the top: what memory holds is ahead of the disk."""
    state = source.state
    if state is None or source.guid is None:
        return None
    guid = state.tree.chain(source.guid)[depth]
    machine = None if state.surroundings is None else state.surroundings.machine
    snapshot = machine.facts.snapshots.get(guid) if machine is not None and machine.facts is not None else None
    if machine is not None and machine.is_doubtful:
        return "suspended"
    if snapshot is not None and snapshot.state != "poweroff":
        return "suspended"
    if guid == state.tree.top and is_suspended(state):
        return "suspended"
    images = (image for number in range(len(state.parts)) for image in state.chain(guid, number))
    return "unclean" if any(image.is_dirty for image in images) else None


def described(view: GuestView, answer: Answer) -> Dict[str, Any]:
    """A file system as a result. ``droppable`` are the free bytes that the source stores."""
    is_known = answer.certain and answer.type is not None
    free = answer.free.total if is_known else None
    return {
        "partition": answer.partition,
        "offset": answer.offset,
        "type": answer.type,
        "label": answer.label,
        "size": answer.size,
        "used": answer.size - free if free is not None else None,
        "free": free,
        "droppable": _length(common_ranges(answer.free, _stored(view))) if len(answer.free) else 0,
        "certain": answer.certain,
        "reason": answer.reason,
    }


def _length(ranges: Iterator[Range]) -> int:
    return sum(end - start for start, end in ranges)


def _stored(view: GuestView) -> Iterator[Range]:
    return ((extent.start, extent.end) for extent in view.extents(0, view.size) if extent.kind == DATA)

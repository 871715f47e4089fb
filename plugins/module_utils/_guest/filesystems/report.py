# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why nothing is free in a view of a bundle, whatever its file systems say; and file systems as results."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, Iterator, Optional

from ..._bundle.bundle import BundleState
from ..._bundle.guards import is_suspended
from ..._core.extents import DATA
from ..._core.ranges import Range
from ..._formats.image import GuestView
from .answer import Answer
from .freed_view import common_ranges


def doubt_of(state: BundleState, guid: str) -> Optional[str]:
    """Why nothing is free in the view at ``guid``, a key of REASONS: what memory holds is ahead of the disk."""
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
    """A file system as a result. ``droppable`` are the free bytes that the disk stores."""
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

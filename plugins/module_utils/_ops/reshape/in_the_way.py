# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which partitions reach past the new end of a disk, and how much smaller its own tools must make each."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

from ..._core.errors import DiskError
from ..._core.units import SECTOR, format_size, round_up
from ..._guest.arrangement import ALIGNMENT
from ..._guest.contents import content_of
from ..._guest.growth import Layout, candidates, read_layout
from ..._guest.partitions import read_partitions
from ..._guest.view import ComposedView
from .guest_commands import command_to_shrink


class InTheWay(NamedTuple):
    """Partitions as name, start and end in bytes, and what is to be done with each that reaches too far."""

    partitions: Tuple[Tuple[str, int, int], ...]
    advice: Tuple[str, ...] = ()


def partitions_in_the_way(view: ComposedView, size: int) -> InTheWay:
    """The partitions of a disk that is to have ``size`` bytes, and the advice for those past the end then."""
    try:
        layout = read_layout(view, view.size, sector=SECTOR)
    except DiskError:
        layout = None
    if layout is None:
        table = read_partitions(view)
        entries = (table or {}).get("entries", [])
        return InTheWay(
            tuple((f"partition {one['number']}", one["start"], one["start"] + one["size"]) for one in entries)
        )
    parts = candidates(layout)
    return InTheWay(tuple((part.label, part.start, part.end) for part in parts), tuple(_advice(view, layout, size)))


def _advice(view: ComposedView, layout: Layout, size: int) -> List[str]:
    limit = layout.gpt.end_of_partitions(size) if layout.gpt is not None else size
    return [_of_part(view, layout, number, limit) for number in _numbers(layout, limit)]


def _numbers(layout: Layout, limit: int) -> List[int]:
    past = [part for part in candidates(layout) if part.end > limit]
    return [part.number for part in sorted(past, key=lambda one: one.start)]


def _of_part(view: ComposedView, layout: Layout, number: int, limit: int) -> str:
    part = next(one for one in layout.parts if one.number == number)
    if part.start >= limit - ALIGNMENT:
        return f"move or remove {part.label}, which begins at byte {part.start}"
    less = round_up(part.end - limit, ALIGNMENT)
    command: Optional[str] = command_to_shrink(
        content_of(view, part.start, part.end),
        device=layout.device(part),
        number=number,
        size=part.end - part.start - less,
        less=less,
    )
    how = f" ({command})" if command else ""
    return f"make {part.label} at least {format_size(less)} ({less} bytes) smaller{how}"

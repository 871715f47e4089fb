# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which partitions reach past the new end of a disk, and how much smaller its own tools must make each."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, NamedTuple, Optional, Sequence, Tuple

from ..._core.errors import DiskError
from ..._core.units import SECTOR, format_size, round_up
from ..._guest.arrangement import ALIGNMENT
from ..._guest.contents import UNKNOWN, content_of
from ..._guest.growth import Layout, candidates, read_layout
from ..._guest.partitions import read_partitions
from ..._guest.tables.apm import MapEntry, read_map
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
        return _without_layout(view, size)
    parts = candidates(layout)
    return InTheWay(tuple((part.label, part.start, part.end) for part in parts), tuple(_advice(view, layout, size)))


def _without_layout(view: ComposedView, size: int) -> InTheWay:
    """A table that is only read, or none at all."""
    table = read_partitions(view)
    entries = (table or {}).get("entries", [])
    if entries:
        places = [(f"partition {one['number']}", one["start"], one["start"] + one["size"]) for one in entries]
        return InTheWay(tuple(places))
    apple = read_map(view)
    if apple:
        return _in_map(view, apple, size)
    content = content_of(view, 0, view.size)
    if content == UNKNOWN:
        return InTheWay(())
    less = round_up(view.size - size, ALIGNMENT)
    what = f"what takes the whole disk ({content})"
    return InTheWay((), (_smaller(what, content, "/dev/sdX", (None, view.size - less, less)),))


def _in_map(view: ComposedView, entries: Sequence[MapEntry], size: int) -> InTheWay:
    advice = []
    for one in entries:
        label = _label(one)
        if one.end > size and one.start >= size - ALIGNMENT:
            advice.append(f"move or remove {label}, which begins at byte {one.start}")
        elif one.end > size:
            less = round_up(one.end - size, ALIGNMENT)
            content = content_of(view, one.start, one.end)
            advice.append(_smaller(label, content, "", (one.number, one.end - one.start - less, less)))
    return InTheWay(tuple((_label(one), one.start, one.end) for one in entries), tuple(advice))


def _label(one: MapEntry) -> str:
    name = f'"{one.name}", ' if one.name else ""
    return f"partition {one.number} ({one.kind}, {name}{format_size(one.end - one.start)})"


def _smaller(label: str, content: str, device: str, how_much: Tuple[Optional[int], int, int]) -> str:
    """``how_much`` is the number of the partition, the bytes that it may have, and those that it must lose."""
    number, size, less = how_much
    command = command_to_shrink(content, device=device, number=number, size=size, less=less)
    how = f" ({command})" if command else ""
    return f"make {label} at least {format_size(less)} ({less} bytes) smaller{how}"


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
    content = content_of(view, part.start, part.end)
    return _smaller(part.label, content, layout.device(part), (number, part.end - part.start - less, less))

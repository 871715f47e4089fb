# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pictures of the page, as SVG that needs neither styles within nor a script: bars, the lanes of a tree, the
profile of a layer.

A large fleet has thousands of lanes and profiles, so each is one path in pixels, which the style stretches.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, Sequence, Tuple

from .markup import escaped
from .tree import Row

_LANE = 16
_MOST_LANES = 8
_MIDDLE = 15
_BELOW = 99
PROFILE_WIDTH = 120
"""Pixels of a profile, as it is before the style stretches it."""

PROFILE_HEIGHT = 8
_LEVELS = 4


def shares(parts: Sequence[Tuple[str, int]], whole: int, *, title: str, description: str) -> str:
    """A bar of coloured parts, each a class and a size, out of ``whole``."""
    drawn: List[str] = []
    position = 0.0
    for name, part in parts:
        width = 100.0 * part / whole if whole > 0 else 0.0
        if part > 0:
            # A part that would be too thin to be seen is drawn a little wider.
            drawn.append(f'<rect class="part-{escaped(name)}" x="{position:.1f}%" width="{max(width, 0.4):.1f}%"/>')
        position += width
    told = f"<title>{escaped(title)}: {escaped(description)}</title>"
    return f'<svg class="bar" role="img">{told}{"".join(drawn)}</svg>'


def lanes(row: Row, *, is_current: bool, width: int) -> str:
    """The part of a tree beside one row. Its lines go on below the row, where they are cut off, however high it is."""
    lane = min(row.lane, _MOST_LANES)
    lines = [f"M{_x(passing)} 0V{_BELOW}" for passing in sorted(row.passing) if passing <= _MOST_LANES]
    if row.parent_lane is not None:
        parent = min(row.parent_lane, _MOST_LANES)
        lines.append(f"M{_x(parent)} 0V{_MIDDLE}" + (f"H{_x(lane)}" if parent != lane else ""))
    if row.has_children:
        lines.append(f"M{_x(lane)} {_MIDDLE}V{_BELOW}")
    node = f'<circle{" class=now" if is_current else ""} cx="{_x(lane)}" cy="{_MIDDLE}" r="5"/>'
    drawn = f'<path d="{"".join(lines)}"/>' if lines else ""
    return f'<svg class="lanes" width="{lanes_width(width)}" aria-hidden="true">{drawn}{node}</svg>'


def lanes_width(width: int) -> int:
    """Pixels that a tree with this many lanes needs."""
    return _LANE * (min(width, _MOST_LANES + 1)) + 2


def _x(lane: int) -> int:
    return 9 + _LANE * lane


def levels_of(used: Sequence[int], capacities: Sequence[int], columns: int) -> List[int]:
    """How much of each of ``columns`` equal parts of the guest disk a layer holds: 0 for nothing, 4 for all or nearly
    so. ``used`` and ``capacities`` are clusters in the stretches of a map.
    """
    count = len(used)
    if not count:
        return []
    columns = min(columns, PROFILE_WIDTH)
    borders = [number * count // columns for number in range(columns + 1)]
    # A column of a map with few stretches is a part of one.
    parts = [(first, max(first + 1, end)) for first, end in zip(borders, borders[1:])]
    return [_level(sum(used[first:end]), sum(capacities[first:end])) for first, end in parts]


def _level(held: int, capacity: int) -> int:
    if held <= 0:
        return 0
    share = held / max(1, capacity)
    return 1 if share < 0.25 else 2 if share < 0.6 else 3 if share < 0.95 else _LEVELS


def profile(levels: Sequence[int]) -> str:
    """The outline of a layer over the guest disk from left to right, as the data of a path: the higher, the more of
    that part of the disk it holds.
    """
    if not any(levels):
        return ""
    step, height = PROFILE_WIDTH // len(levels), PROFILE_HEIGHT // _LEVELS
    drawn: List[str] = []
    place = level = 0
    for number, one in enumerate([*levels, 0]):
        if one == level:
            continue
        start = number * step
        drawn.append(f"h{start - place}" if drawn else f"M{start} {PROFILE_HEIGHT}")
        drawn.append(f"v{(level - one) * height}")
        place, level = start, one
    return "".join(drawn) + "z"

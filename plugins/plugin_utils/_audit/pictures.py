# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pictures of the page, as SVG that needs neither styles within nor a script: bars, the lanes of a tree, the map
of a layer.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import List, Sequence, Tuple

from .markup import element, escaped
from .tree import Row

_LANE = 16
_MOST_LANES = 8
_STRIP_HEIGHT = 10
_LEVELS = 4


def shares(parts: Sequence[Tuple[str, int]], whole: int, *, title: str, description: str) -> str:
    """A bar of coloured parts, each a class and a size, out of ``whole``."""
    drawn: List[str] = []
    position = 0.0
    for name, part in parts:
        width = 100.0 * part / whole if whole > 0 else 0.0
        if part > 0:
            # A part that would be too thin to be seen is drawn a little wider.
            drawn.append(
                element(
                    "rect",
                    "",
                    class_=f"part-{name}",
                    x=f"{position:.2f}%",
                    width=f"{max(width, 0.4):.2f}%",
                    height="100%",
                )
            )
        position += width
    return _picture("bar", f"<rect class='track' width='100%' height='100%'/>{''.join(drawn)}", title, description)


def lanes(row: Row, *, is_current: bool, width: int) -> str:
    """The part of a tree beside one row.

    Heights are shares of the row, so that lines meet however high the rows are.
    """
    lane = min(row.lane, _MOST_LANES)
    lines = [_line(passing, 0, passing, 100) for passing in sorted(row.passing) if passing <= _MOST_LANES]
    if row.parent_lane is not None:
        parent = min(row.parent_lane, _MOST_LANES)
        lines.append(_line(parent, 0, parent, 50))
        lines += [_line(parent, 50, lane, 50)] if parent != lane else []
    if row.has_children:
        lines.append(_line(lane, 50, lane, 100))
    node = f'<circle class="{"node current" if is_current else "node"}" cx="{_x(lane)}" cy="50%" r="5"/>'
    return (
        f'<svg class="lanes" width="{lanes_width(width)}" height="100%" aria-hidden="true" focusable="false">'
        f"{''.join(lines)}{node}</svg>"
    )


def lanes_width(width: int) -> int:
    """Pixels that a tree with this many lanes needs."""
    return _LANE * (min(width, _MOST_LANES + 1)) + 2


def _x(lane: int) -> int:
    return 9 + _LANE * lane


def _line(x1: int, y1: int, x2: int, y2: int) -> str:
    return f'<line x1="{_x(x1)}" y1="{y1}%" x2="{_x(x2)}" y2="{y2}%"/>'


def strip(used: Sequence[int], capacities: Sequence[int], *, title: str, description: str) -> str:
    """The map of one layer: the guest disk from left to right, the stronger the colour, the more of a stretch the
    layer holds.
    """
    levels = [_level(held, capacity) for held, capacity in zip(used, capacities)]
    paths = []
    for level in range(1, _LEVELS + 1):
        path = "".join(f"M{start} 0h{end - start}v{_STRIP_HEIGHT}H{start}z" for start, end in _runs(levels, level))
        if path:
            paths.append(f'<path class="l{level}" d="{path}"/>')
    box = f"0 0 {max(1, len(levels))} {_STRIP_HEIGHT}"
    return _picture("strip", "".join(paths), title, description, f' viewBox="{box}" preserveAspectRatio="none"')


def _level(held: int, capacity: int) -> int:
    """0 for nothing, 4 for what is full or nearly so."""
    if held <= 0:
        return 0
    share = held / max(1, capacity)
    return 1 if share < 0.25 else 2 if share < 0.6 else 3 if share < 0.95 else _LEVELS


def _runs(levels: Sequence[int], level: int) -> List[Tuple[int, int]]:
    """Where this level begins and ends."""
    runs: List[Tuple[int, int]] = []
    for index, one in enumerate(levels):
        if one != level:
            continue
        if runs and runs[-1][1] == index:
            runs[-1] = (runs[-1][0], index + 1)
        else:
            runs.append((index, index + 1))
    return runs


def _picture(name: str, content: str, title: str, description: str, more: str = "") -> str:
    told = f"<title>{escaped(title)}</title><desc>{escaped(description)}</desc>"
    return f'<svg class="{name}" role="img" focusable="false"{more}>{told}{content}</svg>'

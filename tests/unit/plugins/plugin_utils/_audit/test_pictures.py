# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List

import pytest

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.pictures import (
    PROFILE_WIDTH,
    lanes,
    levels_of,
    profile,
    shares,
)
from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.tree import rows_of


def drawn(path: str) -> List[int]:
    """The heights, 0 to 4, of all parts of a profile that is drawn in 120 of them."""
    heights = [0] * PROFILE_WIDTH
    place, height = 0, 0
    for word in path.rstrip("z").replace("h", " h").replace("v", " v").replace("M", " M").split():
        if word[0] == "M":
            place = int(word[1:])
        elif word[0] == "v":
            height -= int(word[1:]) // 2
        elif word[0] == "h":
            heights[place : place + int(word[1:])] = [height] * int(word[1:])
            place += int(word[1:])
    return heights


def test_levels_are_shares_of_what_a_part_could_hold() -> None:
    assert levels_of([0, 1, 100, 59, 60, 94, 95], [100] * 7, 7) == [0, 1, 4, 2, 3, 3, 4]
    assert levels_of([100, 0, 0, 0], [100] * 4, 2) == [2, 0]
    assert levels_of([], [], 12) == []


def test_a_map_with_few_stretches_is_drawn_as_wide_as_others() -> None:
    assert levels_of([0, 9], [9, 9], 12) == [0] * 6 + [4] * 6


@pytest.mark.parametrize("columns", [120, 60, 24, 12])
def test_a_profile_shows_the_levels(columns: int) -> None:
    levels = [number * number % 5 for number in range(columns)]
    step = PROFILE_WIDTH // columns
    assert drawn(profile(levels).replace(" 8", "")) == [level for level in levels for _pixel in range(step)]


def test_a_profile_of_nothing_is_no_path() -> None:
    assert profile([0] * 12) == profile([]) == ""
    assert profile([0, 0, 4, 4]) == "M60 8v-8h60v8z"


def test_a_part_too_thin_to_be_seen_is_drawn_wider_and_none_is_not_drawn() -> None:
    drawn = shares([("used", 1), ("merge", 0), ("zero", 999)], 1000, title="t", description="d")
    assert 'width="0.4%"' in drawn and "part-merge" not in drawn
    assert 'x="0.1%"' in drawn and "<title>t: d</title>" in drawn


def test_lanes_lead_from_the_parent_to_the_children_and_past_others() -> None:
    rows = {row.guid: row for row in rows_of({"root": None, "side": "root", "top": "root"}, "top")}
    assert '<path d="M9 15V99"/>' in lanes(rows["root"], is_current=False, width=2)
    assert '<path d="M9 0V99M9 0V15H25"/>' in lanes(rows["side"], is_current=False, width=2)
    assert '<path d="M9 0V15"/><circle class=now' in lanes(rows["top"], is_current=True, width=2)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.tree import rows_of


def test_a_chain_keeps_its_lane_and_branches_leave_it() -> None:
    parents = {"root": None, "a": "root", "b": "root", "top": "a", "c": "b", "d": "b", "other": "lost"}
    rows = {row.guid: row for row in rows_of(parents, "top")}
    assert [row.guid for row in rows_of(parents, "top")] == ["root", "b", "c", "d", "a", "top", "other"]
    assert {guid: row.lane for guid, row in rows.items()} == {
        "root": 0,
        "a": 0,
        "top": 0,
        "b": 1,
        "c": 2,
        "d": 1,
        "other": 0,
    }
    assert (rows["b"].parent_lane, rows["b"].passing, rows["c"].passing, rows["d"].passing, rows["top"].passing) == (
        0,
        {0},
        {0, 1},
        {0},
        frozenset(),
    )
    assert (rows["root"].has_children, rows["top"].has_children, rows["other"].parent_lane) == (True, False, None)


def test_a_long_chain_and_a_loop_end() -> None:
    chain = {str(number): str(number - 1) if number else None for number in range(5000)}
    assert len(rows_of(chain, "4999")) == 5000
    assert rows_of({"a": "b", "b": "a"}, "a") == []
    assert [row.guid for row in rows_of({"a": "a"}, "a")] == ["a"]

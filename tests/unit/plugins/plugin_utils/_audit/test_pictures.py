# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.pictures import shares, strip


def test_a_map_joins_stretches_of_one_level() -> None:
    drawn = strip([0, 1, 100, 100, 50, 0, 97], [100] * 7, title="t", description="d")
    assert '<path class="l1" d="M1 0h1v10H1z"/>' in drawn
    assert '<path class="l2" d="M4 0h1v10H4z"/>' in drawn
    assert '<path class="l4" d="M2 0h2v10H2zM6 0h1v10H6z"/>' in drawn


def test_a_part_too_thin_to_be_seen_is_drawn_wider_and_none_is_not_drawn() -> None:
    drawn = shares([("used", 1), ("merge", 0), ("zero", 999)], 1000, title="t", description="d")
    assert 'width="0.40%"' in drawn and "part-merge" not in drawn
    assert 'x="0.10%"' in drawn

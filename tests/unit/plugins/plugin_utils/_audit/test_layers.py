# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.layers import COLUMNS, fitting_columns, layers_of
from ansible_collections.vdisk.parallels.tests.support.reports import disk, large_fleet, mapped, snapshot


def reported(**facts: Any) -> Dict[str, Any]:
    """A disk with the one key of a report that the tree of layers needs."""
    return {**disk("/a.hdd", **facts), "orphan_layers": 0}


def branched() -> Dict[str, Any]:
    """A root with two children; the guest stands on the second one."""
    maps = mapped(["{root}", "{side}", "{top}"], [1, 2])
    maps["layers"][2]["parent"] = "{root}"
    return reported(
        snapshots=[snapshot("{root}", name="clean", vm_snapshot=True), snapshot("{side}", parent="{root}")], map=maps
    )


def test_layers_are_told_by_name_or_else_by_guid_with_marks_and_dates() -> None:
    shots = [
        snapshot("{a}", name="clean & new", taken="2026-01-31 10:20:30", description="before tests", vm_snapshot=True),
        snapshot("{b}", parent="{a}"),
    ]
    told = layers_of(reported(snapshots=shots), 12)
    assert "<bdi>clean &amp; new</bdi> <small>2026-01-31 10:20, before tests</small>" in told
    assert "<code>{b}</code> <em>orphan</em>" in told
    assert "<bdi>current state</bdi>" in told


def test_nobody_is_called_an_orphan_where_nobody_can_tell() -> None:
    facts = {**disk("/a.hdd", snapshots=[snapshot("{a}")]), "orphan_layers": None}
    assert "orphan" not in layers_of(facts, 12)


def test_a_chain_needs_no_picture_of_its_tree_and_a_branch_says_where_it_begins() -> None:
    shots = [snapshot("{a}", current=False), snapshot("{b}", parent="{a}")]
    chain = layers_of(reported(snapshots=shots), 12)
    assert 'class="layers chain"' in chain and "<svg" not in chain and "<small>on" not in chain
    tree = layers_of(branched(), 12)
    assert 'class="layers"' in tree and tree.count("<circle") == 3
    assert "<bdi>current state</bdi> <em>outside</em> <small>on <bdi>clean</bdi></small>" in tree


def test_maps_say_in_words_what_they_show() -> None:
    told = layers_of(branched(), 12).replace("\N{NO-BREAK SPACE}", " ")
    assert told.count("<title>2 of 2 parts</title>") == 3
    assert "they hold of the guest disk" in told and "they hold" not in layers_of(reported(), 12)


def test_a_disk_of_very_many_layers_is_cut_off() -> None:
    shots = [snapshot(f"{{{number}}}", parent=f"{{{number - 1}}}" if number else None) for number in range(250)]
    told = layers_of(reported(snapshots=shots), 12)
    assert told.count("<li>") == 200 and "And 51 more layers" in told


def test_profiles_are_as_fine_as_there_is_room() -> None:
    few: List[Dict[str, Any]] = [branched()]
    assert fitting_columns(few) == COLUMNS[0]
    many = [one for host in large_fleet()["hosts"] for one in host["disks"]]
    assert fitting_columns(many[:60]) in COLUMNS[1:-1]
    assert fitting_columns(many * 2) == COLUMNS[-1]


@pytest.mark.parametrize("columns", COLUMNS)
def test_columns_divide_the_width(columns: int) -> None:
    assert COLUMNS[0] % columns == 0

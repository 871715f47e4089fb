# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
from array import array
from typing import List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import bat_order
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat import RunTable
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat_order import in_file_order


def table_of(entries: List[int]) -> RunTable:
    count = len(entries)
    ones = array("I", [1]) * count
    return RunTable(512, 512, array("I", range(count)), ones, array("I", entries), count, 0)


@pytest.mark.parametrize("few", [0, 1 << 16])
@pytest.mark.parametrize("highest", [3, 70_000, (1 << 32) - 1])
def test_runs_are_in_the_order_of_their_entries_and_the_guest_decides_between_equals(
    monkeypatch: pytest.MonkeyPatch, few: int, highest: int
) -> None:
    monkeypatch.setattr(bat_order, "_FEW_RUNS", few)
    drawn = random.Random(highest)
    for least in (0, highest // 2, highest):
        entries = [drawn.randrange(highest + 1) for _number in range(300)]
        wanted = sorted(range(300), key=lambda index: (max(entries[index], least), index))
        assert list(in_file_order(table_of(entries), least)) == wanted
    assert list(in_file_order(table_of([]))) == []

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, NamedTuple

import pytest
from hypothesis import given

from ansible_collections.vdisk.parallels.plugins.module_utils._core.pairs import paired
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._core.test_ranges import (
    Range,
    covered,
    disjoint,
    numbers,
)


class Item(NamedTuple):
    start: int
    end: int
    name: int


@given(disjoint(), disjoint())
def test_items_are_paired_where_both_are(one: List[Range], other: List[Range]) -> None:
    left = [Item(start, end, number) for number, (start, end) in enumerate(one)]
    right = [Item(start, end, -number) for number, (start, end) in enumerate(other)]
    found = list(paired(iter(left), iter(right)))
    assert all(start < end for start, end, _a, _b in found)
    assert {(number, a.name, b.name) for start, end, a, b in found for number in range(start, end)} == {
        (number, a.name, b.name)
        for a in left
        for b in right
        for number in range(max(a.start, b.start), min(a.end, b.end))
    }
    assert numbers((start, end) for start, end, _a, _b in found) == sorted(covered(one) & covered(other))


@pytest.mark.parametrize("one, other", [([], [Item(0, 1, 0)]), ([Item(0, 1, 0)], []), ([], [])])
def test_nothing_is_paired_with_nothing(one: List[Item], other: List[Item]) -> None:
    assert list(paired(one, other)) == []

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sets of clusters do what sets do."""

from __future__ import annotations

from typing import Iterable, Set, Tuple

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.clusters import Clusters, union, without

NUMBERS = st.sets(st.integers(0, 30))


def clusters(numbers: Set[int]) -> Clusters:
    return Clusters((number, number + 1) for number in sorted(numbers))


def numbers(ranges: Iterable[Tuple[int, int]]) -> list[int]:
    return [number for first, end in ranges for number in range(first, end)]


@given(NUMBERS, st.integers(0, 31), st.integers(0, 31))
def test_they_hold_what_was_added_as_few_ranges(held: Set[int], one: int, other: int) -> None:
    made, (first, end) = clusters(held), sorted((one, other))
    assert numbers(made.ranges()) == sorted(held)
    assert (len(made), bool(made)) == (len(held), bool(held))
    assert len(list(made.ranges())) == len([number for number in held if number - 1 not in held])
    assert numbers(made.within(first, end)) == [number for number in range(first, end) if number in held]
    assert numbers(made.missing(first, end)) == [number for number in range(first, end) if number not in held]


@given(st.lists(NUMBERS, max_size=4))
def test_a_union_has_what_any_has(sets: list[Set[int]]) -> None:
    assert numbers(union(*map(clusters, sets)).ranges()) == sorted(set().union(*sets))


@given(NUMBERS, NUMBERS)
def test_a_difference_has_what_only_the_first_has(one: Set[int], other: Set[int]) -> None:
    assert numbers(without(clusters(one), clusters(other)).ranges()) == sorted(one - other)


def test_ranges_may_overlap_and_touch() -> None:
    assert list(Clusters([(0, 4), (1, 2), (3, 6), (6, 7), (9, 10)]).ranges()) == [(0, 7), (9, 10)]

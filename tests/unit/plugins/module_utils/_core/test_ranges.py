# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Iterable, List, Optional, Set, Tuple

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.ranges import (
    clipped,
    complement,
    joined,
    rounded,
)

Range = Tuple[int, int]


def numbers(ranges: Iterable[Range]) -> List[int]:
    return [number for start, end in ranges for number in range(start, end)]


def covered(ranges: Iterable[Range]) -> Set[int]:
    return set(numbers(ranges))


some = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)).map(lambda pair: (pair[0], sum(pair)))).map(sorted)


@st.composite
def disjoint(draw: st.DrawFn) -> List[Range]:
    """Ascending, not empty, of which some touch."""
    found, position = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)))):
        found.append((position + gap, position + gap + length))
        position += gap + length
    return found


@given(some)
def test_joined_ranges_cover_the_same_and_do_not_touch(ranges: List[Range]) -> None:
    found = list(joined(ranges))
    assert covered(found) == covered(ranges)
    assert all(start < end for start, end in found)
    assert all(one[1] < other[0] for one, other in zip(found, found[1:]))


@given(disjoint(), st.integers(0, 12))
def test_ranges_are_joined_only_as_far_as_is_wanted(ranges: List[Range], longest: int) -> None:
    found = list(joined(ranges, longest))
    assert numbers(found) == numbers(ranges)
    assert all(end - start <= longest or (start, end) in ranges for start, end in found)
    # Each takes in as many as it can.
    assert all(
        one[1] < other[0] or longest < _next_end(ranges, other[0]) - one[0] for one, other in zip(found, found[1:])
    )


def _next_end(ranges: List[Range], start: int) -> int:
    return next(end for begin, end in ranges if begin == start)


@given(some, st.integers(1, 8), st.none() | st.integers(0, 70))
def test_rounded_ranges_cover_the_steps_that_are_touched(ranges: List[Range], step: int, end: Optional[int]) -> None:
    touched = {number // step for number in numbers(ranges)}
    wanted = covered((number * step, (number + 1) * step) for number in touched)
    found = list(rounded(ranges, step, end))
    assert covered(found) == {number for number in wanted if end is None or number < end}
    assert all(one[1] < other[0] for one, other in zip(found, found[1:]))


@given(some, st.integers(0, 70), st.integers(0, 70))
def test_the_complement_is_what_is_left(ranges: List[Range], start: int, end: int) -> None:
    found = list(complement(iter(ranges), start, end))
    assert numbers(found) == sorted(set(range(start, end)) - covered(ranges))
    assert all(one[1] < other[0] for one, other in zip(found, found[1:]))


def test_no_more_ranges_are_asked_for_than_matter() -> None:
    asked = iter([(0, 2), (5, 6), (9, 12), (14, 15), (20, 21)])
    assert list(complement(asked, 1, 10)) == [(2, 5), (6, 9)]
    assert list(asked) == [(20, 21)]


@given(disjoint(), st.integers(0, 70), st.integers(0, 70))
def test_clipped_ranges_are_the_parts_within(ranges: List[Range], start: int, end: int) -> None:
    wanted = [(max(low, start), min(high, end)) for low, high in ranges]
    assert clipped(ranges, start, end) == [(low, high) for low, high in wanted if low < high]

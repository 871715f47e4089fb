# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Set, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.runs import Runs

STEPS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=60)


def ranges_of(steps: List[Tuple[int, int]]) -> List[Tuple[int, int]]:
    position, found = 0, []
    for gap, length in steps:
        found.append((position + gap, position + gap + length))
        position += gap + length
    return found


def numbers(ranges) -> Set[int]:
    return {number for start, end in ranges for number in range(start, end)}


@given(STEPS, st.integers(0, 300), st.integers(0, 300))
def test_runs_hold_what_was_added(steps, start: int, end: int) -> None:
    given_ranges = ranges_of(steps)
    runs = Runs(given_ranges)
    everything = numbers(given_ranges)
    assert numbers(runs) == everything and runs.total == len(everything)
    assert all(first[1] < second[0] for first, second in zip(list(runs), list(runs)[1:]))
    assert numbers(runs.within(start, end)) == {number for number in everything if start <= number < end}


@given(STEPS, st.integers(1, 6))
def test_too_many_runs_become_fewer_but_never_more_bytes(steps, most: int) -> None:
    given_ranges = ranges_of(steps)
    runs = Runs(given_ranges, most=most)
    assert numbers(runs) <= numbers(given_ranges) and runs.total == len(numbers(given_ranges))
    assert len(runs) <= most + 1


def test_the_longest_runs_are_kept() -> None:
    runs = Runs(((100 * n, 100 * n + (50 if n % 10 == 0 else 1)) for n in range(100)), most=20)
    assert {(1000 * n, 1000 * n + 50) for n in range(10)} <= set(runs)


def test_runs_ascend() -> None:
    with pytest.raises(ValueError, match="begins before"):
        Runs([(10, 20), (15, 30)])
    assert Runs([(1, 2)]) == Runs([(1, 2), (3, 3)]) != Runs([(1, 3)])

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The laws of extents. A plain list with one letter per byte is the model."""

from __future__ import annotations

from typing import List, Optional, Sequence

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import (
    ABSENT,
    DATA,
    ZERO,
    Extent,
    coalesce,
    overlay,
    overlay_all,
    shifted,
    zero_absent,
)

KINDS = st.sampled_from([DATA, ZERO, ABSENT])
START, LENGTH = 100, 40


@st.composite
def layers(draw: st.DrawFn, index: int = 0) -> List[Extent]:
    """Extents of one layer, with neighbours that could be joined and empty ones."""
    cuts = sorted(draw(st.lists(st.integers(0, LENGTH), max_size=8)))
    edges = [0, *cuts, LENGTH]
    return [Extent(START + low, high - low, draw(KINDS), index) for low, high in zip(edges, edges[1:])]


def chains(most: int = 5) -> st.SearchStrategy[List[List[Extent]]]:
    return st.integers(1, most).flatmap(lambda depth: st.tuples(*(layers(index) for index in range(depth)))).map(list)


def bytewise(extents: Sequence[Extent]) -> List[Optional[tuple]]:
    """For each byte what answers; which layer is absent does not matter."""
    return [
        None if extent.kind == ABSENT else (extent.kind, extent.layer)
        for extent in extents
        for _byte in range(extent.length)
    ]


def check_form(extents: Sequence[Extent]) -> None:
    """Ascending, gap-free, exactly the range, nothing empty, nothing that could be joined."""
    assert extents[0].start == START
    assert extents[-1].end == START + LENGTH
    for one, other in zip(extents, extents[1:]):
        assert one.end == other.start
        assert (one.kind, one.layer) != (other.kind, other.layer)
    assert all(extent.length > 0 for extent in extents)


@given(layers())
def test_joining_neighbours_keeps_every_byte_and_is_done_once(layer: List[Extent]) -> None:
    joined = list(coalesce(layer))
    check_form(joined)
    assert [(e.kind, e.layer) for e in joined for _byte in range(e.length)] == [
        (e.kind, e.layer) for e in layer for _byte in range(e.length)
    ]
    assert list(coalesce(joined)) == joined


def test_joining_nothing_gives_nothing() -> None:
    assert list(coalesce([])) == []
    assert list(coalesce([Extent(5, 0, DATA)])) == []


def test_neighbours_of_different_layers_stay_apart() -> None:
    apart = [Extent(0, 5, DATA, 0), Extent(5, 5, DATA, 1), Extent(10, 5, ZERO, 1)]
    assert list(coalesce(apart)) == apart


@given(layers(0), layers(1))
def test_an_overlay_shows_the_lower_layer_only_where_the_upper_is_absent(
    upper: List[Extent], lower: List[Extent]
) -> None:
    result = list(overlay(upper, lower))
    check_form(result)
    assert bytewise(result) == [
        above if above is not None else below for above, below in zip(bytewise(upper), bytewise(lower))
    ]


@given(layers(0), layers(1), layers(2))
def test_overlays_are_associative(a: List[Extent], b: List[Extent], c: List[Extent]) -> None:
    left = list(overlay(list(overlay(a, b)), c))
    right = list(overlay(a, list(overlay(b, c))))
    assert bytewise(left) == bytewise(right)


@given(chains())
def test_a_balanced_fold_is_the_fold_from_the_left(chain: List[List[Extent]]) -> None:
    expected = list(coalesce(chain[0]))
    for layer in chain[1:]:
        expected = list(overlay(expected, layer))
    result = list(overlay_all(chain))
    check_form(result)
    assert bytewise(result) == bytewise(expected)


@given(chains())
def test_folding_takes_iterators_that_run_only_once(chain: List[List[Extent]]) -> None:
    assert list(overlay_all([iter(layer) for layer in chain])) == list(overlay_all(chain))


@given(chains())
def test_grounded_extents_are_never_absent_and_otherwise_the_same(chain: List[List[Extent]]) -> None:
    folded = list(overlay_all(chain))
    result = list(zero_absent(folded))
    check_form(result)
    assert all(extent.kind != ABSENT for extent in result)
    assert bytewise(result) == [byte if byte is not None else (ZERO, 0) for byte in bytewise(folded)]
    assert list(zero_absent(result)) == result


@given(layers(), st.integers(-100, 1 << 60))
def test_shifting_moves_all_and_back(layer: List[Extent], by: int) -> None:
    moved = list(shifted(layer, by))
    assert [(e.start - by, e.length, e.kind, e.layer) for e in moved] == [tuple(e) for e in layer]
    assert list(shifted(moved, -by)) == layer


def test_a_lower_layer_that_ends_early_leaves_absence() -> None:
    upper = [Extent(0, 10, ABSENT, 0)]
    assert bytewise(list(overlay(upper, [Extent(0, 4, DATA, 1)]))) == [(DATA, 1)] * 4 + [None] * 6


def test_a_deep_chain_is_folded_without_deep_recursion() -> None:
    chain = [
        [Extent(0, index, ABSENT, index), Extent(index, 1, DATA, index), Extent(index + 1, 4999 - index, ABSENT, index)]
        for index in range(5000)
    ]
    assert [extent.layer for extent in overlay_all(chain)] == list(range(5000))

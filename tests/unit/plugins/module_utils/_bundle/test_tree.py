# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The snapshot tree."""

from __future__ import annotations

import time
from typing import List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor import Shot
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.tree import (
    MAX_DEPTH,
    SnapshotTree,
    build_tree,
    resolve,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, NoSuchSnapshot, Unsupported

PATH = "/disk.hdd/DiskDescriptor.xml"


def guid(number: int) -> str:
    return f"{{aaaaaaaa-0000-4000-8000-{number:012d}}}"


def tree_of(*shots: Shot, top: Optional[str] = None) -> SnapshotTree:
    return build_tree(shots, declared_top=top, path=PATH)


@pytest.fixture(name="branched")
def _branched() -> SnapshotTree:
    """1 - 2 - TOP, with 3 - 4 on 1 beside them."""
    return tree_of(
        Shot(guids.TOP, guid(2)),
        Shot(guid(2), guid(1)),
        Shot(guid(1), guids.NONE),
        Shot(guid(3), guid(1)),
        Shot(guid(4), guid(3)),
    )


def test_a_chain_runs_from_a_snapshot_to_its_root(branched: SnapshotTree) -> None:
    assert branched.chain(guids.TOP) == (guids.TOP, guid(2), guid(1)) == branched.current_chain
    assert branched.chain(guid(4)) == (guid(4), guid(3), guid(1))
    assert branched.chain(guid(1)) == (guid(1),)


def test_children_and_descendants_are_those_above(branched: SnapshotTree) -> None:
    assert branched.children(guid(1)) == (guid(2), guid(3))
    assert branched.children(guids.TOP) == ()
    assert branched.descendants(guid(1)) == (guid(2), guids.TOP, guid(3), guid(4))
    assert branched.descendants(guid(4)) == ()


def test_depth_counts_the_layers_of_a_chain(branched: SnapshotTree) -> None:
    assert [branched.depth(one) for one in (guid(1), guid(2), guids.TOP, guid(4))] == [1, 2, 3, 3]


def test_shots_keep_the_order_of_the_descriptor(branched: SnapshotTree) -> None:
    assert list(branched.shots) == [guids.TOP, guid(2), guid(1), guid(3), guid(4)]


def test_a_declared_top_wins_over_the_predefined_one() -> None:
    shots = (Shot(guids.TOP, guids.NONE), Shot(guid(1), guids.TOP))
    assert tree_of(*shots, top=guid(1)).top == guid(1)
    assert tree_of(*shots).top == guids.TOP


@pytest.mark.parametrize(
    ("shots", "top"),
    [
        ([Shot(guid(1), guids.NONE)], None),
        ([Shot(guids.TOP, guids.NONE)], guid(1)),
        ([Shot(guids.TOP, guids.NONE), Shot(guids.BACKUP, guids.TOP)], guids.BACKUP),
        ([Shot(guids.TOP, guids.NONE), Shot(guids.TOP, guids.NONE)], None),
        ([Shot(guids.NONE, guids.NONE), Shot(guids.TOP, guids.NONE)], None),
        ([Shot(guids.TOP, guid(9))], None),
        ([Shot(guids.TOP, guids.TOP)], None),
        ([Shot(guids.TOP, guids.NONE), Shot(guid(1), guid(2)), Shot(guid(2), guid(1))], None),
        ([Shot(guids.TOP, guid(1)), Shot(guid(1), guid(2)), Shot(guid(2), guids.TOP)], None),
        ([], None),
    ],
    ids=[
        "no top",
        "declared top missing",
        "backup as top",
        "twice",
        "null guid",
        "missing parent",
        "own parent",
        "loop aside",
        "loop",
        "nothing",
    ],
)
def test_a_tree_that_contradicts_itself_is_refused(shots: List[Shot], top: Optional[str]) -> None:
    with pytest.raises(Damaged) as caught:
        build_tree(shots, declared_top=top, path=PATH)
    assert caught.value.path == PATH


def chain_of(length: int) -> List[Shot]:
    line = [guids.TOP] + [guid(number) for number in range(length - 1)] + [guids.NONE]
    return [Shot(one, parent) for one, parent in zip(line, line[1:])]


def test_the_longest_chain_is_accepted_and_a_longer_one_is_not() -> None:
    assert tree_of(*chain_of(MAX_DEPTH)).depth(guids.TOP) == MAX_DEPTH
    with pytest.raises(Unsupported):
        tree_of(*chain_of(MAX_DEPTH + 1))


@pytest.mark.parametrize("shape", ["star", "chain", "loop"])
def test_a_hundred_thousand_shots_take_a_moment(shape: str) -> None:
    count = 100_000
    shots = [Shot(guids.TOP, guids.NONE)]
    if shape == "star":
        shots += [Shot(guid(number), guids.TOP) for number in range(count)]
    elif shape == "chain":
        shots = chain_of(count)
    else:
        shots += [Shot(guid(number), guid((number + 1) % count)) for number in range(count)]
    started = time.process_time()
    if shape == "star":
        assert len(tree_of(*shots).descendants(guids.TOP)) == count
    else:
        with pytest.raises((Damaged, Unsupported)):
            tree_of(*shots)
    assert time.process_time() - started < 5


@given(st.lists(st.integers(0, 30), max_size=30), st.randoms(use_true_random=False))
def test_chains_children_and_depths_agree_in_any_forest(parents: List[int], order: object) -> None:
    line = [guids.TOP] + [guid(number) for number in range(len(parents))]
    shots = [Shot(guids.TOP, guids.NONE)]
    for number, parent in enumerate(parents):
        shots.append(Shot(line[number + 1], guids.NONE if parent > number else line[parent]))
    order.shuffle(shots)  # type: ignore[attr-defined]
    tree = tree_of(*shots)
    for one in tree.shots:
        assert len(tree.chain(one)) == tree.depth(one)
        assert {other for other in tree.shots if one in tree.chain(other)[1:]} == set(tree.descendants(one))
        assert all(tree.shots[child].parent == one for child in tree.children(one))


@pytest.mark.parametrize("wanted", [guid(2), guid(2).upper(), guid(2)[1:-1], f" {guid(2)} ", "before update"])
def test_a_snapshot_is_found_by_any_spelling_of_its_guid_and_by_name(branched: SnapshotTree, wanted: str) -> None:
    assert resolve(branched, wanted, names={guid(2): "before update", guid(9): "gone"}, path=PATH) == guid(2)


def test_a_name_that_looks_like_a_guid_is_found() -> None:
    tree = tree_of(Shot(guids.TOP, guids.NONE))
    assert resolve(tree, guid(5), names={guids.TOP: guid(5)}, path=PATH) == guids.TOP


@pytest.mark.parametrize("wanted", ["gone", "twice", guid(77), "", "BEFORE"])
def test_an_unknown_or_ambiguous_snapshot_is_refused_with_the_known_ones(branched: SnapshotTree, wanted: str) -> None:
    names = {guid(2): "twice", guid(3): "twice", guid(4): "before", guid(9): "gone"}
    with pytest.raises(NoSuchSnapshot) as caught:
        resolve(branched, wanted, names=names, path=PATH)
    assert guid(2) in str(caught.value) and guid(3) in str(caught.value)

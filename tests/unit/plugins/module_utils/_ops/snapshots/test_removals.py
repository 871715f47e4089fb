# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshots a request removes, which requests are refused, and which layers become one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, HasSnapshots
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import (
    choose_deletion,
    choose_removals,
    groups_of,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import build_hds

G = [guid_of(number) for number in range(10)]
BACKUP = "{704718e1-2314-44c8-9087-d78ed36b0f4e}"
PARENTS = {G[1]: NONE, G[2]: G[1], G[3]: G[2], TOP: G[3], G[4]: G[2], G[6]: G[4], G[5]: G[3], G[7]: G[4]}
"""::

    1 - 2 - 3 - TOP
        |   `- 5
        `- 4 - 6
           `- 7
"""


def state_with(tmp_path: Path, parents: Dict[str, str], **options: Any) -> BundleState:
    layers = [Layer(guid, parent) for guid, parent in parents.items()]
    return disks.state_of(
        OsPort(),
        build_bundle(str(tmp_path / "a.hdd"), size_sectors=8, cluster_sectors=1, layers=layers, **options).directory,
    )


@pytest.fixture(name="state")
def _state(tmp_path: Path) -> BundleState:
    return state_with(tmp_path, PARENTS)


# A merge of the current chain


@pytest.mark.parametrize("max_layers", [1, 2])
def test_branches_at_a_chosen_snapshot_are_named_and_refused(state: BundleState, max_layers: int) -> None:
    with pytest.raises(HasSnapshots) as caught:
        choose_removals(state, max_layers=max_layers)
    assert caught.value.found == [G[4]]
    assert caught.value.path == state.location.directory
    assert G[2] in caught.value.message and "branches: discard" in str(caught.value.hint)


def test_a_branch_beside_a_snapshot_that_stays_is_no_hindrance(state: BundleState) -> None:
    assert choose_removals(state, max_layers=3) == (G[1],)
    assert choose_removals(state, max_layers=1, snapshots=[G[1]]) == (G[1],)


@pytest.mark.parametrize(
    ("max_layers", "removals"),
    [
        (1, (G[1], G[2], G[3], G[4], G[6], G[7], G[5])),
        (2, (G[1], G[2], G[4], G[6], G[7])),
        (3, (G[1],)),
        (4, ()),
    ],
)
def test_discarded_branches_go_with_all_that_stands_on_them(
    state: BundleState, max_layers: int, removals: Tuple[str, ...]
) -> None:
    assert choose_removals(state, max_layers=max_layers, branches="discard") == removals


def test_only_branches_at_chosen_snapshots_are_discarded(state: BundleState) -> None:
    assert choose_removals(state, max_layers=1, snapshots=[G[3]], branches="discard") == (G[3], G[5])


@pytest.mark.parametrize("branches", ["refuse", "discard"])
def test_snapshots_of_other_branches_are_not_merged_by_name(state: BundleState, branches: str) -> None:
    assert choose_removals(state, max_layers=1, snapshots=[G[4], G[5], G[6], TOP, G[9]], branches=branches) == ()


@pytest.mark.parametrize("kept", [G[2], G[4], G[6], G[5]])
def test_a_snapshot_of_the_machine_is_not_discarded_either(state: BundleState, kept: str) -> None:
    with pytest.raises(HasSnapshots) as caught:
        choose_removals(state, max_layers=1, branches="discard", kept_by_vm=[kept])
    assert caught.value.found == kept
    assert "force: true" in str(caught.value.hint)


def test_snapshots_of_the_machine_that_stay_are_no_hindrance(state: BundleState) -> None:
    assert choose_removals(state, max_layers=1, snapshots=[G[1]], kept_by_vm=[G[2], G[3], G[4]]) == (G[1],)


# A deletion


@pytest.mark.parametrize("descendants", ["keep", "refuse", "delete"])
@pytest.mark.parametrize("guid", [G[9], NONE, BACKUP])
def test_what_the_disk_does_not_have_need_not_go(state: BundleState, guid: str, descendants: str) -> None:
    assert choose_deletion(state, guid, descendants=descendants) == ()


@pytest.mark.parametrize("top", [None, TOP, G[8]])
def test_the_current_layer_is_no_snapshot(tmp_path: Path, top: Optional[str]) -> None:
    state = state_with(tmp_path, {G[1]: NONE, top or TOP: G[1]}, top_guid=top)
    with pytest.raises(BadRequest) as caught:
        choose_deletion(state, top or TOP)
    assert "Revert" in str(caught.value.hint)


def test_the_predefined_top_is_a_snapshot_where_another_is_declared(tmp_path: Path) -> None:
    assert choose_deletion(state_with(tmp_path, {TOP: NONE, G[8]: TOP}, top_guid=G[8]), TOP) == (TOP,)


@pytest.mark.parametrize("guid", [guid for guid in PARENTS if guid != TOP])
def test_by_default_one_snapshot_goes_wherever_it_is(state: BundleState, guid: str) -> None:
    assert choose_deletion(state, guid) == (guid,)


def test_a_layer_of_backup_software_may_go(tmp_path: Path) -> None:
    assert choose_deletion(state_with(tmp_path, {G[1]: NONE, BACKUP: G[1], TOP: BACKUP}), BACKUP) == (BACKUP,)


@pytest.mark.parametrize(
    ("guid", "above"), [(G[1], [G[2], G[3], G[5], G[4], G[6], G[7]]), (G[3], [G[5]]), (G[4], [G[6], G[7]])]
)
def test_snapshots_above_are_named_and_refused(state: BundleState, guid: str, above: List[str]) -> None:
    with pytest.raises(HasSnapshots) as caught:
        choose_deletion(state, guid, descendants="refuse")
    assert sorted(caught.value.found) == sorted(above)  # type: ignore[call-overload]
    assert "descendants: keep" in str(caught.value.hint) and "descendants: delete" in str(caught.value.hint)


def test_the_current_layer_above_is_no_snapshot_above(tmp_path: Path) -> None:
    state = state_with(tmp_path, {G[1]: NONE, G[2]: G[1], TOP: G[2]})
    assert choose_deletion(state, G[2], descendants="refuse") == (G[2],)


@pytest.mark.parametrize("guid", [G[5], G[6], G[7]])
@pytest.mark.parametrize("descendants", ["refuse", "delete"])
def test_a_leaf_goes_alone(state: BundleState, guid: str, descendants: str) -> None:
    assert choose_deletion(state, guid, descendants=descendants) == (guid,)


def test_a_branch_goes_with_all_that_stands_on_it(state: BundleState) -> None:
    assert choose_deletion(state, G[4], descendants="delete") == (G[4], G[6], G[7])


@pytest.mark.parametrize("guid", [G[1], G[2], G[3]])
def test_what_the_disk_goes_on_from_is_not_deleted_with_descendants(state: BundleState, guid: str) -> None:
    with pytest.raises(HasSnapshots) as caught:
        choose_deletion(state, guid, descendants="delete")
    assert "Revert to another snapshot" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("guid", "descendants", "kept"),
    [(G[4], "keep", G[4]), (G[6], "refuse", G[6]), (G[4], "delete", G[4]), (G[4], "delete", G[7])],
)
def test_a_snapshot_of_the_machine_is_not_deleted(state: BundleState, guid: str, descendants: str, kept: str) -> None:
    with pytest.raises(HasSnapshots) as caught:
        choose_deletion(state, guid, descendants=descendants, kept_by_vm=[kept])
    assert caught.value.found == kept
    assert "force: true" in str(caught.value.hint)


def test_a_snapshot_of_the_machine_above_keeps_its_data(state: BundleState) -> None:
    assert choose_deletion(state, G[4], kept_by_vm=[G[6], G[7], G[2]]) == (G[4],)


def test_a_single_file_has_nothing_to_delete(tmp_path: Path) -> None:
    build_hds(str(tmp_path / "a.hdd"), size_sectors=8, clusters={}, cluster_sectors=1)
    assert choose_deletion(disks.state_of(OsPort(), str(tmp_path / "a.hdd")), G[1]) == ()


# Which layers become one


@pytest.mark.parametrize(
    ("removals", "groups"),
    [
        ([], []),
        ([G[5]], []),
        ([G[6], G[7]], []),
        ([G[4], G[6], G[7]], []),
        ([G[1]], [(G[2], G[1])]),
        ([G[3]], [(TOP, G[3]), (G[5], G[3])]),
        ([G[3], G[5]], [(TOP, G[3])]),
        ([G[2]], [(G[3], G[2]), (G[4], G[2])]),
        ([G[1], G[2]], [(G[3], G[2], G[1]), (G[4], G[2], G[1])]),
        ([G[1], G[3]], [(G[2], G[1]), (TOP, G[3]), (G[5], G[3])]),
        ([G[2], G[4]], [(G[3], G[2]), (G[6], G[4], G[2]), (G[7], G[4], G[2])]),
        ([G[2], G[4], G[6], G[7]], [(G[3], G[2])]),
        ([G[1], G[2], G[3], G[4], G[5], G[6], G[7]], [(TOP, G[3], G[2], G[1])]),
    ],
)
def test_each_survivor_takes_over_what_it_stood_on(
    state: BundleState, removals: Sequence[str], groups: List[Tuple[str, ...]]
) -> None:
    assert sorted(groups_of(state.tree, removals)) == sorted(groups)

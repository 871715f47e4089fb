# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which file of a group receives the rest, and what it then takes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import AUTO
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merged_image import (
    COPY,
    IN_PLACE,
    Choice,
    MergedImage,
    merged_images,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import groups_of
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.images import fill

PORT = OsPort()
CLUSTER = 64 << 10
SECTORS = CLUSTER // 512
ONE, TWO = guid_of(1), guid_of(2)


def filled(*indexes: int, seed: int = 0) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER, seed) for index in indexes}


def state_of(tmp_path: Path, layers: List[Layer], **options: Any) -> BundleState:
    built = build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=8 * SECTORS, layers=layers, cluster_sectors=SECTORS, **options
    )
    return disks.state_of(PORT, built.directory, allow_outside=True)


def merged(state: BundleState, *removals: str, strategy: str = AUTO, **receivers: str) -> List[MergedImage]:
    forced = {f"0/{guid}": file for guid, file in receivers.items()}
    return merged_images(PORT, Choice(state, groups_of(state.tree, removals), strategy, forced))


def test_the_layer_that_holds_most_receives_the_rest(tmp_path: Path) -> None:
    state = state_of(tmp_path, line_of_layers(filled(0, 1, 2, 3), filled(1, seed=1), filled(2, 5, seed=2)))
    (one,) = merged(state, ONE, TWO)
    # The root and the top cost the same; the root lives longest.
    assert one.receiver == state.images[(0, ONE)] and not one.is_new
    assert sum(move.length for move in one.moves) == 3 * CLUSTER
    assert one.growth == CLUSTER and one.changes_file
    (other,) = merged(state, TWO)
    assert other.receiver == state.images[(0, TOP)]


def test_a_new_file_has_all_that_is_visible_and_nothing_else(tmp_path: Path) -> None:
    state = state_of(tmp_path, line_of_layers(filled(0, 1, 2, 3), filled(1, seed=1), filled(2, 5, seed=2)))
    (one,) = merged(state, ONE, TWO, strategy=COPY)
    assert one.is_new and one.receiver.file not in {image.file for image in state.images.values()}
    assert sum(move.length for move in one.moves) == 5 * CLUSTER and not one.placement.overwrites
    assert one.receiver.stat.size == one.growth == one.placement.size_after


def test_every_storage_has_its_own_receiver(tmp_path: Path) -> None:
    layers = line_of_layers(filled(0, 1, 7), filled(4, 5, 6, 7, seed=1))
    found = merged(state_of(tmp_path, layers, split=[4 * SECTORS, 4 * SECTORS]), ONE)
    assert [(one.group.storage, one.receiver.guid) for one in found] == [(0, ONE), (1, TOP)]


def test_a_layer_of_several_branches_receives_nothing(tmp_path: Path) -> None:
    layers = [Layer(ONE, clusters=filled(0, 1, 2)), Layer(TOP, ONE, filled(0, seed=1)), Layer(TWO, ONE, {})]
    found = merged(state_of(tmp_path, layers), ONE)
    assert {(one.group.survivor, one.receiver.guid) for one in found} == {(TOP, TOP), (TWO, TWO)}


def test_a_repetition_keeps_to_its_receiver(tmp_path: Path) -> None:
    state = state_of(tmp_path, line_of_layers(filled(0, 1, 2), filled(3, seed=1)))
    files = {guid: state.images[(0, guid)].file for guid in (ONE, TOP)}
    assert merged(state, ONE)[0].receiver.guid == ONE
    assert merged(state, ONE, **{TOP: files[TOP]})[0].receiver.guid == TOP
    with pytest.raises(Damaged) as caught:
        merged(state, ONE, **{TOP: "gone.hds"})
    assert caught.value.found == "gone.hds"


def test_in_place_needs_a_layer_of_the_disk_itself(tmp_path: Path) -> None:
    root = Layer(ONE, clusters=filled(0), file=str(tmp_path / "root.hds"))
    state = state_of(tmp_path, [root, Layer(TOP, ONE, filled(1), file=str(tmp_path / "top.hds"))])
    with pytest.raises(Unsupported):
        merged(state, ONE, strategy=IN_PLACE)
    assert merged(state, ONE)[0].is_new


def test_a_plain_layer_is_not_copied(tmp_path: Path) -> None:
    state = state_of(tmp_path, [Layer(ONE, type="Plain", clusters=filled(0)), Layer(TOP, ONE, filled(1))])
    with pytest.raises(Unsupported):
        merged(state, ONE, strategy=COPY)
    assert merged(state, ONE, strategy=IN_PLACE)[0].receiver == state.images[(0, ONE)]

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merging in a tree: branches keep their views, what they share is never written, and no road is longer than it need
be.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError, Encrypted, StalePlan
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    CopyRanges,
    CreateFile,
    Plan,
    Remove,
    Resize,
    WriteBytes,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import (
    choose_deletion,
    choose_removals,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    NONE,
    TOP,
    BuiltBundle,
    Layer,
    build_bundle,
    guid_of,
)
from ansible_collections.vdisk.parallels.tests.support.images import HEADER, build_hds, fill

PORT = OsPort()
CLUSTER = 4096
SECTORS = CLUSTER // 512
CLUSTERS = 8
BACKUP = "{704718e1-2314-44c8-9087-d78ed36b0f4e}"
ONE, TWO, THREE, FOUR, FIVE = (guid_of(number) for number in range(1, 6))
ALL = "ONE TWO THREE FOUR FIVE".split()
ENGINE = "<Engine>{00000000-0000-0000-0000-000000000000}"


def held(*indexes: int, seed: int = 0) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER, seed) for index in indexes}


def build(
    folder: Any, layers: Sequence[Layer], *, size_sectors: int = CLUSTERS * SECTORS, **options: Any
) -> BuiltBundle:
    return build_bundle(
        os.path.join(str(folder), "a.hdd"), size_sectors=size_sectors, layers=layers, cluster_sectors=SECTORS, **options
    )


def fork(folder: Any, **options: Any) -> BuiltBundle:
    """::

    1 - 2 - 3 - TOP
        `- 4 - 5
    """
    layers = [
        Layer(ONE, clusters=held(0, 1, 2, 3)),
        Layer(TWO, ONE, held(1, 2, 4, 5, seed=2)),
        Layer(THREE, TWO, held(2, seed=3)),
        Layer(TOP, THREE, held(4, seed=4)),
        Layer(FOUR, TWO, held(1, 2, 4, seed=5)),
        Layer(FIVE, FOUR, held(7, seed=6)),
    ]
    return build(folder, layers, **options)


def planned(bundle: BuiltBundle, *removals: str, **options: Any) -> Plan:
    return plan_merge(PORT, disks.state_of(PORT, bundle.directory, allow_outside=True), removals, **options)


def views(bundle: BuiltBundle) -> Dict[str, bytes]:
    return {guid: disks.read_naively(PORT, bundle.directory, guid) for guid in disks.guids_of(PORT, bundle.directory)}


def merged(bundle: BuiltBundle, *removals: str, **options: Any) -> Plan:
    """Merge; every view that stays must be the same, read in two ways, and everything must be as predicted."""
    before = views(bundle)
    plan = planned(bundle, *removals, **options)
    predicted = disks.facts_of(PORT, plan.facts.after)
    outcome = disks.apply(PORT, plan)
    state = disks.state_of(PORT, bundle.directory, allow_outside=True)
    assert (outcome.bytes_read, outcome.bytes_written) == (plan.bytes_read, plan.bytes_written)
    assert disks.facts_of(PORT, state) == predicted
    assert views(bundle) == {guid: view for guid, view in before.items() if guid not in removals}
    for guid in state.tree.shots:
        assert disks.read(PORT, bundle.directory, guid, allow_outside=True) == before[guid]
    assert set(os.listdir(bundle.directory)) - {"a.hdd", "DiskDescriptor.xml"} == {
        image.file for image in state.images.values() if not image.outside
    }
    return plan


def written_files(plan: Plan) -> Set[str]:
    """The images that a plan writes to."""
    steps = [step for step in plan.steps if isinstance(step, (WriteBytes, CopyRanges, Resize, CreateFile))]
    return {step.path for step in steps if step.path.endswith(".hds")}


def frozen(path: str) -> Tuple[object, ...]:
    facts = os.stat(path)
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, Path(path).read_bytes()


# Where branches part


def test_what_a_fork_held_is_copied_up_into_each_child(tmp_path: Path) -> None:
    bundle = fork(tmp_path)
    plan = merged(bundle, TWO)
    # Into 3 go clusters 1, 4 and 5, into 4 only 5.
    assert plan.bytes_written == 4 * CLUSTER
    assert written_files(plan) == {bundle.files[(0, THREE)], bundle.files[(0, FOUR)]}


@pytest.mark.parametrize("strategy", ["auto", "in_place", "copy"])
def test_the_file_of_a_fork_is_only_read_and_then_removed(tmp_path: Path, strategy: str) -> None:
    bundle = fork(tmp_path)
    shared = bundle.files[(0, TWO)]
    plan = merged(bundle, TWO, strategy=strategy)
    assert shared not in written_files(plan)
    assert [step for step in plan.steps if isinstance(step, Remove) and shared in step.paths]
    assert not os.path.exists(shared)


def test_a_cheaper_road_down_into_a_shared_file_is_not_taken(tmp_path: Path) -> None:
    """One cluster would have to move down, seven go up twice."""
    layers = [Layer(ONE, clusters=held(*range(8))), Layer(TOP, ONE, held(0, seed=1)), Layer(TWO, ONE, held(1, seed=2))]
    assert merged(build(tmp_path, layers), ONE).bytes_written == 14 * CLUSTER


def test_a_root_where_branches_part_can_go(tmp_path: Path) -> None:
    bundle = fork(tmp_path)
    merged(bundle, ONE, TWO)
    tree = disks.state_of(PORT, bundle.directory).tree
    assert {guid: shot.parent for guid, shot in tree.shots.items()} == {THREE: NONE, TOP: THREE, FOUR: NONE, FIVE: FOUR}


def test_a_plain_root_where_branches_part_can_go(tmp_path: Path) -> None:
    layers = [
        Layer(ONE, type="Plain", clusters=held(0, 1)),
        Layer(TOP, ONE, held(0, seed=1)),
        Layer(TWO, ONE, held(1, seed=2)),
    ]
    bundle = build(tmp_path, layers)
    before = frozen(bundle.files[(0, ONE)])[-1]
    plan = planned(bundle, ONE)
    assert bundle.files[(0, ONE)] not in written_files(plan) and before
    merged(bundle, ONE)


@pytest.mark.parametrize(("removed", "types"), [(ONE, ["Compressed"] * 3), (FOUR, ["Plain", "Plain", "Plain"])])
def test_layers_that_ploop_calls_plain_are_called_so_only_above_a_plain_root(
    tmp_path: Path, removed: str, types: List[str]
) -> None:
    """ploop writes Plain for every image of such a disk, and takes one Plain as said of all: without the plain root
    none may stay.
    """
    layers = [
        Layer(ONE, type="Plain", clusters=held(0, 1)),
        Layer(TOP, ONE, held(0, seed=1)),
        Layer(TWO, ONE, held(1, seed=2)),
        Layer(FOUR, TWO, held(2, seed=3)),
    ]
    bundle = build(tmp_path, layers)
    text = Path(bundle.descriptor).read_text(encoding="utf-8")
    Path(bundle.descriptor).write_text(text.replace("Compressed", "Plain"), encoding="utf-8")
    merged(bundle, removed)
    (storage,) = disks.state_of(PORT, bundle.directory).descriptor.storages
    assert [image.type for image in storage.images] == types


def test_of_a_run_above_a_fork_any_layer_but_the_shared_one_may_receive(tmp_path: Path) -> None:
    layers = [
        Layer(ONE, clusters=held(0)),
        Layer(TWO, ONE, held(1)),
        Layer(THREE, TWO, held(*range(2, 8), seed=3)),
        Layer(TOP, THREE, held(2, seed=4)),
        Layer(FOUR, TWO, held(3, seed=5)),
    ]
    bundle = build(tmp_path, layers)
    plan = merged(bundle, TWO, THREE)
    # Down from the top into 3, one cluster of 2 up into it, and the same one into 4.
    assert plan.bytes_written == 3 * CLUSTER
    assert written_files(plan) == {bundle.files[(0, THREE)], bundle.files[(0, FOUR)]}
    assert os.path.basename(disks.file_of(PORT, bundle.directory)) == os.path.basename(bundle.files[(0, THREE)])


@pytest.mark.parametrize(
    "removals",
    [(THREE,), (FOUR,), (ONE,), (THREE, FOUR), (ONE, THREE), (TWO, FIVE), (FOUR, FIVE), (ONE, TWO, THREE, FOUR)],
)
@pytest.mark.parametrize("strategy", ["auto", "copy"])
@pytest.mark.parametrize(
    "options", [{}, {"version": 2}, {"split": [3 * SECTORS, 5 * SECTORS]}], ids=["v1", "v2", "split"]
)
def test_every_branch_shows_what_it_showed(
    tmp_path: Path, removals: Tuple[str, ...], strategy: str, options: Any
) -> None:
    bundle = fork(tmp_path, **options)
    merged(bundle, *removals, strategy=strategy)
    assert planned(bundle, *choose_deletion(disks.state_of(PORT, bundle.directory), removals[0])).is_empty


@pytest.mark.parametrize("split", [None, [3 * SECTORS, 5 * SECTORS]])
def test_all_parts_are_committed_at_once(tmp_path: Path, split: Optional[List[int]]) -> None:
    plan = planned(fork(tmp_path, split=split), TWO, THREE)
    kinds = [type(step).__name__ + ":" + os.path.basename(getattr(step, "path", "")) for step in plan.steps]
    assert kinds.count("ReplaceFile:DiskDescriptor.xml") == 1
    assert all(
        not isinstance(step, (WriteBytes, CopyRanges, Resize))
        for step in plan.steps[kinds.index("ReplaceFile:DiskDescriptor.xml") :]
    )
    assert all(not isinstance(step, Remove) for step in plan.steps[: kinds.index("ReplaceFile:DiskDescriptor.xml")])


# What nothing stands on


@pytest.mark.parametrize("removals", [(FIVE,), (FIVE, FOUR)])
def test_a_leaf_costs_nothing(tmp_path: Path, removals: Tuple[str, ...]) -> None:
    bundle = fork(tmp_path)
    others = {guid: frozen(path) for (_storage, guid), path in bundle.files.items() if guid not in removals}
    plan = merged(bundle, *removals)
    assert (plan.bytes_read, plan.bytes_written, written_files(plan)) == (0, 0, set())
    assert plan.bytes_freed > 0
    assert {guid: frozen(bundle.files[(0, guid)]) for guid in others} == others


def test_an_encrypted_leaf_can_go_because_nothing_is_read(tmp_path: Path) -> None:
    bundle = fork(tmp_path)
    text = Path(bundle.descriptor).read_text(encoding="utf-8")
    Path(bundle.descriptor).write_text(text.replace(ENGINE, ENGINE.replace("00000000-", "2df8d6f2-")), encoding="utf-8")
    with pytest.raises(Encrypted):
        planned(bundle, FOUR)
    disks.apply(PORT, planned(bundle, FIVE))
    assert FIVE not in disks.guids_of(PORT, bundle.directory) and not os.path.exists(bundle.files[(0, FIVE)])


def test_discarded_branches_go_in_the_same_pass(tmp_path: Path) -> None:
    bundle = fork(tmp_path)
    removals = choose_removals(disks.state_of(PORT, bundle.directory), max_layers=1, branches="discard")
    plan = merged(bundle, *removals)
    assert disks.guids_of(PORT, bundle.directory) == [TOP]
    # 2 holds 1 and 5 of what wins; 1 takes in 1, 2, 4 and 5, 2 takes in 0, 2, 3 and 4.
    assert plan.bytes_written == 4 * CLUSTER


# Never more than needed


@st.composite
def trees(draw: st.DrawFn) -> Tuple[List[Layer], Set[str]]:
    """Any tree of up to six layers, whatever they hold, and any of its snapshots to be removed."""
    guids = draw(
        st.permutations([TOP, ONE, TWO, THREE, FOUR, FIVE][: draw(st.integers(2, 6))]).filter(
            lambda found: TOP in found
        )
    )
    layers: List[Layer] = []
    for seed, guid in enumerate(guids):
        parent = layers[draw(st.integers(0, len(layers) - 1))].guid if layers else NONE
        layers.append(Layer(guid, parent, held(*draw(st.sets(st.integers(0, CLUSTERS - 1))), seed=seed)))
    return layers, draw(st.sets(st.sampled_from([guid for guid in guids if guid != TOP])))


def fewest_bytes(layers: Sequence[Layer], removals: Set[str]) -> int:
    """Counted one cluster after the other, over every choice of a file that no other branch needs."""
    by_guid = {layer.guid: layer for layer in layers}
    groups = []
    for layer in layers:
        if layer.guid not in removals and layer.parent in removals:
            groups.append([layer])
            while groups[-1][-1].parent in removals:
                groups[-1].append(by_guid[groups[-1][-1].parent])
    total = 0
    for group in groups:
        shared = [layer for layer in group if sum(layer in other for other in groups) > 1]
        total += min(
            sum(_moves(group, receiver, cluster) for cluster in range(CLUSTERS))
            for receiver in group
            if receiver not in shared
        )
    return total * CLUSTER


def _moves(group: Sequence[Layer], receiver: Layer, cluster: int) -> int:
    holder = next((layer for layer in group if cluster in layer.clusters), None)
    return int(holder is not None and holder is not receiver)


@given(drawn=trees(), version=st.sampled_from([1, 2]))
def test_a_merge_in_any_tree_writes_the_fewest_bytes(drawn: Tuple[List[Layer], Set[str]], version: int) -> None:
    layers, removals = drawn
    with tempfile.TemporaryDirectory() as folder:
        plan = merged(build(folder, layers, version=version), *sorted(removals))
        assert plan.bytes_written == fewest_bytes(layers, removals)
        assert plan.bytes_read == plan.bytes_written


@given(drawn=trees(), outside=st.integers(0, 5), strategy=st.sampled_from(["auto", "copy"]))
def test_an_outside_layer_in_any_tree_is_never_touched(
    drawn: Tuple[List[Layer], Set[str]], outside: int, strategy: str
) -> None:
    layers, removals = drawn
    with tempfile.TemporaryDirectory() as folder:
        chosen = layers[outside % len(layers)]
        path = os.path.join(folder, "shared.hds")
        bundle = build(
            folder,
            [
                Layer(layer.guid, layer.parent, layer.clusters, file=path if layer is chosen else None)
                for layer in layers
            ],
        )
        before = frozen(path)
        plan = planned(bundle, *sorted(removals), strategy=strategy)
        assert path not in written_files(plan) and path not in plan.lock_files
        merged(bundle, *sorted(removals), strategy=strategy)
        assert frozen(path) == before


# Layers of different lengths


def grown_disk(tmp_path: Path, *, root_has_room: bool) -> Tuple[BuiltBundle, str]:
    """A root of 112 clusters, nearly full, under a top of 120 that holds two.

    The table of 112 entries ends with the first sector.
    """
    size, step = 120, 1
    layers = [Layer(ONE, size_sectors=112), Layer(TOP, ONE, {3: fill(3, 512, 1), 118: fill(118, 512, 1)})]
    bundle = build_bundle(str(tmp_path / "a.hdd"), size_sectors=size, layers=layers, cluster_sectors=step)
    root = bundle.files[(0, ONE)]
    clusters = {index: fill(index, 512) for index in range(100)}
    build_hds(root, size_sectors=112, clusters=clusters, cluster_sectors=step, data_off=2 if root_has_room else 1)
    return bundle, root


def test_a_receiver_that_is_too_short_grows_where_it_lies(tmp_path: Path) -> None:
    bundle, root = grown_disk(tmp_path, root_has_room=True)
    plan = merged(bundle, ONE)
    assert plan.bytes_written == 2 * 512
    assert disks.file_of(PORT, bundle.directory) == root
    fields = HEADER.unpack(Path(root).read_bytes()[:64])
    assert (fields[5], fields[6], fields[7]) == (120, 120, 0)


def test_a_receiver_without_room_for_a_longer_table_gives_to_the_other(tmp_path: Path) -> None:
    bundle, root = grown_disk(tmp_path, root_has_room=False)
    plan = merged(bundle, ONE)
    assert plan.bytes_written == 99 * 512
    assert disks.file_of(PORT, bundle.directory) == bundle.files[(0, TOP)] and not os.path.exists(root)


@pytest.mark.parametrize("data_off", [0, 1])
@pytest.mark.parametrize(("before", "after", "grows"), [(100, 112, True), (100, 113, False)])
def test_a_table_may_grow_up_to_the_data(tmp_path: Path, data_off: int, before: int, after: int, grows: bool) -> None:
    """Where data_off is 0 the data follows the table wherever it ends, so the table cannot grow."""
    layers = [Layer(ONE, size_sectors=before), Layer(TOP, ONE, {0: fill(0, 512, 1)})]
    bundle = build_bundle(str(tmp_path / "a.hdd"), size_sectors=after, layers=layers, cluster_sectors=1)
    root = bundle.files[(0, ONE)]
    build_hds(
        root,
        size_sectors=before,
        clusters={index: fill(index, 512) for index in range(4)},
        cluster_sectors=1,
        data_off=data_off,
    )
    merged(bundle, ONE)
    assert (disks.file_of(PORT, bundle.directory) == root) == (grows and data_off == 1)


def test_a_short_layer_hides_the_end_of_what_lies_below_in_every_branch(tmp_path: Path) -> None:
    layers = [
        Layer(ONE, clusters=held(*range(8))),
        Layer(TWO, ONE, held(0, seed=2), size_sectors=4 * SECTORS),
        Layer(TOP, TWO, held(6, seed=3)),
        Layer(THREE, TWO, held(1, seed=4), size_sectors=6 * SECTORS),
        Layer(FOUR, ONE, held(7, seed=5)),
    ]
    bundle = build(tmp_path, layers)
    assert not any(disks.read_naively(PORT, bundle.directory, THREE)[4 * CLUSTER :])
    plan = merged(bundle, TWO)
    # Into the top go cluster 0 and holes for 4, 5 and 7; into 3 go cluster 0 and holes for 4 and 5, behind which it
    # ends.
    assert plan.bytes_written == 2 * CLUSTER
    state = disks.state_of(PORT, bundle.directory)
    assert [image.used_clusters for guid in (TOP, THREE) for image in state.layer(guid)] == [5, 4]


@pytest.mark.parametrize("cut", [1, 3, 7])
@pytest.mark.parametrize("removals", [(ONE,), (TWO,), (THREE,), (ONE, TWO), (TWO, THREE), (ONE, TWO, THREE)])
@pytest.mark.parametrize("strategy", ["auto", "copy"])
def test_a_disk_that_ended_within_a_cluster_before_it_grew_is_merged(
    tmp_path: Path, cut: int, removals: Tuple[str, ...], strategy: str
) -> None:
    """What an image holds behind the end of its disk must never come to light."""
    short = 4 * SECTORS - cut
    layers = [
        Layer(ONE, clusters=held(0, 3), size_sectors=short),
        Layer(TWO, ONE, held(1, seed=2), size_sectors=short),
        Layer(THREE, TWO, held(2, 6, seed=3)),
        Layer(TOP, THREE, held(5, seed=4)),
        Layer(FOUR, TWO, held(3, seed=5), size_sectors=short),
    ]
    bundle = build(tmp_path, layers)
    assert not any(disks.read_naively(PORT, bundle.directory)[short * 512 : 5 * CLUSTER])
    merged(bundle, *removals, strategy=strategy)


@pytest.mark.parametrize("tail", [0, 1, 511])
def test_what_follows_the_last_sector_of_a_plain_root_never_comes_to_light(tmp_path: Path, tail: int) -> None:
    layers = [Layer(ONE, type="Plain", clusters=held(0), size_sectors=SECTORS), Layer(TOP, ONE, held(4, seed=1))]
    bundle = build(tmp_path, layers)
    with open(bundle.files[(0, ONE)], "ab") as stream:
        stream.write(b"\xee" * tail)
    expected = disks.read(PORT, bundle.directory)
    disks.apply(PORT, planned(bundle, ONE))
    assert disks.read(PORT, bundle.directory) == disks.read_naively(PORT, bundle.directory) == expected


# Names


def test_snapshots_that_come_and_go_under_one_name_are_copied_every_time(tmp_path: Path) -> None:
    """The layer that a copy made has another role the next time, but keeps the name of its file."""
    bundle = build(tmp_path, [Layer(TOP, clusters=held(0))])
    files = []
    for number in range(4):
        disks.take(PORT, bundle.directory, ONE)
        disks.write(PORT, bundle.directory, number * CLUSTER, b"day %d" % number)
        merged(bundle, ONE, strategy="copy")
        files.append(disks.file_of(PORT, bundle.directory))
    assert files[0] != files[1] and files[0] == files[2]


@pytest.mark.parametrize("removals", [(TWO,), (ONE, TWO, THREE, FOUR, FIVE)])
def test_a_file_in_the_way_of_a_new_one_is_passed_over_and_stays(tmp_path: Path, removals: Tuple[str, ...]) -> None:
    bundle = fork(tmp_path)
    (first, *_rest) = [
        step.path for step in planned(bundle, *removals, strategy="copy").steps if isinstance(step, CreateFile)
    ]
    Path(first).write_bytes(b"theirs")
    plan = planned(bundle, *removals, strategy="copy")
    assert first not in written_files(plan)
    disks.apply(PORT, plan)
    assert Path(first).read_bytes() == b"theirs"


def test_a_file_that_turns_up_after_the_look_is_left_alone(tmp_path: Path) -> None:
    bundle = fork(tmp_path)
    plan = planned(bundle, TWO, strategy="copy")
    (first, *_rest) = [step.path for step in plan.steps if isinstance(step, CreateFile)]
    Path(first).write_bytes(b"theirs")
    before = views(bundle)
    with pytest.raises(StalePlan):
        disks.apply(PORT, plan)
    assert Path(first).read_bytes() == b"theirs" and views(bundle) == before


# Marks and roles


def temporary(tmp_path: Path, *marked: str) -> BuiltBundle:
    """A bundle of ploop, which died while it was merging the ``marked`` snapshots away."""
    parents = {ONE: NONE, TWO: ONE, THREE: TWO, TOP: THREE}
    layers = [
        Layer(guid, below, held(seed, seed + 1, seed=seed), temporary=guid in marked)
        for seed, (guid, below) in enumerate(parents.items())
    ]
    return build(tmp_path, layers, style="ploop", version=2)


def marks(bundle: BuiltBundle) -> List[str]:
    return [guid for guid, shot in disks.state_of(PORT, bundle.directory).tree.shots.items() if shot.temporary]


@pytest.mark.parametrize("removed", [ONE, TWO, THREE])
def test_the_marks_of_ploop_stay_on_the_snapshots_that_stay(tmp_path: Path, removed: str) -> None:
    bundle = temporary(tmp_path, ONE, THREE)
    assert marks(bundle) == [ONE, THREE]
    merged(bundle, removed)
    assert marks(bundle) == [guid for guid in (ONE, THREE) if guid != removed]


def test_what_ploop_did_not_finish_is_finished_by_a_deletion(tmp_path: Path) -> None:
    bundle = temporary(tmp_path, TWO)
    merged(bundle, *choose_deletion(disks.state_of(PORT, bundle.directory), TWO))
    assert marks(bundle) == []
    disks.take(PORT, bundle.directory, FOUR)
    merged(bundle, *choose_removals(disks.state_of(PORT, bundle.directory), max_layers=1))


@pytest.mark.parametrize("removed", [ONE, BACKUP, TWO])
def test_a_layer_of_backup_software_is_merged_like_others(tmp_path: Path, removed: str) -> None:
    layers = [
        Layer(ONE, clusters=held(0, 1)),
        Layer(BACKUP, ONE, held(1, 2, seed=1)),
        Layer(TWO, BACKUP, held(2, seed=2)),
        Layer(TOP, TWO, held(3, seed=3)),
    ]
    bundle = build(tmp_path, layers)
    merged(bundle, removed)
    assert (BACKUP in disks.guids_of(PORT, bundle.directory)) == (removed != BACKUP)


@pytest.mark.parametrize("top", [TOP, THREE])
@pytest.mark.parametrize("strategy", ["auto", "copy"])
def test_a_declared_top_stays_and_keeps_its_guid(tmp_path: Path, top: str, strategy: str) -> None:
    """Where another top is declared, the predefined GUID is that of a snapshot."""
    below = TOP if top == THREE else TWO
    layers = [
        Layer(ONE, clusters=held(0, 1)),
        Layer(below, ONE, held(1, seed=1)),
        Layer(top, below, held(2, seed=2)),
        Layer(FOUR, below, held(3, seed=3)),
    ]
    bundle = build(tmp_path, layers, top_guid=top)
    merged(bundle, below, strategy=strategy)
    state = disks.state_of(PORT, bundle.directory)
    assert (state.descriptor.declared_top, state.tree.top, set(state.tree.shots)) == (top, top, {ONE, top, FOUR})


def test_images_in_a_folder_of_the_bundle_are_merged_too(tmp_path: Path) -> None:
    bundle = fork(tmp_path)
    os.mkdir(os.path.join(bundle.directory, "layers"))
    text = Path(bundle.descriptor).read_text(encoding="utf-8")
    for path in bundle.files.values():
        os.rename(path, os.path.join(bundle.directory, "layers", os.path.basename(path)))
        text = text.replace(os.path.basename(path), "layers/" + os.path.basename(path))
    Path(bundle.descriptor).write_text(text, encoding="utf-8")
    before: Mapping[str, bytes] = views(bundle)
    disks.apply(PORT, planned(bundle, TWO))
    assert views(bundle) == {guid: view for guid, view in before.items() if guid != TWO}
    assert len(os.listdir(os.path.join(bundle.directory, "layers"))) == 5


def test_a_refused_merge_changes_nothing(tmp_path: Path) -> None:
    bundle = fork(tmp_path)
    files = {path: frozen(path) for path in [*bundle.files.values(), bundle.descriptor]}
    with pytest.raises(DiskError):
        planned(bundle, *choose_removals(disks.state_of(PORT, bundle.directory), max_layers=1))
    assert {path: frozen(path) for path in files} == files

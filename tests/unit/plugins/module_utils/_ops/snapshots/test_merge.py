# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merging: fewer layers, the same view of every snapshot that stays."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Dirty,
    DiskError,
    Encrypted,
    HasSnapshots,
    InUse,
    NoSpace,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import choose_removals
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    BuiltBundle,
    Layer,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill, pack_bitmap, pack_extension
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PORT = OsPort()
CLUSTER = 64 << 10
SECTORS = CLUSTER // 512
ONE, TWO, THREE = guid_of(1), guid_of(2), guid_of(3)


def filled(*indexes: int, seed: int = 0) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER, seed) for index in indexes}


def build(
    tmp_path: Path, layers: List[Layer], *, size_sectors: int = 8 * SECTORS, name: str = "a.hdd", **options: Any
) -> BuiltBundle:
    return build_bundle(
        str(tmp_path / name), size_sectors=size_sectors, layers=layers, cluster_sectors=SECTORS, **options
    )


def line(tmp_path: Path, **options: Any) -> BuiltBundle:
    """Four layers that hide parts of each other."""
    return build(
        tmp_path,
        line_of_layers(filled(0, 1, 2, 3), filled(1, 4, seed=1), filled(2, 4, 5, seed=2), filled(3, seed=3)),
        **options,
    )


def naive(bundle: BuiltBundle, guid: Optional[str] = None) -> bytes:
    return disks.read_naively(PORT, bundle.directory, guid)


def images(bundle: BuiltBundle) -> List[str]:
    return sorted(name for name in os.listdir(bundle.directory) if name.endswith(".hds"))


def untouched(folder: str) -> Dict[str, object]:
    found: Dict[str, object] = {}
    for name in sorted(os.listdir(folder)):
        facts = os.lstat(os.path.join(folder, name))
        found[name] = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return found


# Which snapshots go


def test_all_snapshots_of_the_chain_go_by_default(tmp_path: Path) -> None:
    state = disks.state_of(PORT, line(tmp_path).directory)
    assert choose_removals(state, max_layers=1) == (ONE, TWO, THREE)


def test_the_oldest_go_first(tmp_path: Path) -> None:
    state = disks.state_of(PORT, line(tmp_path).directory)
    assert choose_removals(state, max_layers=3) == (ONE,)
    assert choose_removals(state, max_layers=4) == choose_removals(state, max_layers=99) == ()


def test_only_named_snapshots_go(tmp_path: Path) -> None:
    state = disks.state_of(PORT, line(tmp_path).directory)
    assert choose_removals(state, max_layers=1, snapshots=[THREE, ONE]) == (ONE, THREE)
    assert choose_removals(state, max_layers=3, snapshots=[THREE, ONE]) == (ONE,)
    assert (
        choose_removals(state, max_layers=1, snapshots=[])
        == choose_removals(state, max_layers=1, snapshots=[guid_of(77), TOP])
        == ()
    )


def branched(tmp_path: Path) -> BuiltBundle:
    """1 - 2 - TOP, and 3 beside 2."""
    layers = [
        Layer(ONE, clusters=filled(0, 1, 2)),
        Layer(TWO, ONE, filled(1, seed=1)),
        Layer(TOP, TWO, filled(2, seed=2)),
        Layer(THREE, ONE, filled(2, 3, seed=3)),
    ]
    return build(tmp_path, layers)


def test_a_snapshot_where_branches_part_is_refused(tmp_path: Path) -> None:
    bundle = branched(tmp_path)
    before = untouched(bundle.directory)
    with pytest.raises(HasSnapshots) as caught:
        disks.merge(PORT, bundle.directory)
    assert THREE in caught.value.found  # type: ignore[operator]
    assert untouched(bundle.directory) == before


@pytest.mark.parametrize("strategy", ["auto", "in_place", "copy"])
def test_a_merge_beside_a_branch_leaves_the_branch_as_it_was(tmp_path: Path, strategy: str) -> None:
    bundle = branched(tmp_path)
    disks.merge(PORT, bundle.directory, snapshots=[TWO], strategy=strategy)
    assert naive(bundle) == bundle.guest(TOP)
    assert naive(bundle, THREE) == bundle.guest(THREE)
    assert naive(bundle, ONE) == bundle.guest(ONE)
    assert len(images(bundle)) == 3


def test_snapshots_of_the_virtual_machine_are_refused(tmp_path: Path) -> None:
    state = disks.state_of(PORT, line(tmp_path).directory)
    with pytest.raises(HasSnapshots, match="virtual machine"):
        choose_removals(state, max_layers=1, kept_by_vm=[TWO])
    assert choose_removals(state, max_layers=1, snapshots=[ONE, THREE], kept_by_vm=[TWO]) == (ONE, THREE)


# What comes out


@pytest.mark.parametrize("strategy", ["auto", "in_place", "copy"])
@pytest.mark.parametrize("version", [1, 2])
def test_one_layer_shows_what_four_showed(tmp_path: Path, strategy: str, version: int) -> None:
    bundle = line(tmp_path, version=version)
    plan = disks.merge(PORT, bundle.directory, strategy=strategy)
    assert plan.facts.merged == (ONE, TWO, THREE)
    assert disks.read(PORT, bundle.directory) == naive(bundle) == bundle.guest(TOP)
    assert len(images(bundle)) == 1
    assert disks.plan_of_merge(PORT, bundle.directory).is_empty


@pytest.mark.parametrize("removed", [[ONE], [TWO], [THREE], [ONE, TWO], [TWO, THREE], [ONE, THREE]])
@pytest.mark.parametrize("strategy", ["auto", "copy"])
def test_the_snapshots_that_stay_show_what_they_showed(tmp_path: Path, removed: List[str], strategy: str) -> None:
    bundle = line(tmp_path)
    disks.merge(PORT, bundle.directory, snapshots=removed, strategy=strategy)
    left = {layer.guid for layer in bundle.layers} - set(removed)
    assert set(disks.guids_of(PORT, bundle.directory)) == left
    assert all(naive(bundle, guid) == bundle.guest(guid) for guid in left)


def test_a_copy_leaves_the_old_files_alone_until_the_commit(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    plan = disks.plan_of_merge(PORT, bundle.directory, strategy="copy")
    written = {getattr(step, "path", None) for step in plan.steps}
    assert not written & set(bundle.files.values())


def test_an_empty_chain_of_plan_steps_means_nothing_to_do(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    before = untouched(bundle.directory)
    assert plan_merge(PORT, disks.state_of(PORT, bundle.directory), []).is_empty
    assert untouched(bundle.directory) == before


def test_planning_a_merge_changes_nothing(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    before = untouched(bundle.directory)
    disks.plan_of_merge(PORT, bundle.directory)
    assert untouched(bundle.directory) == before


def test_clusters_that_no_entry_names_are_used_again(tmp_path: Path) -> None:
    layers = line_of_layers(filled(0, 1, 2, 3, 4, 5), filled(2, 3, seed=1))
    bundle = build(tmp_path, layers)
    disks.leak(PORT, bundle.directory, guid=ONE, index=2)
    disks.leak(PORT, bundle.directory, guid=ONE, index=5)
    expected = naive(bundle)
    before = os.path.getsize(bundle.files[(0, ONE)])
    disks.merge(PORT, bundle.directory)
    assert naive(bundle) == expected
    assert os.path.getsize(bundle.files[(0, ONE)]) == before


def test_old_bytes_do_not_shine_through_a_cluster_that_is_filled_in_part(tmp_path: Path) -> None:
    """The last cluster of the disk is cut short; the place that it gets holds the bytes of a leaked cluster."""
    size = 3 * SECTORS + 5
    bundle = build(tmp_path, line_of_layers(filled(0, 1, 2), {3: fill(3, 5 * 512, 1)}), size_sectors=size)
    disks.leak(PORT, bundle.directory, guid=ONE, index=1)
    expected = naive(bundle)
    disks.merge(PORT, bundle.directory, strategy="in_place")
    assert naive(bundle) == expected
    place = disks._Image(PORT, disks.file_of(PORT, bundle.directory))
    assert place.get(place.place(3) + 5 * 512, CLUSTER - 5 * 512) == bytes(CLUSTER - 5 * 512)


def test_a_zero_cluster_goes_on_hiding_what_lies_below(tmp_path: Path) -> None:
    layers = line_of_layers(filled(0, 1, 2, 3), filled(4, seed=1), {1: bytes(CLUSTER), 2: b""})
    bundle = build(tmp_path, layers)
    disks.merge(PORT, bundle.directory, snapshots=[TWO])
    assert naive(bundle) == bundle.guest(TOP)
    disks.merge(PORT, bundle.directory)
    assert naive(bundle) == bundle.guest(TOP)


@pytest.mark.parametrize("size_sectors", [1, 5, SECTORS - 1, SECTORS + 1, 5 * SECTORS + 17])
@pytest.mark.parametrize("strategy", ["in_place", "copy"])
def test_odd_sizes_are_merged_to_the_last_sector(tmp_path: Path, size_sectors: int, strategy: str) -> None:
    count = -(-size_sectors // SECTORS)
    bundle = build(
        tmp_path,
        line_of_layers(filled(*range(count)), filled(count - 1, seed=1), filled(*range(0, count, 2), seed=2)),
        size_sectors=size_sectors,
    )
    disks.merge(PORT, bundle.directory, strategy=strategy)
    assert disks.read(PORT, bundle.directory) == naive(bundle) == bundle.guest(TOP)


def test_a_split_disk_is_merged_part_by_part(tmp_path: Path) -> None:
    bundle = line(tmp_path, split=[2 * SECTORS, 4 * SECTORS, 2 * SECTORS])
    disks.merge(PORT, bundle.directory, snapshots=[TWO, THREE])
    assert naive(bundle) == bundle.guest(TOP)
    assert naive(bundle, ONE) == bundle.guest(ONE)
    assert len(images(bundle)) == 6


def test_a_declared_top_is_kept(tmp_path: Path) -> None:
    top = guid_of(9)
    layers = [Layer(ONE, clusters=filled(0)), Layer(TWO, ONE, filled(1)), Layer(top, TWO, filled(2))]
    bundle = build(tmp_path, layers, top_guid=top)
    disks.merge(PORT, bundle.directory)
    state = disks.state_of(PORT, bundle.directory)
    assert (state.descriptor.declared_top, state.tree.current_chain) == (top, (top,))
    assert naive(bundle) == bundle.guest(top)


@pytest.mark.parametrize("removed", [[ONE], [ONE, TWO], [TWO]])
def test_a_plain_root_takes_in_what_lies_above(tmp_path: Path, removed: List[str]) -> None:
    layers = [
        Layer(ONE, clusters=filled(0, 1, 2, 3, 4, 5), type="Plain"),
        Layer(TWO, ONE, filled(1, seed=1)),
        Layer(TOP, TWO, {2: bytes(CLUSTER), 4: b""}),
    ]
    bundle = build(tmp_path, layers)
    left = {layer.guid for layer in layers} - set(removed)
    plan = disks.plan_of_merge(PORT, bundle.directory, snapshots=removed)
    predicted = disks.facts_of(PORT, plan.facts.after)
    disks.apply(PORT, plan)
    assert disks.facts_of(PORT, disks.state_of(PORT, bundle.directory)) == predicted
    assert all(naive(bundle, guid) == disks.read(PORT, bundle.directory, guid) == bundle.guest(guid) for guid in left)


def test_a_plain_root_is_not_copied_into_a_new_file(tmp_path: Path) -> None:
    bundle = build(tmp_path, [Layer(ONE, type="Plain"), Layer(TOP, ONE)])
    with pytest.raises(Unsupported):
        disks.merge(PORT, bundle.directory, strategy="copy")


# Layers of different lengths


@pytest.mark.parametrize(
    "lengths", [(4, 8, 8), (4, 4, 8), (8, 8, 4), (8, 4, 8), (4, 8, 6), (2, 4, 8), (8, 4, 6), (6, 2, 8)]
)
@pytest.mark.parametrize("removed", [[ONE], [TWO], [ONE, TWO]])
@pytest.mark.parametrize("strategy", ["auto", "in_place", "copy"])
def test_layers_that_end_early_read_zeros_beyond_their_end(
    tmp_path: Path, lengths: Any, removed: List[str], strategy: str
) -> None:
    """Lengths are clusters of the root, the middle and the top.

    A grow leaves lower layers short, a switch may leave the top short.
    """
    guids, parents = (ONE, TWO, TOP), (disks.NONE, ONE, TWO)
    layers = [
        Layer(guid, parent, filled(*range(seed, length, 2), seed=seed), size_sectors=length * SECTORS)
        for seed, (guid, parent, length) in enumerate(zip(guids, parents, lengths))
    ]
    bundle = build(tmp_path, layers)
    views = {guid: naive(bundle, guid) for guid in guids if guid not in removed}
    assert all(disks.read(PORT, bundle.directory, guid) == view for guid, view in views.items())
    plan = disks.plan_of_merge(PORT, bundle.directory, snapshots=removed, strategy=strategy)
    predicted = disks.facts_of(PORT, plan.facts.after)
    disks.apply(PORT, plan)
    assert {guid: naive(bundle, guid) for guid in views} == views
    assert {guid: disks.read(PORT, bundle.directory, guid) for guid in views} == views
    assert disks.facts_of(PORT, disks.state_of(PORT, bundle.directory)) == predicted


@pytest.mark.parametrize(
    "lengths",
    [
        (8 * SECTORS, 5 * SECTORS + 7, 8 * SECTORS),
        (8 * SECTORS, 8 * SECTORS, 5 * SECTORS + 7),
        (5 * SECTORS + 7, 8 * SECTORS, 8 * SECTORS),
    ],
)
@pytest.mark.parametrize("removed", [[ONE], [TWO], [ONE, TWO]])
def test_a_layer_that_ends_within_a_cluster_keeps_every_view_or_is_refused(
    tmp_path: Path, lengths: Any, removed: List[str]
) -> None:
    """Half of the cluster is the parent's and half reads as zeros: one table entry cannot say that."""
    guids, parents = (ONE, TWO, TOP), (disks.NONE, ONE, TWO)
    for held in ((), (5,), (4, 5)):
        layers = []
        for seed, (guid, parent, length) in enumerate(zip(guids, parents, lengths)):
            # Only what begins before the end is held, and the last cluster in full.
            indexes = [index for index in (range(8) if guid == ONE else held) if index * SECTORS < length]
            layers.append(Layer(guid, parent, filled(*indexes, seed=seed), size_sectors=length))
        # A port looks at a disk that is another one each time, so each has a folder of its own.
        folder = tmp_path / f"held{len(held)}"
        folder.mkdir()
        bundle = build(folder, layers)
        views = {guid: naive(bundle, guid) for guid in guids if guid not in removed}
        before = untouched(bundle.directory)
        try:
            disks.merge(PORT, bundle.directory, snapshots=removed)
        except Unsupported:
            assert untouched(bundle.directory) == before
        assert {guid: naive(bundle, guid) for guid in views} == views


@pytest.mark.parametrize("strategy", ["auto", "in_place", "copy"])
def test_a_short_receiver_that_grows_goes_on_hiding_what_lies_below_its_old_end(tmp_path: Path, strategy: str) -> None:
    layers = [
        Layer(ONE, clusters=filled(*range(8))),
        Layer(TWO, ONE, filled(0, 1, seed=1), size_sectors=4 * SECTORS),
        Layer(TOP, TWO, filled(5, seed=2)),
    ]
    bundle = build(tmp_path, layers)
    expected = {guid: naive(bundle, guid) for guid in (ONE, TOP)}
    assert expected[TOP][6 * CLUSTER :] == bytes(2 * CLUSTER)
    plan = disks.plan_of_merge(PORT, bundle.directory, snapshots=[TWO], strategy=strategy)
    predicted = disks.facts_of(PORT, plan.facts.after)
    disks.apply(PORT, plan)
    assert {guid: naive(bundle, guid) for guid in expected} == expected
    assert disks.facts_of(PORT, disks.state_of(PORT, bundle.directory)) == predicted


def test_a_plain_root_grows_when_it_takes_in_a_longer_layer(tmp_path: Path) -> None:
    layers = [
        Layer(ONE, clusters=filled(0, 1), type="Plain", size_sectors=2 * SECTORS),
        Layer(TOP, ONE, filled(1, 5, seed=1)),
    ]
    bundle = build(tmp_path, layers)
    expected = naive(bundle)
    plan = disks.plan_of_merge(PORT, bundle.directory)
    predicted = disks.facts_of(PORT, plan.facts.after)
    disks.apply(PORT, plan)
    assert naive(bundle) == disks.read(PORT, bundle.directory) == expected
    assert disks.facts_of(PORT, disks.state_of(PORT, bundle.directory)) == predicted


# Images outside


def clone(tmp_path: Path, *upper: Dict[int, bytes]) -> BuiltBundle:
    """A linked clone: its root is a frozen file of another virtual machine."""
    os.makedirs(tmp_path / "parent.hdd", exist_ok=True)
    chain = line_of_layers(filled(0, 1, 2, 3), *upper)
    root = Layer(chain[0].guid, clusters=chain[0].clusters, file=str(tmp_path / "parent.hdd" / "parent.hds"))
    return build(tmp_path, [root, *chain[1:]], name="clone.hdd")


@pytest.mark.parametrize("strategy", ["auto", "in_place", "copy"])
@pytest.mark.parametrize("removed", [None, [ONE], [TWO]])
def test_a_linked_clone_is_merged_upwards_and_the_outside_file_is_never_touched(
    tmp_path: Path, strategy: str, removed: Optional[List[str]]
) -> None:
    bundle = clone(tmp_path, filled(1, seed=1), filled(2, seed=2))
    outside = tmp_path / "parent.hdd"
    before, content = untouched(str(outside)), (outside / "parent.hds").read_bytes()
    plan = disks.merge(PORT, bundle.directory, snapshots=removed, strategy=strategy, allow_outside=True)
    assert str(outside / "parent.hds") not in plan.lock_files
    assert untouched(str(outside)) == before
    assert (outside / "parent.hds").read_bytes() == content
    assert naive(bundle) == bundle.guest(TOP)


def test_a_layer_with_nothing_but_outside_files_goes_into_a_new_one(tmp_path: Path) -> None:
    for name in ("one.hds", "two.hds"):
        (tmp_path / name).touch()
    layers = [
        Layer(ONE, clusters=filled(0, 1), file=str(tmp_path / "one.hds")),
        Layer(TWO, ONE, filled(1, seed=1), file=str(tmp_path / "two.hds")),
        Layer(TOP, TWO),
    ]
    bundle = build(tmp_path, layers)
    expected = {guid: naive(bundle, guid) for guid in (TWO, TOP)}
    with pytest.raises(Unsupported):
        disks.merge(PORT, bundle.directory, snapshots=[ONE], strategy="in_place", allow_outside=True)
    outside = [(tmp_path / name).read_bytes() for name in ("one.hds", "two.hds")]
    disks.merge(PORT, bundle.directory, snapshots=[ONE], allow_outside=True)
    assert {guid: naive(bundle, guid) for guid in (TWO, TOP)} == expected
    assert [(tmp_path / name).read_bytes() for name in ("one.hds", "two.hds")] == outside


# Refusals


def test_layers_of_different_cluster_sizes_are_refused(tmp_path: Path) -> None:
    bundle = build(tmp_path, line_of_layers(filled(0), filled(1)))
    os.remove(bundle.files[(0, TOP)])
    build_hds(bundle.files[(0, TOP)], size_sectors=8 * SECTORS, clusters={0: b"x" * 512}, cluster_sectors=64)
    before = untouched(bundle.directory)
    with pytest.raises(Unsupported) as caught:
        disks.merge(PORT, bundle.directory)
    assert caught.value.found == [32768, 65536]
    assert untouched(bundle.directory) == before


def test_an_encrypted_disk_is_refused(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    with open(bundle.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(bundle.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace("<Engine>{00000000", "<Engine>{00000001"))
    with pytest.raises(Encrypted):
        disks.merge(PORT, bundle.directory)


@pytest.mark.parametrize("guid", [ONE, TOP])
def test_a_dirty_layer_is_refused(tmp_path: Path, guid: str) -> None:
    bundle = line(tmp_path)
    marked = disks.marked_in_use(PORT, bundle.directory, guid)
    before = untouched(bundle.directory)
    with pytest.raises(Dirty) as caught:
        disks.merge(PORT, bundle.directory)
    assert caught.value.path == marked
    assert untouched(bundle.directory) == before


def test_force_merges_a_dirty_disk_and_leaves_it_clean(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    disks.marked_in_use(PORT, bundle.directory, ONE)
    state = disks.state_of(PORT, bundle.directory)
    disks.apply(PORT, plan_merge(PORT, state, choose_removals(state, max_layers=1), force=True))
    assert naive(bundle) == bundle.guest(TOP)
    assert not disks.state_of(PORT, bundle.directory).layer(TOP)[0].is_dirty


def test_a_dirty_receiver_is_closed_even_when_nothing_moves(tmp_path: Path) -> None:
    bundle = build(tmp_path, line_of_layers(filled(0, 1), {}))
    disks.marked_in_use(PORT, bundle.directory, ONE)
    plan = plan_merge(PORT, disks.state_of(PORT, bundle.directory), [ONE], force=True)
    predicted = disks.facts_of(PORT, plan.facts.after)
    disks.apply(PORT, plan)
    assert disks.facts_of(PORT, disks.state_of(PORT, bundle.directory)) == predicted
    assert predicted["state"] == "clean"


def planted(bundle: BuiltBundle) -> MemoryPort:
    """The bundle in memory, at the same place."""
    port = MemoryPort()
    for name in os.listdir(bundle.directory):
        with open(os.path.join(bundle.directory, name), "rb") as stream:
            port.plant_file(f"{bundle.directory}/{name}", stream.read())
    return port


def test_what_somebody_holds_is_refused(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    port = planted(bundle)
    port.plant_holder(bundle.files[(0, TWO)], Holder("write", "qemu (7)"))
    before = len(port.effects)
    with pytest.raises(InUse):
        disks.merge(port, bundle.directory)
    assert len(port.effects) == before


@pytest.mark.parametrize("strategy", ["in_place", "copy"])
def test_no_room_is_found_before_the_first_write(tmp_path: Path, strategy: str) -> None:
    bundle = line(tmp_path)
    port = planted(bundle)
    port.set_free_space(CLUSTER)
    before = len(port.effects)
    with pytest.raises(NoSpace):
        disks.merge(port, bundle.directory, strategy=strategy)
    assert len(port.effects) == before


def test_holes_of_a_plain_root_that_are_to_be_filled_need_room(tmp_path: Path) -> None:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, "/vm/a.hdd", kind="plain")
    disks.write(port, "/vm/a.hdd", 0, b"x" * 150_000)
    disks.take(port, "/vm/a.hdd", ONE)
    disks.write(port, "/vm/a.hdd", 200_000, b"y" * 60_000)
    plan = disks.plan_of_merge(port, "/vm/a.hdd")
    assert plan.facts.after.layer(TOP)[0].kind == "plain"
    port.set_free_space(50_000)
    before = len(port.effects)
    with pytest.raises(NoSpace):
        disks.apply(port, plan)
    assert len(port.effects) == before
    port.set_free_space(100_000)
    disks.apply(port, plan)
    assert disks.read_naively(port, "/vm/a.hdd") == b"x" * 150_000 + bytes(50_000) + b"y" * 60_000 + bytes(2144)


def test_a_disk_that_was_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    plan = disks.plan_of_merge(PORT, bundle.directory)
    disks.write(PORT, bundle.directory, 0, b"changed")
    before = untouched(bundle.directory)
    with pytest.raises(StalePlan):
        disks.apply(PORT, plan)
    assert untouched(bundle.directory) == before


# The format extension


def with_bitmap(bundle: BuiltBundle, guid: str, *features: Any) -> str:
    """Put a valid extension at the end of an image."""
    path = bundle.files[(0, guid)]
    size = os.path.getsize(path)
    known = features or ((0x20385FAE252CB34A, 0, pack_bitmap(size_sectors=8 * SECTORS, granularity=128, clusters=[1])),)
    with open(path, "r+b") as stream:
        stream.seek(size)
        stream.write(pack_extension(known, cluster_bytes=CLUSTER))
        stream.seek(44)
        stream.write(b"v2.1")
        stream.seek(56)
        stream.write((size // 512).to_bytes(8, "little"))
    return path


def _warned(plan: Plan) -> List[str]:
    return [text for text in plan.warnings if "bitmap" in text or "extension" in text]


@pytest.mark.parametrize("guid", [ONE, TOP], ids=["of the file that changes", "of the file that goes"])
def test_dirty_bitmaps_are_dropped_with_a_warning(tmp_path: Path, guid: str) -> None:
    bundle = build(tmp_path, line_of_layers(filled(0, 1, 2, 3), filled(1, seed=1)))
    path = with_bitmap(bundle, guid)
    assert disks.state_of(PORT, bundle.directory).layer(guid)[0].extension is not None
    plan = disks.merge(PORT, bundle.directory)
    assert [path in text for text in _warned(plan)] == [True]
    image = disks.state_of(PORT, bundle.directory).layer(TOP)[0]
    assert image.extension is None and image.header is not None and image.header.ext_off == 0
    assert naive(bundle) == bundle.guest(TOP)


def test_a_file_that_stays_as_it_is_keeps_its_bitmaps(tmp_path: Path) -> None:
    bundle = build(tmp_path, line_of_layers(filled(0, 1, 2, 3), {}))
    with_bitmap(bundle, ONE)
    assert _warned(disks.merge(PORT, bundle.directory)) == []
    assert disks.state_of(PORT, bundle.directory).layer(TOP)[0].extension is not None


# Failures on the way


@pytest.mark.parametrize("strategy", ["in_place", "copy"])
def test_a_failure_at_any_call_keeps_every_view_and_a_further_run_ends_it(tmp_path: Path, strategy: str) -> None:
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import recover

    bundle = build(tmp_path, line_of_layers(filled(0, 1), filled(1, 2, seed=1), filled(2, seed=2)))
    scene = planted(bundle)
    number = failures = 0
    while True:
        number += 1
        port = MemoryPort(scene.tree.fork())
        plan = disks.plan_of_merge(port, bundle.directory, snapshots=[TWO], strategy=strategy)
        calls = len(port.calls)
        port.fail_call(number, "EIO", partial=100)
        try:
            disks.apply(port, plan)
        except DiskError:
            failures += 1
            assert disks.read_naively(port, bundle.directory) == bundle.guest(TOP), number
            assert disks.read_naively(port, bundle.directory, ONE) == bundle.guest(ONE), number
            recover(port, locate(port, bundle.directory))
            assert (
                disks.read_naively(port, bundle.directory) == disks.read(port, bundle.directory) == bundle.guest(TOP)
            ), number
            disks.merge(port, bundle.directory, snapshots=[TWO], strategy=strategy)
        if len(port.calls) - calls < number:
            break
        assert disks.read_naively(port, bundle.directory) == bundle.guest(TOP), number
        assert len([path for path in port.listing() if path.endswith(".hds")]) == 2, number
        assert not [path for path in port.listing() if ".vdisk-" in path], number
    assert failures > 30

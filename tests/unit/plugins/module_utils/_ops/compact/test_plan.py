# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compacting: files become shorter, views stay, and a second run finds nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Dirty,
    DiskError,
    Encrypted,
    Interrupted,
    NoSpace,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import METADATA, ZEROS, plan_compact
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
ONE = guid_of(1)
ZERO = bytes(CLUSTER)
BITMAP = 0x20385FAE252CB34A


def filled(*indexes: int, seed: int = 0) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER, seed) for index in indexes}


def build(tmp_path: Path, layers: List[Layer], *, size_sectors: int = 8 * SECTORS, **options: Any) -> BuiltBundle:
    return build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=size_sectors, layers=layers, cluster_sectors=SECTORS, **options
    )


def single(tmp_path: Path, clusters: Dict[int, bytes], **options: Any) -> str:
    """A bundle whose only image is made by ``build_hds`` with ``options``."""
    bundle = build(tmp_path, line_of_layers({}), size_sectors=options.pop("size_sectors", 8 * SECTORS))
    build_hds(
        bundle.files[(0, TOP)], size_sectors=bundle.size_sectors, clusters=clusters, cluster_sectors=SECTORS, **options
    )
    return bundle.directory


def size_of(path: str, guid: str = TOP) -> int:
    return sum(os.path.getsize(part.chain[0][0]) for part in disks.parts_of(PORT, path, guid))


def check(path: str, *, freed: int, scan: str = ZEROS) -> Any:
    """Compact, and compare what was predicted, what happened and what the guest sees."""
    guids = disks.guids_of(PORT, path)
    views = {guid: disks.read_naively(PORT, path, guid) for guid in guids}
    sizes = sum(size_of(path, guid) for guid in guids)
    plan = plan_compact(PORT, disks.state_of(PORT, path), scan=scan)
    predicted = disks.facts_of(PORT, plan.facts.after)
    disks.apply(PORT, plan)
    assert disks.facts_of(PORT, disks.state_of(PORT, path)) == predicted
    assert {guid: disks.read_naively(PORT, path, guid) for guid in guids} == views
    assert {guid: disks.read(PORT, path, guid) for guid in guids} == views
    assert sizes - sum(size_of(path, guid) for guid in guids) == plan.facts.reclaimable == freed
    assert plan_compact(PORT, disks.state_of(PORT, path), scan=scan).is_empty
    return plan


# What is given back


def test_zero_clusters_of_a_root_go_and_those_behind_them_move_up(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(0, 2, 5), 1: ZERO, 3: ZERO}, order=[1, 0, 3, 2, 5])
    plan = check(path, freed=2 * CLUSTER)
    assert plan.bytes_written == 2 * CLUSTER
    assert disks.state_of(PORT, path).layer(TOP)[0].used_clusters == 3


def test_a_disk_of_nothing_but_zeros_comes_down_to_its_header(tmp_path: Path) -> None:
    path = single(tmp_path, dict.fromkeys(range(8), ZERO))
    check(path, freed=8 * CLUSTER)
    assert size_of(path) == CLUSTER


def test_metadata_alone_finds_what_no_entry_names(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(0, 1, 2), 3: ZERO}, gaps=[0, 2, 6])
    plan = check(path, freed=3 * CLUSTER, scan=METADATA)
    assert plan.bytes_scanned == 0
    assert disks.state_of(PORT, path).layer(TOP)[0].used_clusters == 4


def test_both_are_found_in_one_run(tmp_path: Path) -> None:
    check(single(tmp_path, {**filled(0, 1, 2), 3: ZERO}, gaps=[0, 2, 6]), freed=4 * CLUSTER)


def test_a_tail_behind_the_last_cluster_is_cut_off(tmp_path: Path) -> None:
    check(single(tmp_path, filled(0), tail=b"\xee" * (3 * CLUSTER + 100)), freed=3 * CLUSTER + 100)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
@pytest.mark.parametrize("zero", range(4))
@pytest.mark.parametrize("version", [1, 2])
def test_clusters_in_any_order_are_moved_rightly(tmp_path: Path, order: List[int], zero: int, version: int) -> None:
    clusters = {index: ZERO if index == zero else fill(index, CLUSTER) for index in range(4)}
    check(single(tmp_path, clusters, order=order, version=version, gaps=[1]), freed=2 * CLUSTER)


@pytest.mark.parametrize("data_off", [0, 1, 77, SECTORS + 3])
def test_a_data_area_off_the_grid_of_the_file_keeps_its_start(tmp_path: Path, data_off: int) -> None:
    path = single(tmp_path, {**filled(1, 2), 0: ZERO}, data_off=data_off)
    start = disks.state_of(PORT, path).layer(TOP)[0].header.data_start  # type: ignore[union-attr]
    check(path, freed=CLUSTER)
    assert size_of(path) == start + 2 * CLUSTER


def test_a_last_cluster_that_is_cut_short_in_guest_and_file_moves_as_it_is(tmp_path: Path) -> None:
    size = 3 * SECTORS + 5
    path = single(
        tmp_path,
        {0: ZERO, 1: ZERO, 2: fill(2, CLUSTER), 3: fill(3, 5 * 512)},
        size_sectors=size,
        file_size=4 * CLUSTER + 5 * 512,
    )
    check(path, freed=CLUSTER + 5 * 512)


def test_only_what_the_guest_sees_of_the_last_cluster_must_be_zero(tmp_path: Path) -> None:
    path = single(tmp_path, {3: bytes(5 * 512) + b"\xee" * (CLUSTER - 5 * 512)}, size_sectors=3 * SECTORS + 5)
    check(path, freed=CLUSTER)


def test_every_part_and_every_layer_is_compacted(tmp_path: Path) -> None:
    layers = line_of_layers({**filled(0, 5), 2: ZERO, 6: ZERO}, {**filled(1), 3: ZERO, 7: ZERO})
    check(build(tmp_path, layers, split=[4 * SECTORS, 4 * SECTORS]).directory, freed=4 * CLUSTER)


# What stays


def test_a_zero_cluster_that_hides_data_stays(tmp_path: Path) -> None:
    bundle = build(tmp_path, line_of_layers(filled(0, 1), {0: ZERO, 2: ZERO, 3: ZERO}, {3: ZERO}))
    check(bundle.directory, freed=3 * CLUSTER)
    state = disks.state_of(PORT, bundle.directory)
    assert [run.cluster for run in state.layer(guid_of(2))[0].table.runs()] == [0]  # type: ignore[union-attr]


def test_a_zero_cluster_over_zeros_that_are_stored_goes_in_one_run_with_them(tmp_path: Path) -> None:
    check(build(tmp_path, line_of_layers({0: ZERO}, {0: ZERO}, {0: ZERO})).directory, freed=3 * CLUSTER)


def test_zeros_that_hide_data_in_a_part_of_a_cluster_stay(tmp_path: Path) -> None:
    check(build(tmp_path, line_of_layers({0: bytes(CLUSTER - 1) + b"x"}, {0: ZERO})).directory, freed=0)


def test_a_zero_cluster_below_other_branches_is_judged_by_what_lies_below_it(tmp_path: Path) -> None:
    layers = [
        Layer(ONE, clusters={0: ZERO, 1: fill(1, CLUSTER)}),
        Layer(TOP, ONE, {1: ZERO}),
        Layer(guid_of(2), ONE, {0: fill(0, CLUSTER, 2), 1: ZERO}),
    ]
    check(build(tmp_path, layers).directory, freed=CLUSTER)


def test_a_short_layer_does_not_make_a_zero_cluster_above_its_end_needed(tmp_path: Path) -> None:
    layers = [Layer(ONE, clusters=filled(0, 1), size_sectors=2 * SECTORS), Layer(TOP, ONE, {1: ZERO, 5: ZERO})]
    check(build(tmp_path, layers).directory, freed=CLUSTER)


def test_a_preallocated_disk_keeps_its_zeros(tmp_path: Path) -> None:
    path = str(tmp_path / "a.hdd")
    disks.new_disk(PORT, path, preallocate=True)
    disks.write(PORT, path, 0, b"x")
    assert plan_compact(PORT, disks.state_of(PORT, path)).is_empty


def test_a_plain_image_has_nothing_to_give(tmp_path: Path) -> None:
    path = str(tmp_path / "a.hdd")
    disks.new_disk(PORT, path, kind="plain")
    assert plan_compact(PORT, disks.state_of(PORT, path)).is_empty


def test_an_outside_image_is_neither_changed_nor_counted(tmp_path: Path) -> None:
    outside = tmp_path / "parent.hds"
    bundle = build(
        tmp_path,
        [Layer(ONE, clusters={0: ZERO, 1: fill(1, CLUSTER)}, file=str(outside)), Layer(TOP, ONE, {0: ZERO, 1: ZERO})],
    )
    before = outside.read_bytes()
    state = disks.state_of(PORT, bundle.directory, allow_outside=True)
    plan = plan_compact(PORT, state)
    disks.apply(PORT, plan)
    assert outside.read_bytes() == before
    assert plan.facts.reclaimable == CLUSTER
    assert str(outside) not in plan.lock_files


# When it is worth while


def test_less_than_the_threshold_is_left(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(0), 1: ZERO, 2: ZERO})
    state = disks.state_of(PORT, path)
    plan = plan_compact(PORT, state, threshold=2 * CLUSTER + 1)
    assert plan.is_empty and plan.facts.reclaimable == 2 * CLUSTER and plan.facts.after is state
    assert not plan_compact(PORT, state, threshold=2 * CLUSTER).is_empty


def test_less_than_a_cluster_is_left_by_default(tmp_path: Path) -> None:
    path = single(tmp_path, filled(0), tail=b"x" * (CLUSTER - 1))
    assert plan_compact(PORT, disks.state_of(PORT, path)).is_empty
    assert not plan_compact(PORT, disks.state_of(PORT, path), threshold=1).is_empty


# The format extension


def with_extension(path: str, *features: Any, at: int) -> None:
    """Put a valid extension into the slot ``at`` of the image, which must be free."""
    file = disks.file_of(PORT, path)
    offset = CLUSTER + at * CLUSTER
    disks.patch(PORT, file, offset, pack_extension(features, cluster_bytes=CLUSTER))
    disks.patch(PORT, file, 44, b"v2.1")
    disks.patch(PORT, file, 56, (offset // 512).to_bytes(8, "little"))


def test_bitmaps_keep_their_place_and_stay_valid(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(0, 3, 5), 1: ZERO, 2: ZERO}, gaps=[3, 4], order=[1, 2, 0, 3, 5])
    bits = CLUSTER + 3 * CLUSTER
    with_extension(
        path, (BITMAP, 0, pack_bitmap(size_sectors=8 * SECTORS, granularity=128, clusters=[bits // 512])), at=4
    )
    file = disks.file_of(PORT, path)
    with open(file, "rb") as stream:
        pinned = stream.read()[bits : bits + 2 * CLUSTER]
    check(path, freed=2 * CLUSTER)
    extension = disks.state_of(PORT, path).layer(TOP)[0].extension
    assert extension is not None and extension.pinned == ((bits, bits + CLUSTER), (bits + CLUSTER, bits + 2 * CLUSTER))
    with open(file, "rb") as stream:
        assert stream.read()[bits : bits + 2 * CLUSTER] == pinned


def test_a_pinned_cluster_at_the_end_keeps_the_file_from_being_cut(tmp_path: Path) -> None:
    path = single(tmp_path, {0: ZERO, 1: ZERO}, gaps=[2])
    with_extension(path, (BITMAP, 0, pack_bitmap(size_sectors=8 * SECTORS, granularity=128, clusters=[1])), at=2)
    assert plan_compact(PORT, disks.state_of(PORT, path)).is_empty


def test_an_extension_of_unknown_content_is_refused_but_only_when_something_would_move(tmp_path: Path) -> None:
    path = single(tmp_path, {0: ZERO, 1: fill(1, CLUSTER)}, gaps=[0])
    with_extension(path, (0x1234, 2, b"somebody's data"), at=0)
    with pytest.raises(Unsupported) as caught:
        plan_compact(PORT, disks.state_of(PORT, path))
    assert caught.value.offset == CLUSTER
    assert plan_compact(PORT, disks.state_of(PORT, path), scan=METADATA).is_empty


# Refusals and failures


def test_encrypted_data_are_not_looked_at_but_leaks_at_the_end_go(tmp_path: Path) -> None:
    path = single(tmp_path, filled(0, 1, 2))
    disks.leak(PORT, path, index=2)
    with open(f"{path}/DiskDescriptor.xml", encoding="utf-8") as stream:
        text = stream.read()
    with open(f"{path}/DiskDescriptor.xml", "w", encoding="utf-8") as stream:
        stream.write(text.replace("<Engine>{00000000", "<Engine>{00000001"))
    with pytest.raises(Encrypted):
        plan_compact(PORT, disks.state_of(PORT, path))
    plan = disks.compact(PORT, path, scan=METADATA)
    assert plan.facts.reclaimable == CLUSTER
    assert disks.read_naively(PORT, path)[: 2 * CLUSTER] == fill(0, CLUSTER) + fill(1, CLUSTER)


@pytest.mark.parametrize("force", [False, True])
def test_a_dirty_disk_is_compacted_only_by_force(tmp_path: Path, force: bool) -> None:
    path = single(tmp_path, {**filled(1), 0: ZERO})
    disks.marked_in_use(PORT, path)
    if not force:
        with pytest.raises(Dirty):
            disks.compact(PORT, path)
        return
    expected = disks.read_naively(PORT, path)
    disks.compact(PORT, path, force=True)
    assert disks.read_naively(PORT, path) == expected
    assert not disks.state_of(PORT, path).layer(TOP)[0].is_dirty


def test_a_change_of_version_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        disks.compact(PORT, single(tmp_path, {0: ZERO}, flags=2), force=True)


def test_the_flag_of_an_image_that_was_never_written_is_cleared(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(1), 0: ZERO}, flags=1)
    check(path, freed=CLUSTER)
    assert disks.state_of(PORT, path).layer(TOP)[0].header.flags == 0  # type: ignore[union-attr]


def test_a_disk_that_was_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(1), 0: ZERO})
    plan = plan_compact(PORT, disks.state_of(PORT, path))
    disks.write(PORT, path, 0, b"not zero any more")
    with pytest.raises(StalePlan):
        disks.apply(PORT, plan)
    assert disks.read_naively(PORT, path)[:17] == b"not zero any more"


def test_a_single_file_image_is_compacted_too(tmp_path: Path) -> None:
    path = str(tmp_path / "old.hdd")
    build_hds(path, size_sectors=8 * SECTORS, clusters={**filled(1), 0: ZERO}, cluster_sectors=SECTORS)
    expected = disks.read(PORT, path)
    disks.compact(PORT, path)
    assert os.path.getsize(path) == 2 * CLUSTER
    assert disks.read(PORT, path) == expected
    assert os.listdir(tmp_path) == ["old.hdd"]


def test_a_full_file_system_is_no_hindrance_but_for_the_journal(tmp_path: Path) -> None:
    port = _scene(single(tmp_path, {**filled(1, 2), 0: ZERO}))
    path = str(tmp_path / "a.hdd")
    port.set_free_space(1 << 12)
    before = len(port.effects)
    with pytest.raises(NoSpace):
        disks.compact(port, path)
    assert len(port.effects) == before
    port.set_free_space(1 << 16)
    disks.compact(port, path)


def _scene(path: str) -> MemoryPort:
    port = MemoryPort()
    for name in os.listdir(path):
        with open(os.path.join(path, name), "rb") as stream:
            port.plant_file(f"{path}/{name}", stream.read())
    return port


def test_a_failure_at_any_call_keeps_every_view_and_a_further_run_ends_it(tmp_path: Path) -> None:
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import recover

    layers = line_of_layers({**filled(1, 4), 0: ZERO}, {**filled(3, seed=1), 1: ZERO, 2: ZERO})
    bundle = build(tmp_path, layers)
    path, scene = bundle.directory, _scene(bundle.directory)
    views = {guid: bundle.guest(guid) for guid in (ONE, TOP)}
    number = failures = 0
    while True:
        number += 1
        port = MemoryPort(scene.tree.fork())
        plan = plan_compact(port, disks.state_of(port, path))
        calls = len(port.calls)
        port.fail_call(number, "EIO", partial=600)
        try:
            disks.apply(port, plan)
        except DiskError:
            failures += 1
            assert {guid: disks.read_naively(port, path, guid) for guid in views} == views, number
            recover(port, locate(port, path))
            disks.compact(port, path)
        if len(port.calls) - calls < number:
            break
        assert {guid: disks.read_naively(port, path, guid) for guid in views} == views, number
        assert plan_compact(port, disks.state_of(port, path)).is_empty
        assert not [name for name in port.listing() if ".vdisk-" in name], number
    assert failures > 30

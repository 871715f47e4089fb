# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every strategy gives back what it says, keeps every view, and has nothing to do in a second run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Encrypted,
    InUse,
    NoSpace,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import CopyRanges, Plan, PunchHoles
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import METADATA, ZEROS, plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.savings import COPY, IN_PLACE, PUNCH, summary
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import needs_recovery
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
CLUSTER = 128 << 10
SECTORS = CLUSTER // 512
ONE = guid_of(1)
ZERO = bytes(CLUSTER)
STRATEGIES = (IN_PLACE, COPY, PUNCH)


def filled(*indexes: int, seed: int = 0) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER, seed) for index in indexes}


def build(tmp_path: Path, layers: List[Layer], *, size_sectors: int = 8 * SECTORS, **options: Any) -> BuiltBundle:
    return build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=size_sectors, layers=layers, cluster_sectors=SECTORS, **options
    )


def single(tmp_path: Path, clusters: Dict[int, bytes], **options: Any) -> str:
    """A bundle whose only image is made by ``build_hds`` with ``options``."""
    bundle = build(tmp_path, line_of_layers({}))
    build_hds(
        bundle.files[(0, TOP)], size_sectors=bundle.size_sectors, clusters=clusters, cluster_sectors=SECTORS, **options
    )
    return bundle.directory


def files_of(path: str) -> List[str]:
    return sorted(
        {
            file
            for guid in disks.guids_of(PORT, path)
            for part in disks.parts_of(PORT, path, guid)
            for file, _is_plain in part.chain
        }
    )


def check(path: str, strategy: str, *, freed: Optional[int] = None, scan: str = ZEROS, threshold: int = 1) -> Plan:
    """Compact, and compare what was predicted, what happened and what the guest sees."""
    guids, files = disks.guids_of(PORT, path), files_of(path)
    views = {guid: disks.read_naively(PORT, path, guid) for guid in guids}
    before = [os.stat(file) for file in files]
    plan = plan_compact(PORT, disks.state_of(PORT, path), scan=scan, strategy=strategy, threshold=threshold)
    predicted = disks.facts_of(PORT, plan.facts.after)
    outcome = disks.apply(PORT, plan)
    assert disks.facts_of(PORT, disks.state_of(PORT, path)) == predicted
    assert {guid: disks.read_naively(PORT, path, guid) for guid in guids} == views
    assert {guid: disks.read(PORT, path, guid) for guid in guids} == views
    assert files_of(path) == files and not needs_recovery(disks.state_of(PORT, path))
    after = [os.stat(file) for file in files]
    assert [stat.st_mode for stat in after] == [stat.st_mode for stat in before]
    assert outcome.bytes_written == plan.bytes_written and outcome.bytes_read + plan.bytes_scanned == plan.bytes_read
    given = sum(stat.st_size for stat in before) - sum(stat.st_size for stat in after)
    blocks = 512 * (sum(stat.st_blocks for stat in before) - sum(stat.st_blocks for stat in after))
    if strategy == PUNCH:
        assert given == 0
        # The host's own tables may take a block or two.
        assert plan.facts.reclaimable - 4 * 4096 <= blocks <= plan.facts.reclaimable
    elif not any(image.header is None for image in disks.state_of(PORT, path).images.values()):
        assert given == plan.facts.reclaimable
    assert freed is None or plan.facts.reclaimable == freed
    again = plan_compact(PORT, disks.state_of(PORT, path), scan=scan, strategy=strategy, threshold=1)
    assert again.is_empty and again.facts.reclaimable == 0
    return plan


def reasons(plan: Plan) -> Dict[str, Any]:
    told = summary(plan.facts.savings, reclaimed=True, scan=ZEROS)["by_reason"]
    return {reason: size // 4096 * 4096 // CLUSTER for reason, size in told.items() if size is not None}


@pytest.fixture(name="strategy", params=STRATEGIES)
def strategy_fixture(request: pytest.FixtureRequest) -> str:
    return request.param


# What all strategies have in common


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("split", [None, [3 * SECTORS, 5 * SECTORS]])
def test_all_reasons_are_told_apart_and_what_they_name_is_given_back(
    tmp_path: Path, strategy: str, version: int, split: Optional[List[int]]
) -> None:
    base = {**filled(0, 3, 4, 6), 1: ZERO}
    layers = line_of_layers(base, {0: base[0], 3: base[3], 1: ZERO, **filled(2, 4, 5, seed=1)})
    bundle = build(tmp_path, layers, version=version, split=split)
    disks.leak(PORT, bundle.directory, index=2)
    plan = check(bundle.directory, strategy, freed=5 * CLUSTER)
    assert reasons(plan) == {"leaked": 1, "zero": 2, "equal": 2}


def test_leaks_alone_go_without_a_look_at_the_data(tmp_path: Path, strategy: str) -> None:
    plan = check(
        single(tmp_path, {**filled(0, 1, 2), 3: ZERO}, gaps=[0, 2, 6]), strategy, freed=3 * CLUSTER, scan=METADATA
    )
    assert plan.bytes_scanned == 0


def test_the_leaks_of_an_encrypted_disk_go(tmp_path: Path, strategy: str) -> None:
    path = single(tmp_path, filled(0, 1), gaps=[0])
    with open(f"{path}/DiskDescriptor.xml", encoding="utf-8") as stream:
        text = stream.read()
    with open(f"{path}/DiskDescriptor.xml", "w", encoding="utf-8") as stream:
        stream.write(text.replace("<Engine>{00000000", "<Engine>{00000001"))
    with pytest.raises(Encrypted):
        plan_compact(PORT, disks.state_of(PORT, path), strategy=strategy)
    if strategy == PUNCH:
        plan = disks.compact(PORT, path, scan=METADATA, strategy=strategy)
        assert plan.facts.reclaimable == CLUSTER
    else:
        # Ciphertext is not moved: what the cipher goes by is not known.
        with pytest.raises(Encrypted):
            plan_compact(PORT, disks.state_of(PORT, path), scan=METADATA, strategy=strategy)
    assert disks.read_naively(PORT, path)[: 2 * CLUSTER] == fill(0, CLUSTER) + fill(1, CLUSTER)


def test_a_threshold_counts_what_the_strategy_gives(tmp_path: Path, strategy: str) -> None:
    path = single(tmp_path, {**filled(0), 1: ZERO, 2: ZERO})
    assert plan_compact(PORT, disks.state_of(PORT, path), strategy=strategy, threshold=2 * CLUSTER + 1).is_empty
    check(path, strategy, freed=2 * CLUSTER, threshold=2 * CLUSTER)


def test_a_branch_keeps_what_only_it_holds(tmp_path: Path, strategy: str) -> None:
    base = filled(0, 1, 2)
    layers = [
        Layer(ONE, clusters=base),
        Layer(TOP, ONE, {0: base[0], 1: ZERO}),
        Layer(guid_of(2), ONE, {0: base[1], 1: base[1], 2: base[2]}),
    ]
    check(build(tmp_path, layers).directory, strategy, freed=(4 if strategy == PUNCH else 3) * CLUSTER)


def test_a_disk_that_is_dirty_is_closed_when_forced(tmp_path: Path, strategy: str) -> None:
    path = single(tmp_path, {**filled(1), 0: ZERO})
    disks.marked_in_use(PORT, path)
    expected = disks.read_naively(PORT, path)
    disks.compact(PORT, path, strategy=strategy, force=True)
    assert disks.read_naively(PORT, path) == expected
    assert not disks.state_of(PORT, path).layer(TOP)[0].is_dirty


@pytest.mark.parametrize("size", [8 * SECTORS, 3 * SECTORS + 5])
def test_a_single_file_disk_is_compacted_where_it_lies(tmp_path: Path, strategy: str, size: int) -> None:
    path = str(tmp_path / "old.hdd")
    build_hds(path, size_sectors=size, clusters={**filled(1, 3), 0: ZERO}, cluster_sectors=SECTORS, gaps=[1])
    os.chmod(path, 0o640)
    expected = disks.read(PORT, path)
    plan = disks.compact(PORT, path, strategy=strategy)
    assert plan.facts.reclaimable == 2 * CLUSTER
    assert disks.read(PORT, path) == expected
    assert os.listdir(tmp_path) == ["old.hdd"] and os.stat(path).st_mode & 0o777 == 0o640
    assert plan_compact(PORT, disks.state_of(PORT, path), strategy=strategy).is_empty


def test_an_outside_image_is_never_touched(tmp_path: Path, strategy: str) -> None:
    outside = tmp_path / "parent.hds"
    held = filled(1)
    bundle = build(
        tmp_path, [Layer(ONE, clusters={0: ZERO, **held}, file=str(outside)), Layer(TOP, ONE, {0: ZERO, **held})]
    )
    before = outside.read_bytes(), os.stat(outside).st_blocks
    plan = plan_compact(PORT, disks.state_of(PORT, bundle.directory, allow_outside=True), strategy=strategy)
    assert str(outside) not in plan.lock_files
    disks.apply(PORT, plan)
    assert (outside.read_bytes(), os.stat(outside).st_blocks) == before
    assert plan.facts.reclaimable == 2 * CLUSTER


@pytest.mark.parametrize("change", ["content", "temporary"])
def test_a_disk_that_was_changed_meanwhile_is_left_alone(tmp_path: Path, strategy: str, change: str) -> None:
    path = single(tmp_path, {**filled(1), 0: ZERO})
    plan = plan_compact(PORT, disks.state_of(PORT, path), strategy=strategy)
    if change == "content":
        disks.write(PORT, path, 0, b"not zero any more")
    elif strategy == COPY:
        (tmp_path / "a.hdd" / f".a.hdd.0.{TOP}.hds.vdisk-compact.tmp").write_bytes(b"")
    else:
        return
    with pytest.raises(StalePlan):
        disks.apply(PORT, plan)


# In place


def test_holes_within_moved_clusters_stay_holes_and_old_bytes_do_not_show(tmp_path: Path) -> None:
    sparse = {index: fill(index, 4096) for index in (1, 2, 3)}
    path = single(tmp_path, {0: ZERO, **sparse}, gaps=[1])
    file = disks.file_of(PORT, path)
    # The gap that is filled holds old bytes, the other place was a hole.
    before = os.stat(file).st_blocks
    plan = check(path, IN_PLACE, freed=2 * CLUSTER)
    assert os.stat(file).st_blocks <= before
    moves = [move for step in plan.steps if isinstance(step, CopyRanges) for move in step.moves]
    assert sum(move.length for move in moves if move.source is not None) <= 2 * 8192


# A fresh copy


def test_a_copy_lies_in_the_order_of_the_guest(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(0, 1, 2, 5), 3: ZERO}, order=[5, 2, 3, 0, 1], gaps=[1], tail=b"\xee" * 100)
    check(path, COPY, freed=2 * CLUSTER + 100)
    assert [(run.cluster, run.count) for run in disks.state_of(PORT, path).layer(TOP)[0].table.runs()] == [
        (0, 3),
        (5, 1),
    ]  # type: ignore[union-attr]


def test_a_copy_keeps_holes_and_what_nobody_sees_does_not_come_along(tmp_path: Path) -> None:
    bundle = build(tmp_path, line_of_layers({}), size_sectors=3 * SECTORS + 8)
    file = bundle.files[(0, TOP)]
    clusters = {0: fill(0, 4096), 3: fill(3, 4096) + b"\xee" * (CLUSTER - 4096)}
    build_hds(file, size_sectors=3 * SECTORS + 8, clusters=clusters, cluster_sectors=SECTORS, gaps=[0, 1])
    check(bundle.directory, COPY, freed=2 * CLUSTER)
    with open(file, "rb") as stream:
        assert b"\xee" not in stream.read()
    assert os.stat(file).st_blocks * 512 <= 5 * 4096


@pytest.mark.parametrize("data_off", [0, 1, 77, SECTORS + 3])
def test_a_copy_puts_the_data_area_where_writers_put_it(tmp_path: Path, data_off: int) -> None:
    path = single(tmp_path, {**filled(1, 2), 0: ZERO, 3: ZERO, 4: ZERO}, data_off=data_off)
    check(path, COPY)
    header = disks.state_of(PORT, path).layer(TOP)[0].header
    assert header is not None and header.data_start == CLUSTER


def test_a_copy_that_would_be_no_shorter_is_not_made(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(1), 0: ZERO}, data_off=1)
    assert plan_compact(PORT, disks.state_of(PORT, path), strategy=COPY).is_empty


def test_room_for_a_copy_is_checked_before_the_first_step(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(1, 2, 3), 0: ZERO})
    port = MemoryPort()
    for name in os.listdir(path):
        with open(os.path.join(path, name), "rb") as stream:
            port.plant_file(f"{path}/{name}", stream.read())
    port.set_free_space(3 * CLUSTER)
    with pytest.raises(NoSpace):
        disks.compact(port, path, strategy=COPY)
    assert not [effect for effect in port.effects if effect.kind != "sync"]
    port.set_free_space(4 * CLUSTER + (1 << 16))
    disks.compact(port, path, strategy=COPY)


def test_a_copy_for_ploop_has_all_its_blocks(tmp_path: Path) -> None:
    bundle = build(tmp_path, line_of_layers({**filled(1), 0: ZERO, 2: b"x"}), style="ploop")
    check(bundle.directory, COPY, freed=CLUSTER)
    stat = os.stat(bundle.files[(0, TOP)])
    assert stat.st_blocks * 512 >= stat.st_size


def test_the_copy_of_a_single_file_is_held_before_and_after_it_has_its_name(tmp_path: Path) -> None:
    path = str(tmp_path / "old.hdd")
    build_hds(path, size_sectors=8 * SECTORS, clusters={**filled(1), 0: ZERO}, cluster_sectors=SECTORS)
    refused = []

    class Watching(OsPort):
        def rename(self, old: str, new: str, *, replace: bool = True) -> None:
            for moment in ("before", "after"):
                other = OsPort()
                try:
                    other.lock((), (old if moment == "before" else new,)).release()
                except InUse:
                    refused.append(moment)
                if moment == "before":
                    super().rename(old, new, replace=replace)

    disks.compact(Watching(), path, strategy=COPY)
    assert refused == ["before", "after"]


def test_a_copy_that_a_killed_run_left_beside_a_single_file_is_cleared(tmp_path: Path) -> None:
    path = str(tmp_path / "old.hdd")
    build_hds(path, size_sectors=8 * SECTORS, clusters=filled(1), cluster_sectors=SECTORS)
    (tmp_path / ".old.hdd.vdisk-compact.tmp").write_bytes(b"half")
    (tmp_path / ".other.hdd.vdisk-compact.tmp").write_bytes(b"of another disk")
    from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
    from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import recover

    assert needs_recovery(disks.state_of(PORT, path))
    assert len(recover(PORT, locate(PORT, path))) == 1
    assert sorted(os.listdir(tmp_path)) == [".other.hdd.vdisk-compact.tmp", "old.hdd"]


def with_bitmap(tmp_path: Path) -> str:
    path = single(tmp_path, {**filled(0, 3), 1: ZERO, 2: ZERO}, gaps=[2, 3])
    bitmap = pack_bitmap(size_sectors=8 * SECTORS, granularity=128, clusters=[4 * CLUSTER // 512])
    file = disks.file_of(PORT, path)
    disks.patch(PORT, file, 3 * CLUSTER, pack_extension([(0x20385FAE252CB34A, 0, bitmap)], cluster_bytes=CLUSTER))
    disks.patch(PORT, file, 44, b"v2.1")
    disks.patch(PORT, file, 56, (3 * CLUSTER // 512).to_bytes(8, "little"))
    return path


def test_a_format_extension_is_not_lost_by_a_copy(tmp_path: Path) -> None:
    path = with_bitmap(tmp_path)
    with pytest.raises(Unsupported) as caught:
        plan_compact(PORT, disks.state_of(PORT, path), strategy=COPY)
    assert caught.value.offset == 3 * CLUSTER and "in_place" in str(caught.value.hint)


def test_a_format_extension_is_not_punched(tmp_path: Path) -> None:
    path = with_bitmap(tmp_path)
    extension = disks.state_of(PORT, path).layer(TOP)[0].extension
    check(path, PUNCH, freed=2 * CLUSTER)
    assert disks.state_of(PORT, path).layer(TOP)[0].extension == extension


# Holes


def test_zeros_that_hide_data_become_holes_and_go_on_hiding(tmp_path: Path) -> None:
    bundle = build(tmp_path, line_of_layers(filled(0, 1), {0: ZERO, **filled(1, seed=1)}))
    plan = check(bundle.directory, PUNCH, freed=CLUSTER)
    assert reasons(plan) == {"leaked": 0, "zero": 1, "equal": 0}
    assert disks.state_of(PORT, bundle.directory).layer(TOP)[0].used_clusters == 2


def test_zeros_within_a_cluster_become_holes_when_there_are_enough(tmp_path: Path) -> None:
    half, little = fill(0, CLUSTER // 2) + bytes(CLUSTER // 2), bytes(60 << 10) + fill(1, CLUSTER - (60 << 10))
    check(single(tmp_path, {0: little, 1: half}), PUNCH, freed=CLUSTER // 2)


def test_neighbouring_holes_are_punched_at_once(tmp_path: Path) -> None:
    path = single(tmp_path, {**filled(0, 7), **dict.fromkeys(range(1, 7), ZERO)}, gaps=[3])
    plan = check(path, PUNCH, freed=7 * CLUSTER)
    assert [step.ranges for step in plan.steps if isinstance(step, PunchHoles)] == [((2 * CLUSTER, 9 * CLUSTER),)]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["one run", "two runs"])
def test_blocks_that_two_dropped_clusters_share_are_given_back_at_once(tmp_path: Path, order: List[int]) -> None:
    layers = line_of_layers(filled(0, 1), filled(0, 1))
    bundle = build(tmp_path, layers)
    build_hds(
        bundle.files[(0, TOP)],
        size_sectors=bundle.size_sectors,
        clusters=filled(0, 1),
        cluster_sectors=SECTORS,
        data_off=SECTORS + 3,
        order=order,
    )
    check(bundle.directory, PUNCH, freed=2 * CLUSTER - 4096)


@pytest.mark.parametrize("style", ["ploop", "virtuozzo"])
def test_no_holes_where_a_reader_minds(tmp_path: Path, style: str) -> None:
    bundle = build(tmp_path, line_of_layers({0: ZERO}), style=style)
    with pytest.raises(Unsupported) as caught:
        plan_compact(PORT, disks.state_of(PORT, bundle.directory), strategy=PUNCH)
    assert "in_place" in str(caught.value.hint)


def test_a_preallocated_disk_is_left_alone(tmp_path: Path, strategy: str) -> None:
    bundle = build(tmp_path, line_of_layers({0: ZERO}, {1: ZERO}))
    with open(bundle.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(bundle.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace("</Blocksize>", "</Blocksize><Preallocated>1</Preallocated>"))
    assert disks.state_of(PORT, bundle.directory).descriptor.storages[0].preallocated
    assert plan_compact(PORT, disks.state_of(PORT, bundle.directory), strategy=strategy).is_empty


# Plain images


def plain(tmp_path: Path, clusters: Dict[int, bytes], **options: Any) -> BuiltBundle:
    return build(tmp_path, [Layer(TOP, type="Plain", clusters=clusters)], **options)


@pytest.mark.parametrize("split", [None, [3 * SECTORS, 5 * SECTORS]])
def test_zeros_of_a_plain_disk_become_holes_with_any_strategy(
    tmp_path: Path, strategy: str, split: Optional[List[int]]
) -> None:
    clusters = {**filled(0, 3), 1: ZERO, 2: bytes(70 << 10) + fill(2, CLUSTER - (70 << 10)), 6: ZERO, 7: ZERO}
    bundle = plain(tmp_path, clusters, split=split)
    before = sum(os.stat(file).st_blocks for file in bundle.files.values())
    plan = check(bundle.directory, strategy, freed=3 * CLUSTER + (68 << 10))
    assert before - sum(os.stat(file).st_blocks for file in bundle.files.values()) == plan.facts.reclaimable // 512
    assert all(os.path.getsize(file) for file in bundle.files.values())


def test_a_plain_root_gets_holes_and_the_layers_above_are_compacted(tmp_path: Path, strategy: str) -> None:
    layers = [
        Layer(ONE, type="Plain", clusters={**filled(0), 1: ZERO}),
        Layer(TOP, ONE, {**filled(0), 1: ZERO, 2: ZERO, **filled(3, seed=1)}),
    ]
    plan = check(build(tmp_path, layers).directory, strategy, freed=4 * CLUSTER)
    assert reasons(plan) == {"leaked": 0, "zero": 3, "equal": 1}


def test_a_plain_single_file_gets_holes(tmp_path: Path, strategy: str) -> None:
    path = str(tmp_path / "raw.hdd")
    with open(path, "wb") as stream:
        stream.write(fill(0, 1 << 20) + bytes(2 << 20) + fill(1, (1 << 20) + 512))
    expected = disks.read(PORT, path)
    plan = disks.compact(PORT, path, strategy=strategy)
    assert plan.facts.reclaimable == 2 << 20
    assert disks.read(PORT, path) == expected
    assert plan_compact(PORT, disks.state_of(PORT, path), strategy=strategy, threshold=1).is_empty


def test_a_plain_disk_is_not_read_when_only_tables_are_looked_at(tmp_path: Path, strategy: str) -> None:
    plan = plan_compact(
        PORT, disks.state_of(PORT, plain(tmp_path, {0: ZERO}).directory), scan=METADATA, strategy=strategy
    )
    assert plan.is_empty and not plan.bytes_scanned and not plan.facts.savings


def test_holes_of_a_plain_disk_are_not_read(tmp_path: Path) -> None:
    bundle = build(tmp_path, [Layer(TOP, type="Plain", clusters=filled(5))], size_sectors=1 << 33)
    plan = plan_compact(PORT, disks.state_of(PORT, bundle.directory))
    assert plan.is_empty and plan.bytes_scanned == CLUSTER


def test_a_reserved_plain_disk_keeps_its_blocks(tmp_path: Path, strategy: str) -> None:
    path = str(tmp_path / "a.hdd")
    disks.new_disk(PORT, path, kind="plain", preallocate=True)
    assert plan_compact(PORT, disks.state_of(PORT, path), strategy=strategy).is_empty


def test_the_plain_disk_of_ploop_is_left_alone(tmp_path: Path) -> None:
    assert plan_compact(PORT, disks.state_of(PORT, plain(tmp_path, {0: ZERO}, style="ploop").directory)).is_empty

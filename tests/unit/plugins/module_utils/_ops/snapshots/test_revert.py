# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Going back to a snapshot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Dirty,
    DiskError,
    Interrupted,
    NoSpace,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import recover
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.revert import is_empty_layer, plan_revert
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import BuiltBundle, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import SMALL_CLUSTER, TOP
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
ONE, TWO, THREE = guid_of(1), guid_of(2), guid_of(3)
BACKUP = "{704718e1-2314-44c8-9087-d78ed36b0f4e}"
CLUSTER = 64 << 10
SECTORS = CLUSTER // 512
SHAPES = {
    "expanding": {},
    "version 2": {"version": 2},
    "plain": {"kind": "plain"},
    "split": {"part_size": 3 * SMALL_CLUSTER},
    "split plain": {"kind": "plain", "part_size": 3 * SMALL_CLUSTER},
    "odd": {"size": 5 * SMALL_CLUSTER + 512},
}


def grown(**options: Any) -> MemoryPort:
    """A disk with snapshots 1 - 2 and something written after each and before."""
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, PATH, **options)
    for number, guid in enumerate((ONE, TWO)):
        disks.write(port, PATH, number * 40_000, bytes([65 + number]) * 50_000)
        disks.take(port, PATH, guid)
    disks.write(port, PATH, 100_000, b"current state")
    return port


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return grown()


def planned(port: Any, guid: str, path: str = PATH, *, allow_outside: bool = False, force: bool = False) -> Plan:
    return plan_revert(disks.state_of(port, path, allow_outside=allow_outside), guid, force=force)


def reverted(port: Any, guid: str, path: str = PATH, **options: Any) -> Plan:
    plan = planned(port, guid, path, **options)
    disks.apply(port, plan)
    return plan


def views(port: Any, path: str = PATH) -> Dict[str, bytes]:
    return {guid: disks.read_naively(port, path, guid) for guid in disks.guids_of(port, path)}


def images(port: MemoryPort) -> Dict[str, object]:
    """Content and facts of every image."""
    return {
        name: (port.content(f"{PATH}/{name}"), port.stat(f"{PATH}/{name}"))
        for name in port.list_directory(PATH)
        if name.endswith(".hds")
    }


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("guid", [ONE, TWO])
def test_the_disk_shows_the_snapshot_and_all_snapshots_stay(shape: str, guid: str) -> None:
    port = grown(**SHAPES[shape])
    before, files = views(port), images(port)
    old = {
        os.path.basename(disks.file_of(port, PATH, storage=number)) for number in range(len(disks.parts_of(port, PATH)))
    }
    plan = planned(port, guid)
    predicted = disks.facts_of(port, plan.facts.after)
    disks.apply(port, plan)
    assert views(port) == {**before, TOP: before[guid]}
    assert disks.facts_of(port, disks.state_of(port, PATH)) == predicted
    kept = images(port)
    assert not old & set(kept)
    assert {name: facts for name, facts in kept.items() if name in files} == {
        name: facts for name, facts in files.items() if name not in old
    }
    assert planned(port, guid).is_empty


@pytest.mark.parametrize("guid", [ONE, TWO])
def test_the_guest_goes_on_from_there(port: MemoryPort, guid: str) -> None:
    before = views(port)
    reverted(port, guid)
    disks.write(port, PATH, 7, b"anew")
    after = views(port)
    assert after[TOP] == before[guid][:7] + b"anew" + before[guid][11:]
    assert {name: after[name] for name in (ONE, TWO)} == {name: before[name] for name in (ONE, TWO)}
    assert disks.state_of(port, PATH).tree.shots[TOP].parent == guid


# When there is nothing to do


def test_a_current_layer_in_which_nothing_was_written_is_kept(port: MemoryPort) -> None:
    disks.take(port, PATH, THREE)
    before, effects = port.listing(), len(port.effects)
    plan = reverted(port, THREE)
    assert plan.is_empty and plan.facts.snapshot == THREE
    assert (port.listing(), len(port.effects)) == (before, effects)


def test_an_empty_layer_on_another_snapshot_is_replaced(port: MemoryPort) -> None:
    disks.take(port, PATH, THREE)
    plan = reverted(port, ONE)
    assert not plan.is_empty and plan.warnings == ()
    assert disks.state_of(port, PATH).tree.shots[TOP].parent == ONE


def test_one_written_cluster_in_any_part_counts(port: MemoryPort) -> None:
    split = grown(**SHAPES["split"])
    disks.take(split, PATH, THREE)
    assert planned(split, THREE).is_empty
    disks.write(split, PATH, 7 * SMALL_CLUSTER, b"\0")
    assert not planned(split, THREE).is_empty


@pytest.mark.parametrize(("lengths", "is_empty"), [((8, 8), True), ((4, 8), True), ((4, 4), True), ((8, 4), False)])
def test_an_empty_layer_that_hides_the_end_of_its_parent_is_not_empty(
    tmp_path: Path, lengths: Any, is_empty: bool
) -> None:
    """Lengths are clusters of the snapshot and of the current layer."""
    layers = [
        Layer(guid, below, size_sectors=length * SECTORS)
        for guid, below, length in zip((ONE, TOP), (disks.NONE, ONE), lengths)
    ]
    path = build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=8 * SECTORS, layers=layers, cluster_sectors=SECTORS
    ).directory
    state = disks.state_of(OsPort(), path)
    assert is_empty_layer(state, TOP) == planned(OsPort(), ONE, path).is_empty == is_empty
    reverted(OsPort(), ONE, path)
    assert planned(OsPort(), ONE, path).is_empty


@pytest.mark.parametrize("type", ["Compressed", "Plain"])
def test_a_root_is_never_an_empty_layer(tmp_path: Path, type: str) -> None:
    path = build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=8, layers=[Layer(TOP, type=type)], cluster_sectors=1
    ).directory
    assert not is_empty_layer(disks.state_of(OsPort(), path), TOP)


# What is given up


def test_what_is_given_up_is_told(port: MemoryPort) -> None:
    plan = planned(port, TWO)
    (warning,) = plan.warnings
    assert PATH in warning and "32" in warning and TWO in warning
    disks.apply(port, plan)
    assert reverted(port, ONE).warnings == ()


def test_a_snapshot_taken_before_keeps_what_would_be_given_up(port: MemoryPort) -> None:
    current = views(port)[TOP]
    disks.take(port, PATH, THREE)
    reverted(port, ONE)
    assert views(port)[THREE] == current


# Refusals


@pytest.mark.parametrize("top", [None, TOP, guid_of(9)])
def test_the_current_layer_is_no_snapshot(tmp_path: Path, top: Optional[str]) -> None:
    layers = [Layer(ONE), Layer(top or TOP, ONE)]
    path = build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=8, layers=layers, cluster_sectors=1, top_guid=top
    ).directory
    with pytest.raises(BadRequest):
        planned(OsPort(), top or TOP, path)


def test_a_single_file_has_no_snapshots(tmp_path: Path) -> None:
    build_hds(str(tmp_path / "a.hdd"), size_sectors=8, clusters={}, cluster_sectors=1)
    with pytest.raises(Unsupported):
        planned(OsPort(), TOP, str(tmp_path / "a.hdd"))


def test_a_snapshot_that_ploop_was_merging_is_no_place_to_go_on_from(tmp_path: Path) -> None:
    layers = [Layer(ONE), Layer(TWO, ONE, temporary=True), Layer(THREE, TWO), Layer(TOP, THREE)]
    path = build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=8, layers=layers, cluster_sectors=1, style="ploop"
    ).directory
    with pytest.raises(Interrupted) as caught:
        planned(OsPort(), TWO, path, force=True)
    assert caught.value.found == TWO and "state: absent" in str(caught.value.hint)
    reverted(OsPort(), ONE, path)
    shots = disks.state_of(OsPort(), path).tree.shots
    assert [guid for guid, shot in shots.items() if shot.temporary] == [TWO]


def test_a_dirty_disk_is_reverted_only_by_force(port: MemoryPort) -> None:
    marked = disks.marked_in_use(port, PATH)
    before = port.listing()
    with pytest.raises(Dirty) as caught:
        planned(port, ONE)
    assert caught.value.path == marked and port.listing() == before
    reverted(port, ONE, force=True)
    assert disks.facts_of(port, disks.state_of(port, PATH))["state"] == "clean"


def test_a_change_of_version_that_was_cut_off_is_refused(port: MemoryPort) -> None:
    disks.patch(port, disks.file_of(port, PATH, ONE), 52, b"\2\0\0\0")
    with pytest.raises(Interrupted):
        planned(port, ONE, force=True)


def test_a_disk_that_was_changed_meanwhile_is_left_alone(port: MemoryPort) -> None:
    plan = planned(port, ONE)
    disks.write(port, PATH, 0, b"later")
    before = port.listing()
    with pytest.raises(StalePlan):
        disks.apply(port, plan)
    assert port.listing() == before


def test_no_room_is_found_before_the_first_write(port: MemoryPort) -> None:
    before = port.listing()
    port.set_free_space(SMALL_CLUSTER)
    with pytest.raises(NoSpace):
        reverted(port, ONE)
    assert port.listing() == before


# Names of new files


def test_a_name_that_is_taken_is_passed_over(port: MemoryPort) -> None:
    """The layer above a snapshot has the name that a new layer on it would get."""
    taken = [disks.file_of(port, PATH)]
    for _round in range(3):
        reverted(port, TWO)
        taken.append(disks.file_of(port, PATH))
        disks.write(port, PATH, 0, b"again")
    assert taken[0] == taken[2] != taken[1] == taken[3]


@pytest.mark.parametrize("plant", ["plant_file", "plant_directory", "plant_other"])
def test_what_somebody_else_put_there_stays(port: MemoryPort, plant: str) -> None:
    (new,) = views_of_new_files(planned(port, TWO))
    getattr(port, plant)(new)
    before = views(port)
    reverted(port, TWO)
    assert disks.file_of(port, PATH) != new and port.lstat(new) is not None
    assert views(port) == {**before, TOP: before[TWO]}


def views_of_new_files(plan: Plan) -> Any:
    return [image.path for key, image in plan.facts.after.images.items() if key[1] == TOP]


def test_a_name_that_is_taken_after_the_look_fails_without_harm(port: MemoryPort) -> None:
    plan, before = planned(port, TWO), views(port)
    port.plant_file(views_of_new_files(plan)[0], b"theirs")
    with pytest.raises(DiskError):
        disks.apply(port, plan)
    assert views(port) == before
    assert port.content(views_of_new_files(plan)[0]) == b"theirs"


# What else a descriptor may say


@pytest.mark.parametrize("top", [TOP, THREE])
def test_a_declared_top_stays_and_stays_true(tmp_path: Path, top: str) -> None:
    layers = [
        Layer(ONE, clusters={0: fill(0, 512)}),
        Layer(TWO, ONE, {1: fill(1, 512)}),
        Layer(top, TWO, {2: fill(2, 512)}),
    ]
    bundle = build_bundle(str(tmp_path / "a.hdd"), size_sectors=8, layers=layers, cluster_sectors=1, top_guid=top)
    reverted(OsPort(), ONE, bundle.directory)
    state = disks.state_of(OsPort(), bundle.directory)
    assert (state.descriptor.declared_top, state.tree.top, state.tree.shots[top].parent) == (top, top, ONE)
    assert views(OsPort(), bundle.directory) == {ONE: bundle.guest(ONE), TWO: bundle.guest(TWO), top: bundle.guest(ONE)}


def test_a_disk_without_a_declared_top_gets_none(port: MemoryPort) -> None:
    reverted(port, ONE)
    assert disks.state_of(port, PATH).descriptor.declared_top is None


@pytest.mark.parametrize("style", ["desktop", "virtuozzo", "ploop"])
def test_of_the_descriptor_only_the_current_layer_changes(tmp_path: Path, style: str) -> None:
    layers = [Layer(ONE), Layer(TWO, ONE), Layer(TOP, TWO)]
    bundle = build_bundle(
        str(tmp_path / "a.hdd"),
        size_sectors=8,
        layers=layers,
        cluster_sectors=1,
        style=style,
        extra="<Odd kept='1'>x</Odd>",
    )
    before = Path(bundle.descriptor).read_bytes().split(b"\n")
    reverted(OsPort(), ONE, bundle.directory)
    after = Path(bundle.descriptor).read_bytes().split(b"\n")
    changed = [(old.strip(), new.strip()) for old, new in zip(before, after) if old != new]
    assert len(before) == len(after) and len(changed) == 2
    assert changed[0][0].startswith(b"<File>")
    assert changed[1] == (f"<ParentGUID>{TWO}</ParentGUID>".encode(), f"<ParentGUID>{ONE}</ParentGUID>".encode())


def test_a_layer_of_backup_software_is_a_snapshot_like_others(tmp_path: Path) -> None:
    layers = [
        Layer(ONE, clusters={0: fill(0, 512)}),
        Layer(BACKUP, ONE, {1: fill(1, 512)}),
        Layer(TOP, BACKUP, {1: fill(1, 512, 5)}),
    ]
    bundle = build_bundle(str(tmp_path / "a.hdd"), size_sectors=8, layers=layers, cluster_sectors=1)
    reverted(OsPort(), BACKUP, bundle.directory)
    assert views(OsPort(), bundle.directory) == {
        guid: bundle.guest(BACKUP if guid == TOP else guid) for guid in (ONE, BACKUP, TOP)
    }


def test_an_encrypted_disk_can_be_reverted(port: MemoryPort) -> None:
    descriptor = f"{PATH}/DiskDescriptor.xml"
    engine = b"<Engine>{00000000-0000-0000-0000-000000000000}"
    content = port.content(descriptor)
    assert engine in content
    port.plant_file(descriptor, content.replace(engine, b"<Engine>{2df8d6f2-0000-0000-0000-000000000000}"))
    before = views(port)
    reverted(port, ONE)
    assert views(port) == {**before, TOP: before[ONE]}


def outside_top(tmp_path: Path, where: str) -> BuiltBundle:
    (tmp_path / "elsewhere").mkdir()
    files = {where: str(tmp_path / "elsewhere" / "image.hds")}
    layers = [
        Layer(ONE, clusters={0: fill(0, 512)}, file=files.get("root")),
        Layer(TOP, ONE, {1: fill(1, 512)}, file=files.get("top")),
    ]
    return build_bundle(str(tmp_path / "a.hdd"), size_sectors=8, layers=layers, cluster_sectors=1)


@pytest.mark.parametrize("where", ["root", "top"])
def test_an_image_outside_is_neither_changed_nor_removed(tmp_path: Path, where: str) -> None:
    bundle = outside_top(tmp_path, where)
    outside = tmp_path / "elsewhere" / "image.hds"
    before, content = os.stat(outside), outside.read_bytes()
    plan = reverted(OsPort(), ONE, bundle.directory, allow_outside=True)
    assert not plan.is_empty and str(outside) not in plan.lock_files
    assert (os.stat(outside).st_mtime_ns, outside.read_bytes()) == (before.st_mtime_ns, content)
    assert views(OsPort(), bundle.directory) == {ONE: bundle.guest(ONE), TOP: bundle.guest(ONE)}


def test_a_current_layer_that_is_too_short_is_followed_by_one_of_full_length(tmp_path: Path) -> None:
    layers = [Layer(ONE, clusters={6: fill(6, 512)}), Layer(TOP, ONE, size_sectors=4)]
    path = build_bundle(str(tmp_path / "a.hdd"), size_sectors=8, layers=layers, cluster_sectors=1).directory
    expected = disks.read_naively(OsPort(), path, ONE)
    plan = planned(OsPort(), ONE, path)
    assert disks.state_of(OsPort(), path).warnings and plan.facts.after.warnings == ()
    disks.apply(OsPort(), plan)
    assert disks.read_naively(OsPort(), path) == expected and any(expected)


# Failures


@pytest.mark.parametrize("shape", ["expanding", "split", "plain"])
def test_a_failure_at_any_call_leaves_the_old_state_or_the_new_one(shape: str) -> None:
    start = grown(**SHAPES[shape])
    before = views(start)
    plan = planned(start, ONE)
    for number in range(1, 200):
        port = MemoryPort(start.tree.fork())
        port.fail_call(number, sticky=True)
        try:
            disks.apply(port, plan)
        except DiskError:
            port.fail_call(10**9)
        else:
            break
        found = views(port)
        assert found in (before, {**before, TOP: before[ONE]})
        state = disks.state_of(port, PATH)
        recover(port, state.location)
        assert views(port) == found
        reverted(port, ONE)
        state = disks.state_of(port, PATH)
        assert (state.journal, [name for name in state.others if name.endswith((".hds", ".tmp"))]) == (None, [])
    else:
        raise AssertionError("it never ended")
    assert number > 20

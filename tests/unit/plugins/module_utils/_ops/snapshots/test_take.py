# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Taking snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Dirty,
    DiskError,
    Interrupted,
    NoSpace,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.disks import NONE, TOP
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
ONE, TWO = guid_of(1), guid_of(2)


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    disks.new_disk(port, PATH)
    return port


def test_a_snapshot_keeps_what_the_guest_writes_over_later(port: MemoryPort) -> None:
    disks.write(port, PATH, 1000, b"before")
    before = disks.read_naively(port, PATH)
    disks.take(port, PATH, ONE)
    disks.write(port, PATH, 1000, b"after!")
    assert disks.read(port, PATH, ONE) == disks.read_naively(port, PATH, ONE) == before
    assert disks.read(port, PATH)[1000:1006] == b"after!"


def test_the_frozen_file_is_not_touched_at_all(port: MemoryPort) -> None:
    frozen = disks.file_of(port, PATH)
    before = port.stat(frozen), port.content(frozen)
    disks.take(port, PATH, ONE)
    assert (port.stat(frozen), port.content(frozen)) == before
    assert disks.file_of(port, PATH, ONE) == frozen


def test_a_snapshot_that_exists_is_nothing_to_do(port: MemoryPort) -> None:
    disks.take(port, PATH, ONE)
    disks.take(port, PATH, TWO)
    before = len(port.effects)
    for guid in (ONE, TWO):
        plan = disks.take(port, PATH, guid)
        assert plan.is_empty and plan.facts.snapshot == guid
    assert len(port.effects) == before


@pytest.mark.parametrize("guid", sorted(guids.WELL_KNOWN))
def test_guids_with_a_meaning_of_their_own_are_refused(port: MemoryPort, guid: str) -> None:
    before = port.listing()
    with pytest.raises(BadRequest):
        disks.take(port, PATH, guid)
    assert port.listing() == before


def test_a_dirty_disk_is_frozen_only_by_force_and_stays_marked(port: MemoryPort) -> None:
    marked = disks.marked_in_use(port, PATH)
    with pytest.raises(Dirty) as caught:
        disks.take(port, PATH, ONE)
    assert caught.value.path == marked
    disks.take(port, PATH, ONE, force=True)
    assert port.content(marked)[44:48] == b"Ynot"
    assert port.content(disks.file_of(port, PATH))[44:48] == bytes(4)


def test_a_change_of_version_that_was_cut_off_is_refused(port: MemoryPort) -> None:
    disks.patch(port, disks.file_of(port, PATH), 52, b"\2\0\0\0")
    with pytest.raises(Interrupted):
        disks.take(port, PATH, ONE, force=True)


def test_a_single_file_has_no_snapshots(tmp_path: Path) -> None:
    build_hds(str(tmp_path / "a.hdd"), size_sectors=1024, clusters={}, cluster_sectors=128)
    with pytest.raises(Unsupported):
        disks.take(OsPort(), str(tmp_path / "a.hdd"), ONE)


def _chain(tmp_path: Path, count: int) -> str:
    return build_bundle(
        str(tmp_path / "deep.hdd"),
        size_sectors=64,
        layers=line_of_layers(*[{} for _number in range(count)]),
        cluster_sectors=64,
    ).directory


def test_the_chain_ends_at_128_layers(tmp_path: Path) -> None:
    path = _chain(tmp_path, 127)
    disks.take(OsPort(), path, guid_of(500))
    assert len(disks.state_of(OsPort(), path).tree.current_chain) == 128
    with pytest.raises(Unsupported) as caught:
        disks.take(OsPort(), path, guid_of(501))
    assert caught.value.hint is not None
    assert disks.take(OsPort(), path, guid_of(500)).is_empty


@pytest.mark.parametrize("top", [TOP, guid_of(9)])
def test_a_declared_top_is_kept_and_stays_true(tmp_path: Path, top: str) -> None:
    layers = [Layer(guid_of(8), clusters={0: fill(0, 65536)}), Layer(top, guid_of(8), {1: fill(1, 65536)})]
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=1024, layers=layers, cluster_sectors=128, top_guid=top)
    disks.take(OsPort(), built.directory, ONE)
    state = disks.state_of(OsPort(), built.directory)
    assert (state.descriptor.declared_top, state.tree.top) == (top, top)
    assert state.tree.current_chain == (top, ONE, guid_of(8))
    assert (
        disks.read_naively(OsPort(), built.directory)
        == disks.read_naively(OsPort(), built.directory, ONE)
        == built.guest(top)
    )


def test_a_disk_without_a_declared_top_gets_none(port: MemoryPort) -> None:
    disks.take(port, PATH, ONE)
    assert b"TopGUID" not in port.content(f"{PATH}/DiskDescriptor.xml")


@pytest.mark.parametrize("style", ["desktop", "virtuozzo", "ploop"])
def test_what_others_wrote_into_the_descriptor_stays(tmp_path: Path, style: str) -> None:
    extra = "<Tag a='1'>&lt;text&gt;</Tag><!-- a remark -->"
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=1024, style=style, cluster_sectors=128, extra=extra)
    disks.take(OsPort(), built.directory, ONE)
    with open(built.descriptor, encoding="utf-8") as stream:
        assert extra in stream.read()


def test_every_part_of_a_split_disk_gets_a_layer(port: MemoryPort) -> None:
    disks.new_disk(port, "/vm/split.hdd", part_size=96 * 1024)
    disks.write(port, "/vm/split.hdd", 0, b"x" * 200_000)
    before = disks.read_naively(port, "/vm/split.hdd")
    disks.take(port, "/vm/split.hdd", ONE)
    parts = disks.parts_of(port, "/vm/split.hdd")
    assert [len(part.chain) for part in parts] == [2, 2, 2]
    assert disks.read_naively(port, "/vm/split.hdd") == before == disks.read(port, "/vm/split.hdd", ONE)


@pytest.mark.parametrize("version, cluster", [(1, 32768), (2, 65536)])
def test_the_new_layer_is_like_those_below_it(port: MemoryPort, version: int, cluster: int) -> None:
    disks.new_disk(port, "/vm/b.hdd", version=version, cluster_bytes=cluster)
    disks.take(port, "/vm/b.hdd", ONE)
    header = disks.state_of(port, "/vm/b.hdd").layer(TOP)[0].header
    assert header is not None and (header.version, header.cluster_bytes, header.size_bytes) == (
        version,
        cluster,
        8 * disks.SMALL_CLUSTER,
    )


def test_a_plain_disk_gets_an_expanding_layer_on_top(port: MemoryPort) -> None:
    disks.new_disk(port, "/vm/p.hdd", kind="plain", size=100_352)
    disks.write(port, "/vm/p.hdd", 5000, b"plain")
    disks.take(port, "/vm/p.hdd", ONE)
    disks.write(port, "/vm/p.hdd", 5000, b"top!!")
    assert disks.read(port, "/vm/p.hdd", ONE)[5000:5005] == b"plain"
    assert disks.read(port, "/vm/p.hdd")[5000:5005] == b"top!!"


@pytest.mark.parametrize("size", [(2 << 40) - 512, (2 << 40) - (1 << 20), 2 << 40, 3 << 40])
def test_a_plain_disk_of_any_size_can_be_frozen(size: int) -> None:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, PATH, size=size, kind="plain", cluster_bytes=1 << 20)
    disks.take(port, PATH, ONE)
    assert disks.state_of(port, PATH).layer(TOP)[0].size == size


def test_a_name_that_is_taken_is_never_written_over(port: MemoryPort) -> None:
    plan = plan_snapshot_take(disks.state_of(port, PATH), ONE)
    name = next(step.path for step in plan.steps if type(step).__name__ == "CreateFile")
    port.plant_file(name, b"somebody's layer")
    try:
        disks.take(port, PATH, ONE)
    except DiskError:
        pass
    assert port.content(name) == b"somebody's layer"


def test_a_name_that_is_taken_after_the_look_fails_without_harm(port: MemoryPort) -> None:
    plan = plan_snapshot_take(disks.state_of(port, PATH), ONE)
    name = next(step.path for step in plan.steps if type(step).__name__ == "CreateFile")
    port.plant_file(name, b"somebody's layer")
    xml = port.content(f"{PATH}/DiskDescriptor.xml")
    with pytest.raises(DiskError):
        disks.apply(port, plan)
    assert port.content(f"{PATH}/DiskDescriptor.xml") == xml


def test_a_disk_that_was_changed_meanwhile_is_left_alone(port: MemoryPort) -> None:
    plan = plan_snapshot_take(disks.state_of(port, PATH), ONE)
    disks.write(port, PATH, 0, b"x")
    before = len(port.effects)
    with pytest.raises(StalePlan):
        disks.apply(port, plan)
    assert len(port.effects) == before


def test_no_room_is_found_before_the_first_write(port: MemoryPort) -> None:
    port.set_free_space(10_000)
    before = len(port.effects)
    with pytest.raises(NoSpace):
        disks.take(port, PATH, ONE)
    assert len(port.effects) == before


def test_a_failure_at_any_call_leaves_the_old_state_or_the_new_one(port: MemoryPort) -> None:
    disks.write(port, PATH, 0, b"guest data")
    content = disks.read_naively(port, PATH)
    start = MemoryPort(port.tree.fork())
    listing = start.listing()
    outcomes: List[bool] = []
    for number in range(1, 200):
        trial = MemoryPort(start.tree.fork())
        plan = plan_snapshot_take(disks.state_of(trial, PATH), ONE)
        trial.fail_call(number, "EIO")
        calls = len(trial.calls)
        try:
            disks.apply(trial, plan)
        except DiskError:
            taken = ONE in disks.guids_of(trial, PATH)
            outcomes.append(taken)
            assert disks.read_naively(trial, PATH) == content
            if not taken:
                assert trial.listing() == listing
        else:
            assert number > len(trial.calls) - calls or ONE in disks.guids_of(trial, PATH)
            if number > len(trial.calls) - calls:
                break
    assert outcomes.count(False) > 5


def test_the_parent_of_a_first_snapshot_is_none(port: MemoryPort) -> None:
    disks.take(port, PATH, ONE)
    tree = disks.state_of(port, PATH).tree
    assert tree.shots[ONE].parent == NONE
    assert tree.shots[TOP].parent == ONE


def test_an_encrypted_disk_can_be_frozen(tmp_path: Path) -> None:
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=1024, cluster_sectors=128)
    _encrypt(built.descriptor)
    disks.take(OsPort(), built.directory, ONE)
    assert disks.state_of(OsPort(), built.directory).descriptor.encrypted


def _encrypt(descriptor: str) -> None:
    with open(descriptor, encoding="utf-8") as stream:
        text = stream.read()
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(
            text.replace(
                "<Engine>{00000000-0000-0000-0000-000000000000}", "<Engine>{11111111-2222-4333-8444-555555555555}"
            )
        )


def test_the_foretold_facts_hold_for_an_image_that_is_shorter_than_the_disk(tmp_path: Path) -> None:
    """The difference is told while the short image is on top, and no longer when it is frozen."""
    built = build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=1024, layers=[Layer(TOP, size_sectors=512)], cluster_sectors=128
    )
    port: Any = OsPort()
    plan = plan_snapshot_take(disks.state_of(port, built.directory), ONE)
    predicted = disks.facts_of(port, plan.facts.after)
    assert disks.facts_of(port, disks.state_of(port, built.directory))["warnings"]
    disks.apply(port, plan)
    assert disks.facts_of(port, disks.state_of(port, built.directory)) == predicted

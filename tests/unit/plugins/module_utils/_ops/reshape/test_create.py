# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Creating and removing whole bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.predicted import predicted_bundle
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import EXPANDING, PLAIN, Shape, shape_of
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    BadRequest,
    Dirty,
    DiskError,
    IoFailure,
    NoSpace,
    StalePlan,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import DIRECTORY, SYMLINK
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.create import plan_create, plan_remove
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"


def plan_of(shape: Shape, path: str = PATH) -> Plan:
    return plan_create(path, shape, name="a", uid=disks.UID, token="t")


SHAPES = [
    disks.shape(),
    disks.shape(kind=PLAIN),
    disks.shape(version=2),
    disks.shape(part_size=64 * KIB),
    disks.shape(200 * KIB + 512, preallocate=True),
    disks.shape(200 * KIB + 512, preallocate=True, kind=PLAIN),
    disks.shape(preallocate=True, part_size=96 * KIB, version=2),
]


# Creating


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_a_new_disk_has_the_shape_that_was_asked_for_and_reads_as_zeros(port: MemoryPort, shape: Shape) -> None:
    disks.apply(port, plan_of(shape))
    state = disks.state_of(port, PATH)
    assert state.descriptor.size_bytes == shape.size
    assert {(image.kind, image.is_dirty) for image in state.images.values()} == {(shape.kind, False)}
    assert {image.header.version for image in state.images.values() if image.header} <= {shape.version}
    assert disks.read(port, PATH) == disks.read_naively(port, PATH) == bytes(shape.size)
    assert port.listing()["/vm/a.hdd/a.hdd"] == b""


@pytest.mark.parametrize("shape", SHAPES, ids=range(len(SHAPES)))
def test_check_mode_foretells_the_facts_of_the_new_disk(tmp_path: Path, shape: Shape) -> None:
    port, path = OsPort(), f"{tmp_path}/a.hdd"
    plan = plan_of(shape, path)
    predicted = disks.facts_of(port, predicted_bundle(path, shape, plan.facts.descriptor, plan.facts.lengths))
    assert list(tmp_path.iterdir()) == []
    disks.apply(port, plan)
    assert disks.facts_of(port, disks.state_of(port, path)) == predicted


def test_planning_touches_nothing() -> None:
    assert not plan_of(disks.shape()).is_empty


def test_a_reserved_disk_has_every_cluster_and_the_blocks_for_it(port: MemoryPort) -> None:
    disks.new_disk(port, PATH, preallocate=True)
    image = disks.state_of(port, PATH).layer(TOP)[0]
    assert image.used_clusters == 8
    assert image.stat.allocated >= 8 * disks.SMALL_CLUSTER
    disks.write(port, PATH, 100, b"guest")
    assert disks.read(port, PATH)[100:105] == b"guest"
    assert port.stat(image.path).size == image.stat.size  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["a", "a.hds", "a.HDD", "a.hdd.bak"])
def test_the_name_of_a_bundle_ends_in_hdd(name: str) -> None:
    with pytest.raises(BadRequest):
        plan_of(disks.shape(), f"/vm/{name}")


def test_a_bundle_may_lie_at_the_root_of_the_file_system() -> None:
    port = MemoryPort()
    assert [directory for directory, _needed in plan_of(disks.shape(), "/a.hdd").space] == ["/"]
    disks.new_disk(port, "/a.hdd")
    assert disks.read(port, "/a.hdd") == bytes(8 * disks.SMALL_CLUSTER)


def test_two_disks_made_from_one_request_differ_in_nothing_but_their_uid(port: MemoryPort) -> None:
    disks.new_disk(port, "/vm/a.hdd", uid=disks.UID)
    one = port.listing()
    disks.apply(port, Plan("clear", plan_remove(disks.state_of(port, PATH), token="t").steps))
    disks.new_disk(port, "/vm/a.hdd", uid=guid_of(7))
    other = port.listing()
    assert [path for path in one if one[path] != other[path]] == ["/vm/a.hdd/DiskDescriptor.xml"]


def test_what_appeared_at_the_place_meanwhile_is_left_alone(port: MemoryPort) -> None:
    plan = plan_of(disks.shape())
    port.plant_file(PATH, b"precious")
    with pytest.raises(StalePlan):
        disks.apply(port, plan)
    assert port.listing() == {"/vm": None, PATH: b"precious"}


def test_a_directory_that_appears_at_the_last_moment_is_not_replaced(port: MemoryPort) -> None:
    plan = replace(plan_of(disks.shape()), fingerprint=())
    port.plant_directory(PATH)
    with pytest.raises(AlreadyExists):
        disks.apply(port, plan)
    assert port.listing() == {"/vm": None, PATH: None}


def test_too_little_room_for_reserved_blocks_is_found_before_the_first_write(port: MemoryPort) -> None:
    port.set_free_space(100 * KIB)
    before = len(port.effects)
    with pytest.raises(NoSpace):
        disks.new_disk(port, PATH, preallocate=True)
    assert len(port.effects) == before


def test_a_failing_creation_leaves_nothing(port: MemoryPort) -> None:
    counted = MemoryPort()
    counted.plant_directory("/vm")
    disks.new_disk(counted, PATH)
    calls = len(counted.calls)
    for number in range(1, calls + 1):
        port = MemoryPort()
        port.plant_directory("/vm")
        port.fail_call(number, "EIO")
        try:
            disks.apply(port, plan_of(disks.shape()))
        except DiskError:
            # What failed last may have been the sync behind the rename, which commits.
            assert [
                path for path in port.listing() if path not in ("/vm", PATH) and not path.startswith(PATH + "/")
            ] == []
        assert not port.held


@pytest.mark.parametrize("kind", [EXPANDING, PLAIN])
def test_sizes_that_no_file_can_have_end_in_an_error_of_ours(tmp_path: Path, kind: str) -> None:
    for size in (1 << 63, 1 << 64, 1 << 75):
        path = f"{tmp_path}/a.hdd"
        with pytest.raises(DiskError):
            disks.apply(OsPort(), plan_create(path, shape_of(size=size, kind=kind), name="a", uid=disks.UID, token="t"))
        assert list(tmp_path.iterdir()) == []


# Removing


def remove(port: Any, path: str = PATH, **options: Any) -> Plan:
    plan = plan_remove(disks.state_of(port, path, allow_outside=True), token="t", **options)
    disks.apply(port, plan)
    return plan


def test_a_removed_disk_is_gone_with_all_that_belongs_to_it(port: MemoryPort) -> None:
    disks.new_disk(port, PATH)
    disks.take(port, PATH, guid_of(1))
    own = (
        "DiskDescriptor.xml.Backup",
        "a.hdd.drh",
        ".DS_Store",
        "._a.hdd",
        "DiskDescriptor.xml.lck",
        ".statfs",
    )
    for name in own:
        port.plant_file(f"{PATH}/{name}", b"x")
    port.plant_file("/vm/neighbour.hdd", b"x")
    plan = remove(port)
    assert port.listing() == {"/vm": None, "/vm/neighbour.hdd": b"x"}
    assert plan.bytes_freed > 0


@pytest.mark.parametrize("name", ["orphan.hds", f"root.hds.{TOP}", "other.hdd"])
def test_images_that_the_descriptor_does_not_name_go_only_by_force(port: MemoryPort, name: str) -> None:
    disks.new_disk(port, PATH)
    port.plant_file(f"{PATH}/{name}", b"x")
    with pytest.raises(Unsupported) as caught:
        remove(port)
    assert caught.value.found == [name] and "force: true" in str(caught.value.hint)
    remove(port, force=True)
    assert port.listing() == {"/vm": None}


@pytest.mark.parametrize("name", ["b.hdd", "keep.hds", "notes"])
def test_a_folder_in_the_bundle_is_never_removed_with_it(port: MemoryPort, name: str) -> None:
    disks.new_disk(port, PATH)
    port.plant_file(f"{PATH}/{name}/precious", b"x")
    for force in (False, True):
        with pytest.raises(Unsupported) as caught:
            remove(port, force=force)
        assert caught.value.found == [name]
    assert port.content(f"{PATH}/{name}/precious") == b"x"


@pytest.mark.parametrize("name", ["notes.txt", "thesis", "backup.tar", "DiskDescriptor.xml.mine"])
def test_a_bundle_with_foreign_files_is_refused(port: MemoryPort, name: str) -> None:
    disks.new_disk(port, PATH)
    port.plant_file(f"{PATH}/{name}", b"precious")
    before = port.listing()
    with pytest.raises(Unsupported) as caught:
        remove(port)
    assert caught.value.found == [name]
    assert port.listing() == before


def test_a_dirty_disk_is_removed_only_by_force(port: MemoryPort) -> None:
    disks.new_disk(port, PATH)
    marked = disks.marked_in_use(port, PATH)
    with pytest.raises(Dirty) as caught:
        remove(port)
    assert (caught.value.path, caught.value.offset) == (marked, 44)
    remove(port, force=True)
    assert port.listing() == {"/vm": None}


def test_an_outside_image_is_never_removed(tmp_path: Path) -> None:
    outside = tmp_path / "parent.hds"
    layers = [Layer(guid_of(1), clusters={0: fill(0, 65536)}, file=str(outside)), Layer(TOP, guid_of(1))]
    build_bundle(str(tmp_path / "clone.hdd"), size_sectors=1024, layers=layers, cluster_sectors=128)
    content = outside.read_bytes()
    remove(OsPort(), str(tmp_path / "clone.hdd"))
    assert outside.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["parent.hds"]


def test_a_link_in_the_bundle_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    disks.new_disk(OsPort(), str(tmp_path / "a.hdd"))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_bytes(b"x")
    (tmp_path / "a.hdd" / "orphan.hds").symlink_to(tmp_path / "precious")
    remove(OsPort(), str(tmp_path / "a.hdd"))
    assert [str(entry.relative_to(tmp_path)) for entry in sorted(tmp_path.rglob("*"))] == ["precious", "precious/file"]


def test_a_single_file_is_removed_alone(tmp_path: Path) -> None:
    from ansible_collections.vdisk.parallels.tests.support.images import build_hds

    build_hds(str(tmp_path / "a.hdd"), size_sectors=1024, clusters={}, cluster_sectors=128)
    (tmp_path / "notes.txt").write_bytes(b"x")
    remove(OsPort(), str(tmp_path / "a.hdd"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


def test_a_removal_that_fails_before_its_first_rename_changes_nothing(port: MemoryPort) -> None:
    disks.new_disk(port, PATH)
    before = port.listing()
    plan = plan_remove(disks.state_of(port, PATH), token="t")
    renames = [number for number, (name, _path) in enumerate(port.calls) if name == "rename"]
    assert renames
    port.set_free_space(None)
    failing = _FailingRename(port)
    with pytest.raises(IoFailure):
        disks.apply(failing, plan)
    assert port.listing() == before


class _FailingRename:
    """A port that cannot rename."""

    def __init__(self, port: MemoryPort) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        raise IoFailure("no renames here", path=new)


def test_what_is_held_by_somebody_is_not_removed(port: MemoryPort) -> None:
    from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import InUse
    from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder

    disks.new_disk(port, PATH)
    port.plant_holder(disks.file_of(port, PATH), Holder("write", "qemu-nbd (7)"))
    before = port.listing()
    with pytest.raises(InUse, match="qemu-nbd"):
        remove(port)
    assert port.listing() == before


def test_a_removed_bundle_may_be_reached_through_a_link(port: MemoryPort) -> None:
    disks.new_disk(port, PATH)
    port.plant_link("/vm/link.hdd", PATH)
    remove(port, "/vm/link.hdd")
    stat = port.lstat("/vm/link.hdd")
    assert stat is not None and stat.kind == SYMLINK
    assert port.stat(PATH) is None
    parent = port.stat("/vm")
    assert parent is not None and parent.kind == DIRECTORY


def test_the_parts_of_a_large_reserved_disk_are_planned_in_pieces() -> None:
    plan = plan_of(shape_of(size=300 << 30, preallocate=True, version=1))
    assert max(len(getattr(step, "content", b"")) for step in plan.steps) <= MIB

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bundles that ploop made and changed: the engine reads what qemu-img reads, and what it merges ploop still accepts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Callable, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT, TrialDisk, apply_plan, bytes_of
from ansible_collections.vdisk.parallels.tests.support import oracles

MIB = 1 << 20
SIZE = 12 * MIB


class PloopDisk(TrialDisk):
    """A bundle whose snapshots ploop takes, switches and deletes."""

    fake_module = False

    def run(self, *arguments: str) -> None:
        oracles.succeeded(oracles.ploop(*arguments, directory=self.bundle, fake_module=self.fake_module))

    def snapshot(self, number: int) -> str:
        guid = guid_of(number)
        self.run("snapshot", "-u", guid, "DiskDescriptor.xml")
        self.frozen[guid] = bytes(self.now)
        return guid

    def switch(self, guid: str) -> None:
        """Go back: the current state is lost, ``guid`` stays."""
        self.run("snapshot-switch", "-u", guid, "DiskDescriptor.xml")
        self.now[:] = self.frozen[guid]

    def delete(self, guid: str) -> None:
        """Delete a snapshot; ploop merges it with its only child."""
        self.run("snapshot-delete", "-u", guid, "DiskDescriptor.xml")
        del self.frozen[guid]

    def merge_all(self) -> None:
        self.run("snapshot-merge", "-A", "DiskDescriptor.xml")
        self.frozen.clear()


def guid_of(number: int) -> str:
    return f"{{aaaaaaaa-0000-4000-8000-{number:012d}}}"


def init(folder: str, *options: str, version: int = 1, fake_module: bool = False) -> PloopDisk:
    bundle = os.path.join(os.path.realpath(folder), "ct.hdd")
    os.makedirs(bundle)
    disk = PloopDisk(bundle, bytes(SIZE))
    disk.fake_module = fake_module
    options = options or ("-f", "ploop1")
    disk.run("init", "-s", f"{SIZE // 1024}K", "-v", str(version), "-t", "none", *options, "root.hds")
    disk.write(0, 1, 2, 3)
    return disk


def line(disk: PloopDisk, snapshots: int) -> PloopDisk:
    for number in range(1, snapshots + 1):
        disk.snapshot(number)
        disk.write(number, 5 + number)
        disk.write_zeros(0)
    return disk


def branched(disk: PloopDisk) -> PloopDisk:
    """Snapshots 1 - 2 - 3 and a branch 1 - 4, on which the disk goes on."""
    line(disk, 3)
    disk.switch(guid_of(1))
    disk.write(2, 9)
    disk.snapshot(4)
    disk.write(3, 10)
    return disk


def after_delete(disk: PloopDisk) -> PloopDisk:
    line(disk, 3).delete(guid_of(2))
    return disk


def after_delete_on_a_branch(disk: PloopDisk) -> PloopDisk:
    branched(disk).delete(guid_of(3))
    disk.delete(guid_of(4))
    return disk


def after_merge_all(disk: PloopDisk) -> PloopDisk:
    line(disk, 3).merge_all()
    disk.snapshot(9)
    disk.write(4)
    return disk


def v1(folder: str) -> PloopDisk:
    return init(folder)


def v2(folder: str) -> PloopDisk:
    return init(folder, version=2, fake_module=True)


def v2_64k(folder: str) -> PloopDisk:
    return init(folder, "-f", "ploop1", "-b", "128", version=2, fake_module=True)


def preallocated(folder: str) -> PloopDisk:
    return init(folder, "-f", "preallocated", version=2, fake_module=True)


def raw_based(folder: str) -> PloopDisk:
    return init(folder, "-f", "raw", version=2, fake_module=True)


def as_root(disk: PloopDisk) -> PloopDisk:
    """What follows needs ploop's kernel module, or the fake of it."""
    oracles.require_fake_module()
    disk.fake_module = True
    return disk


def converted(folder: str) -> PloopDisk:
    disk = as_root(v1(folder))
    disk.run("convert", "-v", "2", "DiskDescriptor.xml")
    disk.write(7)
    return line(disk, 1)


SCENARIOS: Dict[str, Callable[[str], PloopDisk]] = {
    "v1": v1,
    "v1-1-snapshot": lambda folder: line(v1(folder), 1),
    "v1-4-snapshots": lambda folder: line(v1(folder), 4),
    "v1-after-delete": lambda folder: after_delete(v1(folder)),
    "v1-after-merge-all": lambda folder: after_merge_all(v1(folder)),
    "v1-branches": lambda folder: branched(as_root(v1(folder))),
    "v2-1M": v2,
    "v2-1M-3-snapshots": lambda folder: line(v2(folder), 3),
    "v2-64K": v2_64k,
    "v2-64K-4-snapshots": lambda folder: line(v2_64k(folder), 4),
    "v2-64K-branches": lambda folder: branched(v2_64k(folder)),
    "v2-64K-after-delete": lambda folder: after_delete(v2_64k(folder)),
    "v2-64K-after-delete-on-a-branch": lambda folder: after_delete_on_a_branch(v2_64k(folder)),
    "preallocated": preallocated,
    "preallocated-2-snapshots": lambda folder: line(preallocated(folder), 2),
    "raw": raw_based,
    "raw-2-snapshots": lambda folder: line(raw_based(folder), 2),
    "raw-branches": lambda folder: branched(raw_based(folder)),
    "v1-converted-to-v2": converted,
}
MERGED = {
    "v1-1-snapshot": (),
    "v1-4-snapshots": (),
    "v1-after-merge-all": (),
    "v1-branches": (4,),
    "v2-1M-3-snapshots": (2,),
    "v2-64K-4-snapshots": (1, 3),
    "v2-64K-branches": (4,),
    "v2-64K-after-delete": (1,),
    "preallocated-2-snapshots": (),
    "raw-2-snapshots": (),
    "raw-branches": (4,),
}
BY_COPY = ["v1-4-snapshots", "v2-64K-4-snapshots", "v2-64K-after-delete"]
# dissect takes the overlays of a raw disk for raw ones, as ploop calls them.
FOR_DISSECT = [
    "v1-4-snapshots",
    "v1-branches",
    "v2-1M-3-snapshots",
    "v2-64K-branches",
    "preallocated-2-snapshots",
    "v1-converted-to-v2",
]


def assert_views(disk: TrialDisk) -> None:
    """The engine, qemu-img and the model agree on every snapshot."""
    chain_of_layers = oracles.ChainOracle(disk.bundle)
    assert set(disk.state.tree.shots) == set(disk.views)
    for guid, content in disk.views.items():
        assert chain_of_layers.guest(guid) == content, guid
        assert bytes_of(disk.bundle, guid) == content, guid
        oracles.compared("qemu-img chain")


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> PloopDisk:
    oracles.require("ploop", "qemu-io", "qemu-img")
    return SCENARIOS[request.param](str(tmp_path))


@pytest.mark.parametrize("disk", list(SCENARIOS), indirect=True)
def test_we_read_what_ploop_made(disk: PloopDisk) -> None:
    assert_views(disk)
    oracles.assert_ploop_accepts(disk.bundle)


@pytest.mark.parametrize("disk", FOR_DISSECT, indirect=True)
def test_dissect_reads_what_ploop_made_as_we_do(disk: PloopDisk) -> None:
    for guid in disk.views:
        assert oracles.read_with_dissect(disk.bundle, guid) == bytes_of(disk.bundle, guid), guid
        oracles.compared("dissect")


def merged_by_us(disk: PloopDisk, *removals: str, strategy: str) -> None:
    disk.merge(*removals, strategy=strategy)
    assert not set(removals) & set(disk.layout.images)
    assert_views(disk)
    oracles.assert_qemu_finds_clean(disk.layout.expanding)
    oracles.assert_ploop_accepts(disk.bundle)


@pytest.mark.parametrize(("disk", "removals"), list(MERGED.items()), ids=list(MERGED), indirect=["disk"])
def test_what_we_merge_ploop_accepts_with_the_same_views(disk: PloopDisk, removals: tuple[int, ...]) -> None:
    merged_by_us(disk, *map(guid_of, removals), strategy="auto")


@pytest.mark.parametrize("disk", BY_COPY, indirect=True)
def test_what_we_merge_into_a_new_file_ploop_accepts(disk: PloopDisk) -> None:
    merged_by_us(disk, strategy="copy")


@pytest.mark.parametrize("disk", ["v1-1-snapshot", "v1-branches", "v2-64K-branches", "raw-2-snapshots"], indirect=True)
def test_on_a_snapshot_that_we_take_ploop_goes_on(disk: PloopDisk) -> None:
    disk.take("ours")
    disk.write(4, 11)
    oracles.make_dense(disk.layout.expanding)
    disk.snapshot(77)
    disk.write(5)
    assert_views(disk)
    oracles.assert_ploop_accepts(disk.bundle)


@pytest.mark.parametrize("disk", ["v1-4-snapshots", "v2-64K-branches"], indirect=True)
def test_what_we_compact_ploop_accepts_with_the_same_views(disk: PloopDisk) -> None:
    disk.write_zeros(11, 0)
    before = sum(os.path.getsize(path) for path in disk.layout.expanding)
    plan = plan_compact(PORT, disk.state)
    apply_plan(plan)
    assert before - sum(os.path.getsize(path) for path in disk.layout.expanding) == plan.bytes_freed > 0
    assert_views(disk)
    oracles.assert_ploop_accepts(disk.bundle)

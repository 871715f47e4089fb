# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Twins: the same tree of ploop twice. ploop changes one, the engine the other, and both show the same at every
snapshot that stays.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import HasSnapshots
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import (
    choose_deletion,
    choose_removals,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.revert import plan_revert
from ansible_collections.vdisk.parallels.tests.oracle.test_ploop_bundles import (
    PloopDisk,
    as_root,
    guid_of,
    line,
    preallocated,
    raw_based,
    v1,
    v2,
    v2_64k,
)
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT, apply_plan, bytes_of
from ansible_collections.vdisk.parallels.tests.support import oracles

GROWN = 16 << 20


def tree(disk: PloopDisk) -> PloopDisk:
    """::

    1 - 2 - 3
    `- 4 - 5
       `- 6 - 7 - TOP
    """
    as_root(disk)
    line(disk, 3)
    disk.switch(guid_of(1))
    disk.write(2, 9)
    disk.snapshot(4)
    disk.write(3, 10)
    disk.write_zeros(9)
    disk.snapshot(5)
    disk.switch(guid_of(4))
    disk.write(0, 11)
    disk.snapshot(6)
    disk.write(1, 11)
    disk.snapshot(7)
    disk.write(10)
    return disk


def grown(disk: PloopDisk) -> PloopDisk:
    """Snapshots 1 - 2 of the old length and 3 and the current state of the new one. ploop makes an image longer; the
    descriptor is made to fit.
    """
    line(as_root(disk), 2)
    old = len(disk.now)
    disk.run("grow", "-s", f"{GROWN // 1024}K", os.path.basename(disk.layout.images[disk.layout.top][0].path))
    descriptor = Path(disk.bundle, "DiskDescriptor.xml")
    text = descriptor.read_text(encoding="utf-8")
    for tag in ("Disk_size", "End"):
        before, after = (f"<{tag}>{size // 512}</{tag}>" for size in (old, GROWN))
        assert before in text
        text = text.replace(before, after)
    descriptor.write_text(text, encoding="utf-8")
    disk.now.extend(bytes(GROWN - old))
    disk.frozen = {guid: content.ljust(GROWN, b"\0") for guid, content in disk.frozen.items()}
    disk.write(GROWN // disk.layout.cluster_bytes - 1, 3)
    disk.snapshot(3)
    disk.write(2, 11)
    return disk


TREES: Dict[str, Callable[[str], PloopDisk]] = {
    "v1": lambda folder: tree(v1(folder)),
    "v2-64K": lambda folder: tree(v2_64k(folder)),
    "preallocated": lambda folder: tree(preallocated(folder)),
    "raw": lambda folder: tree(raw_based(folder)),
    "v1-line": lambda folder: line(v1(folder), 4),
    "v2-line": lambda folder: line(v2(folder), 4),
    "v1-grown": lambda folder: grown(v1(folder)),
    "v2-grown": lambda folder: grown(v2_64k(folder)),
}


class Request(NamedTuple):
    """What is asked of ploop, and of the engine: to delete a snapshot, to go back to one, or to merge the whole
    chain.
    """

    command: str
    snapshot: int
    ours: str
    ours_snapshot: int


def delete(number: int) -> Request:
    return Request("snapshot-delete", number, "delete", number)


def switch(number: int) -> Request:
    return Request("snapshot-switch", number, "revert", number)


def merge(number: int, *, parent: int) -> Request:
    """ploop merges a snapshot into its parent, whose view is lost."""
    return Request("snapshot-merge", number, "delete", parent)


MERGE_ALL = Request("snapshot-merge", 0, "merge", 0)
IN_TREES = [
    delete(3),
    delete(5),
    delete(2),
    delete(6),
    delete(7),
    switch(1),
    switch(2),
    switch(3),
    switch(5),
    switch(6),
    merge(3, parent=2),
    merge(7, parent=6),
]
IN_LINES = [delete(1), delete(2), delete(4), switch(1), switch(4), merge(2, parent=1), merge(4, parent=3), MERGE_ALL]
WHEN_GROWN = [delete(1), delete(2), delete(3), switch(1), switch(3), merge(3, parent=2), MERGE_ALL]
TRIALS = [
    *((name, request) for name in ("v1", "v2-64K") for request in IN_TREES),
    *(("raw", request) for request in (delete(3), delete(2), delete(7), switch(1), switch(5), merge(3, parent=2))),
    *(("preallocated", request) for request in (delete(3), delete(2), delete(7), switch(5))),
    *(("v1-line", request) for request in IN_LINES),
    *(("v2-line", request) for request in (delete(1), delete(4), MERGE_ALL)),
    *((name, request) for name in ("v1-grown", "v2-grown") for request in WHEN_GROWN),
]


def identify(trial: Tuple[str, Request]) -> str:
    name, request = trial
    return f"{name}-{request.command}-{request.snapshot or 'all'}"


@pytest.fixture(scope="module", name="model")
def _models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], PloopDisk]:
    """Every tree, made once."""
    made: Dict[str, PloopDisk] = {}

    def model(name: str) -> PloopDisk:
        oracles.require("ploop", "qemu-io", "qemu-img")
        if name not in made:
            made[name] = TREES[name](str(tmp_path_factory.mktemp("tree")))
        return made[name]

    return model


def twin(disk: PloopDisk, folder: Path) -> PloopDisk:
    """The same bundle at another place."""
    bundle = os.path.join(os.path.realpath(folder), "ct.hdd")
    shutil.copytree(disk.bundle, bundle)
    copy = PloopDisk(bundle, bytes(disk.now))
    copy.frozen, copy.fake_module = dict(disk.frozen), disk.fake_module
    return copy


def by_ploop(disk: PloopDisk, request: Request) -> None:
    which = ["-u", guid_of(request.snapshot)] if request.snapshot else ["-A"]
    disk.run(request.command, *which, "DiskDescriptor.xml")


def by_us(disk: PloopDisk, request: Request) -> None:
    guid, state = guid_of(request.ours_snapshot), disk.state
    if request.ours == "revert":
        apply_plan(plan_revert(state, guid))
        disk.now[:] = disk.frozen[guid]
        return
    removals = choose_deletion(state, guid) if request.ours == "delete" else choose_removals(state, max_layers=1)
    apply_plan(plan_merge(PORT, state, removals))
    for gone in removals:
        del disk.frozen[gone]


def assert_shows(bundle: str, views: Dict[str, bytes]) -> None:
    """A reader that is made of qemu-img alone sees these snapshots and no others."""
    chain = oracles.ChainOracle(bundle)
    assert set(chain.layout.images) == set(views)
    for guid, content in views.items():
        assert chain.guest(guid) == content, guid
        oracles.compared("qemu-img chain")


def assert_others_accept(disk: PloopDisk) -> None:
    """Whoever can read a bundle of this kind reads the same, and finds nothing to complain of."""
    oracles.assert_qemu_finds_clean(disk.layout.expanding)
    oracles.assert_ploop_accepts(disk.bundle)
    for guid, content in disk.views.items():
        assert bytes_of(disk.bundle, guid) == content, guid
    # dissect.hypervisor takes the layers that ploop puts on a plain root for plain ones, and loses its place where
    # layers end at different places.
    if any(
        image.is_plain or image.length != length_of(image.path)
        for images in disk.layout.images.values()
        for image in images
    ):
        return
    for guid, content in disk.views.items():
        assert oracles.read_with_dissect(disk.bundle, guid) == content, guid
        oracles.compared("dissect")


def length_of(path: str) -> int:
    """The length of the guest disk that an expanding image holds, as qemu-img tells it."""
    return int(json.loads(oracles.qemu_img("info", "--output=json", "-f", "parallels", path))["virtual-size"])


def for_libphdi(disk: PloopDisk, folder: Path) -> str:
    """The bundle with a descriptor that libphdi understands: it knows no declared top."""
    bundle = str(folder / "phdi.hdd")
    shutil.copytree(disk.bundle, bundle)
    descriptor = Path(bundle, "DiskDescriptor.xml")
    lines = descriptor.read_text(encoding="utf-8").splitlines(True)
    descriptor.write_text("".join(text for text in lines if "TopGUID" not in text), encoding="utf-8")
    return bundle


@pytest.mark.parametrize("trial", TRIALS, ids=identify)
def test_the_engine_does_what_ploop_does(
    model: Callable[[str], PloopDisk], trial: Tuple[str, Request], tmp_path: Path
) -> None:
    name, request = trial
    theirs, ours = (twin(model(name), tmp_path / side) for side in ("theirs", "ours"))
    by_ploop(theirs, request)
    by_us(ours, request)
    assert_shows(ours.bundle, ours.views)
    assert_shows(theirs.bundle, ours.views)
    assert (ours.layout.parents, ours.layout.top) == (theirs.layout.parents, theirs.layout.top)
    assert len(os.listdir(ours.bundle)) == len(os.listdir(theirs.bundle))
    assert_others_accept(ours)


LIBPHDI = [
    *(("v1", request) for request in (delete(2), delete(4), delete(7), switch(1), switch(5))),
    *(("v1-line", request) for request in (delete(1), MERGE_ALL)),
]


@pytest.mark.parametrize("trial", LIBPHDI, ids=identify)
def test_libphdi_reads_what_the_engine_made_of_it(
    model: Callable[[str], PloopDisk], trial: Tuple[str, Request], tmp_path: Path
) -> None:
    oracles.require_library("pyphdi")
    name, request = trial
    disk = twin(model(name), tmp_path / "ours")
    by_us(disk, request)
    bundle = for_libphdi(disk, tmp_path)
    for number, (guid, content) in enumerate(disk.views.items()):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        assert oracles.read_with_pyphdi(bundle, guid, str(scratch)) == content, guid
        oracles.compared("libphdi")


FORKS = ["v1", "v2-64K", "raw"]


@pytest.mark.parametrize("name", FORKS)
def test_where_branches_part_ploop_waits_and_the_engine_does_not(
    model: Callable[[str], PloopDisk], name: str, tmp_path: Path
) -> None:
    """ploop marks the snapshot and keeps it until one branch is left.

    The engine copies it up, in its own twin and in ploop's.
    """
    fork = 4
    theirs, ours = (twin(model(name), tmp_path / side) for side in ("theirs", "ours"))
    by_ploop(theirs, delete(fork))
    assert [guid for guid, shot in theirs.state.tree.shots.items() if shot.temporary] == [guid_of(fork)]
    assert_shows(theirs.bundle, theirs.views)
    for disk in (ours, theirs):
        by_us(disk, delete(fork))
        assert_shows(disk.bundle, disk.views)
        assert_others_accept(disk)
        disk.snapshot(9)
        disk.write(6)
        assert_shows(disk.bundle, disk.views)
    assert (ours.layout.parents, set(ours.views)) == (theirs.layout.parents, set(theirs.views))


@pytest.mark.parametrize("name", FORKS)
def test_where_branches_part_at_the_root_both_keep_it(
    model: Callable[[str], PloopDisk], name: str, tmp_path: Path
) -> None:
    """ploop marks it; the engine refuses, as the disk would have two roots."""
    theirs, ours = (twin(model(name), tmp_path / side) for side in ("theirs", "ours"))
    by_ploop(theirs, delete(1))
    for disk in (ours, theirs):
        with pytest.raises(HasSnapshots, match="fall into 2 disks"):
            by_us(disk, delete(1))
        assert_shows(disk.bundle, disk.views)
        assert_others_accept(disk)


@pytest.mark.parametrize("name", ["v1", "v2-64K"])
def test_a_whole_tree_is_taken_down_in_turns(model: Callable[[str], PloopDisk], name: str, tmp_path: Path) -> None:
    """ploop and the engine change the same disk, one after the other, and understand what the other left."""
    disk = twin(model(name), tmp_path)
    steps: List[Tuple[Callable[[PloopDisk, Request], None], Request]] = [
        (by_us, delete(4)),
        (by_ploop, delete(3)),
        (by_us, switch(5)),
        (by_ploop, delete(2)),
        (by_us, delete(6)),
        (by_ploop, delete(5)),
        (by_us, delete(7)),
        (by_us, delete(1)),
    ]
    for actor, request in steps:
        oracles.make_dense(disk.layout.expanding)
        actor(disk, request)
        if actor is by_ploop:
            del disk.frozen[guid_of(request.snapshot)]
        assert_shows(disk.bundle, disk.views)
        oracles.assert_ploop_accepts(disk.bundle)
    assert len(disk.layout.images) == 1

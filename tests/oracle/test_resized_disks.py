# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks that the engine made larger, smaller or of another shape, in the eyes of qemu-img, dissect and ploop; and
what ploop grows, beside ours.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.retype import plan_retype
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.shrink import plan_shrink
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT, TrialDisk, apply_plan, create
from ansible_collections.vdisk.parallels.tests.support import disks, oracles

CLUSTER = 32 * KIB
SIZE = 10 * MIB
# The table of a disk of this size needs the places of the first clusters.
LARGE = 600 * MIB


def filled(folder: str, **shape: Any) -> TrialDisk:
    disk = create(folder, SIZE, cluster_bytes=CLUSTER, **shape)
    disk.write(319, 1)
    disk.write(0, 3, 2, 318)
    return disk


def changed(disk: TrialDisk, plan: Plan) -> TrialDisk:
    assert not plan.is_empty
    apply_plan(plan)
    size = disk.layout.size
    disk.now = bytearray(bytes(disk.now[:size]).ljust(size, b"\0"))
    return disk


def grown(folder: str, size: int = LARGE, **shape: Any) -> TrialDisk:
    disk = filled(folder, **shape)
    return changed(disk, disks.plan_of_grow(disk.state, size))


def shrunk(folder: str, **shape: Any) -> TrialDisk:
    disk = filled(folder, **shape)
    return changed(disk, plan_shrink(disk.state, 9 * MIB))


def retyped(folder: str, target: Dict[str, Any], **shape: Any) -> TrialDisk:
    disk = filled(folder, **shape)
    return changed(disk, plan_retype(PORT, disk.state, Shape(SIZE, cluster_bytes=CLUSTER, **target)))


def written_again(disk: TrialDisk, *clusters: int) -> TrialDisk:
    disk.write(*clusters)
    return disk


DISKS: Dict[str, Callable[[str], TrialDisk]] = {
    "grown": lambda folder: grown(folder, 20 * MIB),
    "grown, the table moves clusters": grown,
    "grown, version 2": lambda folder: grown(folder, version=2),
    "grown and written": lambda folder: written_again(grown(folder), 5, 1000, 19199),
    "grown twice": lambda folder: changed(disk := grown(folder), disks.plan_of_grow(disk.state, 2 * LARGE)),
    "shrunk": shrunk,
    "shrunk and grown": lambda folder: changed(
        disk := shrunk(folder, version=2), disks.plan_of_grow(disk.state, 40 * MIB)
    ),
    "version 1 to 2": lambda folder: retyped(folder, {"version": 2}),
    "version 2 to 1": lambda folder: retyped(folder, {"version": 1}, version=2),
    "plain to expanding": lambda folder: retyped(folder, {}, kind="plain"),
    "reserved": lambda folder: retyped(folder, {"preallocate": True}),
}


@pytest.mark.parametrize("make", DISKS.values(), ids=DISKS)
def test_what_was_changed_is_read_by_everybody(make: Callable[[str], TrialDisk], tmp_path: Path) -> None:
    disk = make(str(tmp_path))
    layout = disk.layout
    (image,) = layout.images[layout.top]
    raw = str(tmp_path / "expected.raw")
    with open(raw, "wb") as stream:
        stream.write(bytes(disk.now).rstrip(b"\0"))
        stream.truncate(len(disk.now))
    oracles.assert_qemu_finds_clean([image.path])
    oracles.qemu_img("compare", "-f", "parallels", "-F", "raw", image.path, raw)
    oracles.compared("qemu-img")
    oracles.assert_ploop_accepts(disk.bundle)


@pytest.mark.parametrize("part_bytes", [4 * MIB, 3 * MIB])
@pytest.mark.parametrize("kind", ["expanding", "plain"])
def test_parts_are_read_by_dissect(kind: str, part_bytes: int, tmp_path: Path) -> None:
    disk = retyped(str(tmp_path), {"kind": kind, "part_size": part_bytes})
    changed(disk, disks.plan_of_grow(disk.state, 20 * MIB))
    assert len(disk.layout.images[disk.layout.top]) == -(-20 * MIB // part_bytes)
    assert oracles.read_with_dissect(disk.bundle) == bytes(disk.now)
    changed(disk, plan_shrink(disk.state, 9 * MIB))
    assert oracles.read_with_dissect(disk.bundle) == bytes(disk.now)
    oracles.compared("dissect", 2)


@pytest.mark.parametrize("shape", [{}, {"version": 2}, {"kind": "plain"}], ids=str)
def test_a_larger_top_over_short_snapshots_is_seen_by_qemu_layer_by_layer(
    shape: Dict[str, Any], tmp_path: Path
) -> None:
    disk = filled(str(tmp_path), **shape)
    guid = disk.take("one")
    disk.write(5, 319)
    changed(disk, disks.plan_of_grow(disk.state, 20 * MIB, top_only=True))
    disk.write(400, 320)
    oracle = oracles.ChainOracle(disk.bundle)
    assert oracle.guest(disk.layout.top) == bytes(disk.now)
    assert oracle.guest(guid) == disk.frozen[guid] + bytes(10 * MIB)
    oracles.compared("qemu-img", 2)


@pytest.mark.parametrize("version", [1, 2])
def test_ploop_grows_the_same(version: int, tmp_path: Path) -> None:
    disk = filled(str(tmp_path), version=version)
    (image,) = disk.layout.images[disk.layout.top]
    theirs = str(tmp_path / "theirs.hds")
    shutil.copyfile(image.path, theirs)
    oracles.make_dense([theirs])
    ended = oracles.ploop("grow", "-s", f"{LARGE // MIB}m", theirs, directory=str(tmp_path), fake_module=version == 2)
    oracles.succeeded(ended)
    changed(disk, disks.plan_of_grow(disk.state, LARGE))
    oracles.qemu_img("compare", "-f", "parallels", "-F", "parallels", image.path, theirs)
    assert os.path.getsize(image.path) == os.path.getsize(theirs)
    with open(image.path, "rb") as ours, open(theirs, "rb") as other:
        ours_head, their_head = ours.read(64), other.read(64)
    # Entries, size and where the data begins.
    assert (
        ours_head[:20] == their_head[:20]
        and ours_head[28:44] == their_head[28:44]
        and ours_head[48:52] == their_head[48:52]
    )
    oracles.compared("ploop")

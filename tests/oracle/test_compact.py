# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks compacted by every strategy, in the eyes of qemu-img, dissect and ploop."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Callable, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import KIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.savings import COPY, IN_PLACE, PUNCH
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import (
    PORT,
    TrialDisk,
    apply_plan,
    bytes_of,
    create,
    observed,
)
from ansible_collections.vdisk.parallels.tests.support import oracles

ODD = 11 * MIB + 333 * 512
SPLIT = 104 * MIB  # Parallels keeps 100 MiB of each part back: parts of 4 MiB
STRATEGIES = (IN_PLACE, COPY, PUNCH)


def used(folder: str, **shape: object) -> TrialDisk:
    """Two snapshots; layers hold zeros over nothing and over data, what lies below them already, and clusters that
    the table forgot.
    """
    disk = create(folder, ODD, **shape)
    disk.write(1, 5, 3, 9)
    disk.write_zeros(6, 0)
    disk.take("one")
    same = bytes(disk.now)
    disk.write_zeros(2, 3, 7)
    disk.write(8, 1)
    disk.take("two")
    disk.write_zeros(4, 5)
    disk.write(10)
    rewrite(disk, same, 9)
    return disk


def rewrite(disk: TrialDisk, content: bytes, cluster: int) -> None:
    """Let qemu-io write a cluster of the disk with what it holds anyway."""
    step = disk.layout.cluster_bytes
    start = cluster * step
    for image in disk.layout.images[disk.layout.top]:
        if image.start <= start < image.start + image.length:
            length = min(step, image.start + image.length - start)
            pattern = Path(disk.bundle).parent / "pattern"
            pattern.write_bytes(content[start : start + length])
            oracles.qemu_io(
                image.path,
                f"write -s ../{pattern.name} {start - image.start} {length}",
                format="raw" if image.is_plain else "parallels",
            )
            disk.now[start : start + length] = content[start : start + length]


DISKS: Dict[str, Callable[[str], TrialDisk]] = {
    "v1-1M": used,
    "v2-1M": lambda folder: used(folder, version=2),
    "v2-64K": lambda folder: used(folder, version=2, cluster_bytes=64 * KIB),
    "split": lambda folder: used(folder, split_size=SPLIT),
    "plain": lambda folder: used(folder, kind="plain"),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", list(DISKS))
def test_a_compacted_disk_is_read_as_before_by_others(name: str, strategy: str, tmp_path: Path) -> None:
    oracles.require("qemu-io", "qemu-img")
    disk = DISKS[name](str(tmp_path))
    for image in disk.layout.images[disk.layout.top]:
        # What a program that died has left behind the last cluster.
        if not image.is_plain:
            with open(image.path, "ab") as stream:
                stream.write(b"\xee" * (3 * disk.layout.cluster_bytes))
    before = oracles.ChainOracle(disk.bundle)
    assert {guid: before.guest(guid) for guid in disk.views} == disk.views
    plan = plan_compact(PORT, disk.state, strategy=strategy)
    given = {
        reason: sum(one.reasons.get(reason, 0) for one in plan.facts.savings) for reason in ("leaked", "zero", "equal")
    }
    assert all(given.values()), given
    apply_plan(plan)
    after = oracles.ChainOracle(disk.bundle)
    for guid, content in disk.views.items():
        assert after.guest(guid) == content == bytes_of(disk.bundle, guid), guid
        assert oracles.read_with_dissect(disk.bundle, guid) == content, guid
        oracles.compared("qemu-img chain")
        oracles.compared("dissect")
    _check(disk, strategy)
    assert plan_compact(PORT, disk.state, strategy=strategy).is_empty


def _check(disk: TrialDisk, strategy: str) -> None:
    if strategy != PUNCH:
        oracles.assert_qemu_finds_clean(disk.layout.expanding)
        return
    for path in disk.layout.expanding:
        # 3: clusters that no entry names, but no errors.
        assert oracles.run("qemu-img", "check", "-f", "parallels", path).code in (0, 3), path
    apply_plan(plan_compact(PORT, disk.state, strategy=IN_PLACE))
    oracles.assert_qemu_finds_clean(disk.layout.expanding)
    assert {guid: bytes_of(disk.bundle, guid) for guid in disk.views} == disk.views


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("cluster", ["64K", "1M"])
def test_a_file_of_qemu_is_the_same_disk_afterwards(strategy: str, cluster: str, tmp_path: Path) -> None:
    path = os.path.join(os.path.realpath(str(tmp_path)), "old.hdd")
    oracles.qemu_img("create", "-q", "-f", "parallels", "-o", f"cluster_size={cluster}", path, str(24 * MIB + 512))
    oracles.qemu_io(
        path, "write -P 1 0 5M", "write -P 0 7M 6M", "write -P 2 14M 3M", "write -P 0 1M 2M", "write -P 3 24M 512"
    )
    before = str(tmp_path / "before.hdd")
    shutil.copyfile(path, before)
    apply_plan(plan_compact(PORT, observed(path), strategy=strategy))
    oracles.qemu_img("compare", "-f", "parallels", "-F", "parallels", before, path)
    oracles.assert_qemu_finds_clean([path])
    oracles.compared("qemu-img compare")
    # What the guest writes next goes where it should.
    oracles.qemu_io(
        path,
        "write -P 7 2M 1M",
        "write -P 8 9M 1M",
        "read -P 7 2M 1M",
        "read -P 8 9M 1M",
        "read -P 1 4M 1M",
        "read -P 3 24M 512",
    )


@pytest.mark.parametrize("strategy", [IN_PLACE, COPY])
def test_ploop_accepts_what_was_compacted(strategy: str, tmp_path: Path) -> None:
    disk = used(str(tmp_path), version=1)
    apply_plan(plan_compact(PORT, disk.state, strategy=strategy))
    oracles.assert_ploop_accepts(disk.bundle)


def test_a_copy_for_ploop_is_accepted_with_the_holes_it_has(tmp_path: Path) -> None:
    """ploop refuses files with fewer blocks than bytes, so a copy that it may see has all of them."""
    disk = used(str(tmp_path), version=1)
    descriptor = Path(disk.bundle) / "DiskDescriptor.xml"
    descriptor.write_text(descriptor.read_text(encoding="utf-8").replace(' Version="1.0"', ""), encoding="utf-8")
    oracles.make_dense(disk.layout.expanding)
    apply_plan(plan_compact(PORT, disk.state, strategy=COPY))
    checked = oracles.ploop("check", "DiskDescriptor.xml", directory=disk.bundle)
    assert checked.code == 0, checked.output
    for path in disk.layout.expanding:
        assert os.stat(path).st_blocks * 512 >= os.path.getsize(path)
    oracles.assert_ploop_accepts(disk.bundle)

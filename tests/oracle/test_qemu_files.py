# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Single-file disks made by qemu-img and written by qemu-io: read, compacted and exported."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import METADATA, plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT, apply_plan, bytes_of, is_zero, observed
from ansible_collections.vdisk.parallels.tests.support import oracles

KIB, MIB = 1 << 10, 1 << 20
SIZES = {"9.5M-odd": 10_000_000, "24M": 24 * MIB, "tiny": 70_000}


def made_by_qemu(folder: Path, size: int, cluster: str, name: str = "old.hdd") -> str:
    path = os.path.join(os.path.realpath(str(folder)), name)
    oracles.qemu_img("create", "-q", "-f", "parallels", "-o", f"cluster_size={cluster}", path, str(size))
    return path


def writes_for(size: int) -> List[str]:
    """Data, zeros over data, zeros in clusters of their own, and what ends within a cluster or with the disk."""
    end = -(-size // 512) * 512
    wanted = [
        (0, 1000, 1),
        (end - 512, 512, 2),
        (MIB, 3 * MIB, 3),
        (2 * MIB, MIB, 0),
        (5 * MIB, 2 * MIB, 0),
        (7 * MIB + 4096, 70_000, 4),
        (4 * MIB, 64 * KIB, 5),
    ]
    return [f"write -P {byte} {start} {length}" for start, length, byte in wanted if start + length <= end]


def bytes_by_qemu(path: str, scratch: Path) -> bytes:
    raw = str(scratch / "by-qemu.raw")
    oracles.qemu_img("convert", "-f", "parallels", "-O", "raw", path, raw)
    return Path(raw).read_bytes()


@pytest.fixture(params=["64K", "1M", "4M"])
def cluster(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=list(SIZES))
def disk(request: pytest.FixtureRequest, tmp_path: Path, cluster: str) -> str:
    path = made_by_qemu(tmp_path, SIZES[request.param], cluster)
    oracles.qemu_io(path, *writes_for(SIZES[request.param]))
    return path


def test_we_read_what_qemu_made(disk: str, tmp_path: Path) -> None:
    state = observed(disk)
    image = state.layer(state.tree.top)[0]
    assert (image.header is not None and image.header.version, state.is_bundle) == (2, False)
    assert bytes_of(disk) == bytes_by_qemu(disk, tmp_path)
    oracles.compared("qemu-img convert")


def test_compaction_keeps_the_bytes_and_leaves_a_clean_image(disk: str, tmp_path: Path) -> None:
    before = str(tmp_path / "before.hdd")
    shutil.copyfile(disk, before)
    held = sum(length for _start, length in oracles.allocated_by_qemu(disk))
    plan = plan_compact(PORT, observed(disk))
    if not plan.is_empty:
        apply_plan(plan)
    oracles.qemu_img("compare", "-f", "parallels", "-F", "parallels", before, disk)
    oracles.compared("qemu-img compare")
    oracles.assert_qemu_finds_clean([disk])
    assert os.path.getsize(before) - os.path.getsize(disk) == plan.bytes_freed
    assert plan.is_empty == (held == sum(length for _start, length in oracles.allocated_by_qemu(disk)))
    content = bytes_of(disk)
    step = observed(disk).descriptor.storages[0].cluster_sectors * 512
    needed = [start for start in range(0, len(content), step) if not is_zero(content[start : start + step])]
    found = [start for first, length in oracles.allocated_by_qemu(disk) for start in range(first, first + length, step)]
    assert found == needed
    assert plan_compact(PORT, observed(disk)).is_empty


def test_compaction_removes_leaks_that_qemu_sees(tmp_path: Path) -> None:
    disk = made_by_qemu(tmp_path, 12 * MIB, "64K")
    oracles.qemu_io(disk, *writes_for(12 * MIB))
    expected = bytes_of(disk)
    os.truncate(disk, os.path.getsize(disk) + 3 * MIB)
    # 3: leaks, but no errors.
    assert oracles.run("qemu-img", "check", "-f", "parallels", disk).code == 3
    apply_plan(plan_compact(PORT, observed(disk), scan=METADATA))
    oracles.assert_qemu_finds_clean([disk])
    assert bytes_of(disk) == expected == bytes_by_qemu(disk, tmp_path)
    oracles.compared("qemu-img convert")


def test_an_export_is_what_qemu_exports(disk: str, tmp_path: Path) -> None:
    raw = os.path.join(os.path.realpath(str(tmp_path)), "by-us.raw")
    apply_plan(plan_convert(PORT, find_source(PORT, disk), ConvertRequest("raw", raw), token="trial"))
    oracles.qemu_img("compare", "-f", "parallels", "-F", "raw", disk, raw)
    oracles.compared("qemu-img compare")


def test_a_bundle_made_of_it_is_the_same_disk(disk: str, tmp_path: Path) -> None:
    bundle = os.path.join(os.path.realpath(str(tmp_path)), "new.hdd")
    apply_plan(plan_convert(PORT, find_source(PORT, disk), ConvertRequest("hdd", bundle), token="trial"))
    (image,) = oracles.read_layout(bundle).expanding
    oracles.assert_qemu_finds_clean([image])
    oracles.qemu_img("compare", "-f", "parallels", "-F", "parallels", disk, image)
    oracles.compared("qemu-img compare")

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking at a disk, or being refused, changes no byte, no time and no name."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Callable, Dict, NamedTuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import choose_removals
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT, TrialDisk, bytes_of, create, observed
from ansible_collections.vdisk.parallels.tests.support import oracles

MIB = 1 << 20


class Entry(NamedTuple):
    """All that could change of a directory entry, but the time of access."""

    mode: int
    owner: int
    inode: int
    size: int
    blocks: int
    modified: int
    changed: int
    content: str


def entries(folder: str) -> Dict[str, Entry]:
    found = {}
    for directory, _folders, files in os.walk(folder):
        for path in [directory, *[os.path.join(directory, name) for name in files]]:
            stat = os.lstat(path)
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest() if os.path.isfile(path) else ""
            found[path] = Entry(
                stat.st_mode,
                stat.st_uid,
                stat.st_ino,
                stat.st_size,
                stat.st_blocks,
                stat.st_mtime_ns,
                stat.st_ctime_ns,
                content,
            )
    return found


def with_snapshots(folder: str, **shape: object) -> TrialDisk:
    disk = create(folder, 12 * MIB, **shape)
    disk.write(1, 2)
    disk.take("one")
    disk.write_zeros(2)
    return disk


def desktop_sample(folder: str) -> TrialDisk:
    bundle = os.path.join(os.path.realpath(folder), "expanding.hdd")
    oracles.unpack_sample("desktop17-expanding.hdd", bundle)
    return TrialDisk(bundle, b"")


def made_by_ploop(folder: str) -> TrialDisk:
    oracles.require("ploop")
    bundle = os.path.join(os.path.realpath(folder), "ct.hdd")
    os.makedirs(bundle)
    oracles.succeeded(
        oracles.ploop("init", "-s", "12m", "-f", "ploop1", "-v", "1", "-t", "none", "root.hds", directory=bundle)
    )
    return TrialDisk(bundle, bytes(12 * MIB))


def dirty(folder: str) -> TrialDisk:
    disk = with_snapshots(folder)
    with open(disk.layout.expanding[0], "r+b") as stream:
        stream.seek(44)
        stream.write(b"Ynot")
    return disk


DISKS: Dict[str, Callable[[str], TrialDisk]] = {
    "ours": with_snapshots,
    "ours-split": lambda folder: with_snapshots(folder, split_size=104 * MIB),
    "ours-plain": lambda folder: with_snapshots(folder, kind="plain"),
    "dirty": dirty,
    "ploop": made_by_ploop,
    "desktop": desktop_sample,
}


@pytest.fixture(scope="module", params=list(DISKS))
def disk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TrialDisk:
    oracles.require("qemu-io")
    return DISKS[request.param](str(tmp_path_factory.mktemp("disk")))


def test_looking_at_a_disk_leaves_it_as_it_is(disk: TrialDisk) -> None:
    info = pytest.importorskip(
        "ansible_collections.vdisk.parallels.plugins.module_utils._ansible.info",
        reason="ansible-core is not installed",
        exc_type=ImportError,
    )
    before = entries(os.path.dirname(disk.bundle))
    params = {
        "path": disk.bundle,
        "paths": None,
        "recurse": False,
        "swap": "keep",
        "allow_outside": False,
        "scan": "zeros",
        "map": 16,
        "checksum": "sha256",
    }
    result = info.describe_disks(SimpleNamespace(params=params, check_mode=False))
    assert (len(result["disks"]), result["failed_disks"]) == (1, [])
    assert result["disks"][0]["checksum"]
    assert entries(os.path.dirname(disk.bundle)) == before


def test_reading_a_disk_leaves_it_as_it_is(disk: TrialDisk) -> None:
    before = entries(os.path.dirname(disk.bundle))
    for guid in disk.state.tree.shots:
        bytes_of(disk.bundle, guid)
    assert entries(os.path.dirname(disk.bundle)) == before


def test_planning_changes_a_disk_leaves_it_as_it_is(disk: TrialDisk, tmp_path: Path) -> None:
    state = observed(disk.bundle)
    before = entries(os.path.dirname(disk.bundle))
    plan_snapshot_take(state, "{aaaaaaaa-0000-4000-8000-000000000001}", force=True)
    plan_merge(PORT, state, choose_removals(state, max_layers=1), force=True)
    raw = os.path.join(os.path.realpath(str(tmp_path)), "disk.raw")
    plan_convert(PORT, find_source(PORT, disk.bundle), ConvertRequest("raw", raw), token="trial", predict=True)
    assert entries(os.path.dirname(disk.bundle)) == before


def test_a_refused_change_leaves_the_disk_as_it_is(tmp_path: Path) -> None:
    oracles.require("qemu-io")
    disk = dirty(str(tmp_path))
    before = entries(str(tmp_path))
    for plan in (
        lambda: plan_snapshot_take(disk.state, "{aaaaaaaa-0000-4000-8000-000000000001}"),
        lambda: plan_merge(PORT, disk.state, list(disk.frozen)),
    ):
        with pytest.raises(DiskError):
            plan()
    assert entries(str(tmp_path)) == before

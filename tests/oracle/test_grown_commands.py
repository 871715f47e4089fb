# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that a result gives for the guest, run as they stand on the grown disk by the kernel and the tools of
Linux: the file system has the new size, its files, and is clean. And the kernel sees the partitions that the table has.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.grow_partition import (
    GrowthRequest,
    plan_partition_growth,
)
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT
from ansible_collections.vdisk.parallels.tests.support import disks, layouts, oracles
from ansible_collections.vdisk.parallels.tests.support.layouts import MIB, SECTOR

SWAP_UUID = "5a5a5a5a-1111-4222-8333-444444444444"
SIZES = {"xfs": 320, "btrfs": 192}
"""MiB of the partition before, where the tool has a least size; a Btrfs becomes no smaller than 256 MiB by resize."""


@contextmanager
def attached(image: Path, number: int) -> Iterator[str]:
    """A loop device that is one partition of a disk; not every kernel looks for partitions on loop devices."""
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        pytest.skip("loop devices are for root")
    one = next((one for one in layouts.partitions_of(image) if one.number == number), None)
    assert one is not None
    place = ["-o", str(one.start * SECTOR), "--sizelimit", str(one.size * SECTOR)]
    device = layouts.run("losetup", "-f", "--show", *place, str(image)).strip()
    try:
        yield device
    finally:
        layouts.run("losetup", "-d", device)


@contextmanager
def mounted(device: str, folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    layouts.run("mount", device, str(folder))
    try:
        yield folder
    finally:
        layouts.run("umount", str(folder))


def grown(folder: Path, raw: Path, gain: int) -> Tuple[Path, Dict[str, Any]]:
    """The disk after a growth by ``gain`` bytes, and what the result says of its partition."""
    path, after = str(folder / "a.hdd"), folder / "after.img"
    disks.convert(PORT, str(raw), path)
    disks.apply(PORT, disks.plan_of_grow(disks.state_of(PORT, path), raw.stat().st_size + gain))
    state = disks.state_of(PORT, path)
    plan = plan_partition_growth(PORT, state, GrowthRequest(), actual=state)
    disks.apply(PORT, plan)
    disks.convert(PORT, path, str(after), format="raw")
    return after, plan.facts.grown


def told_to(grown_partition: Dict[str, Any], device: str) -> List[str]:
    """The commands, with the device of the host for the name that the guest has for it."""
    guid = grown_partition["guid"]
    assert any(guid in command for command in grown_partition["guest_commands"])
    commands = [
        command.replace(f"/dev/disk/by-partuuid/{guid}", device) for command in grown_partition["guest_commands"]
    ]
    return [command.replace(f"PARTUUID={guid}", device) for command in commands]


def made(folder: Path, kind: str, *command: str) -> Path:
    """A disk with an EFI system partition, one of this ``kind`` of content, and swap behind it."""
    raw = folder / "before.img"
    size = SIZES.get(kind, 64)
    behind = [] if kind == "swap" else [("+8M", layouts.SWAP)]
    layouts.by_sgdisk(
        raw, (size + 16) * MIB, [("+4M", layouts.ESP), (f"+{size}M", layouts.LINUX), *behind], "-a", "2048"
    )
    layouts.make(raw, layouts.partitions_of(raw)[1], *command)
    return raw


FILE_SYSTEMS = {
    "ext": (("mkfs.ext4", "-q", "-F"), ("e2fsck", "-fn")),
    "xfs": (("mkfs.xfs", "-q", "-f"), ("xfs_repair", "-n")),
    "btrfs": (("mkfs.btrfs", "-q", "-f", "-M"), ("btrfs", "check")),
}


@pytest.mark.parametrize("kind", FILE_SYSTEMS)
def test_file_systems_take_the_room_by_the_commands_of_the_result(tmp_path: Path, kind: str) -> None:
    maker, checker = FILE_SYSTEMS[kind]
    oracles.require(maker[0], checker[0], "sgdisk", "sfdisk", "losetup", "findmnt", "mount")
    raw = made(tmp_path, kind, *maker)
    with attached(raw, 2) as part, mounted(part, tmp_path / "m") as folder:
        (folder / "file").write_bytes(layouts.pattern(5, 3 * MIB))
    after, result = grown(tmp_path, raw, 100 * MIB)
    assert result["content"] == kind and result["size"] >= (SIZES.get(kind, 64) + 90) * MIB
    with attached(after, 2) as part:
        with mounted(part, tmp_path / "m") as folder:
            before = shutil.disk_usage(folder).total
            for command in told_to(result, part) if kind != "ext" else ():
                layouts.run("sh", "-c", command)
        if kind == "ext":
            # A mounted one takes a capability that containers lack; the Debian of the long test does that.
            layouts.run("e2fsck", "-f", "-p", part)
            for command in told_to(result, part):
                layouts.run("sh", "-c", command)
        with mounted(part, tmp_path / "m") as folder:
            assert shutil.disk_usage(folder).total - before > 80 * MIB
            (folder / "more").write_bytes(layouts.pattern(6, 80 * MIB))
            assert (folder / "file").read_bytes() == layouts.pattern(5, 3 * MIB)
        layouts.run(*checker, part)
    oracles.compared(f"commands for {kind}")


def test_a_physical_volume_takes_the_room(tmp_path: Path) -> None:
    """Its volume groups are those of the guest; here pvresize alone, which looks at no other device."""
    oracles.require("pvcreate", "pvresize", "pvs", "pvck", "losetup", "sgdisk", "sfdisk")
    raw = made(tmp_path, "lvm2", "mkswap")
    only = ["--config", 'devices { filter=["a|^/dev/loop|","r|.*|"] use_devicesfile=0 } global { event_activation=0 }']
    with attached(raw, 2) as part:
        layouts.run("wipefs", "-a", part)
        layouts.run("pvcreate", *only, "-y", part)
    after, result = grown(tmp_path, raw, 100 * MIB)
    assert result["content"] == "lvm2"
    with attached(after, 2) as part:
        (command, further) = told_to(result, part)
        assert further == "lvextend --resizefs --extents +100%FREE VOLUME"
        program, *arguments = command.split()
        layouts.run(program, *only, *arguments)
        said = layouts.run("pvs", *only, "--noheadings", "--units", "m", "-o", "pv_size", part)
        assert float(re.findall(r"[0-9.]+", said)[0]) > 155
        layouts.run("pvck", *only, part)
    oracles.compared("commands for LVM")


def test_swap_is_made_anew_under_its_own_name(tmp_path: Path) -> None:
    """Swap that is the one to grow: named, for the rule moves it."""
    oracles.require("mkswap", "swaplabel", "losetup", "sgdisk", "sfdisk")
    raw = tmp_path / "before.img"
    layouts.by_sgdisk(raw, 64 * MIB, [("+40M", layouts.LINUX), ("0", layouts.SWAP)])
    layouts.make(raw, layouts.partitions_of(raw)[1], "mkswap", "-U", SWAP_UUID)
    path, after = str(tmp_path / "a.hdd"), tmp_path / "after.img"
    disks.convert(PORT, str(raw), path)
    disks.apply(PORT, disks.plan_of_grow(disks.state_of(PORT, path), 164 * MIB))
    state = disks.state_of(PORT, path)
    plan = plan_partition_growth(PORT, state, GrowthRequest("2"), actual=state)
    disks.apply(PORT, plan)
    disks.convert(PORT, path, str(after), format="raw")
    result = plan.facts.grown
    assert result["content"] == "swap"
    with attached(after, 2) as part:
        off, make, on = told_to(result, part)
        assert (off.split()[0], on.split()[0]) == ("swapoff", "swapon")
        said = layouts.run("sh", "-c", make.replace("OLD-UUID", SWAP_UUID))
        assert float(re.findall(r"size = ([0-9.]+) MiB", said)[0]) > 115
        assert SWAP_UUID in layouts.run("swaplabel", part)
    oracles.compared("commands for swap")


@pytest.mark.parametrize("name", ["windows", "macos", "linux-swap", "lvm", "mbr-extended", "mbr-logical", "bitlocker"])
def test_the_kernel_sees_the_partitions_of_the_table(tmp_path: Path, name: str) -> None:
    oracles.require("sgdisk", "sfdisk", "losetup", "mkfs.fat", "mkfs.ext4", "mkfs.ntfs", "mkswap")
    raw = tmp_path / "before.img"
    layouts.MAKERS[name](raw)
    after, _result = grown(tmp_path, raw, 48 * MIB)
    listed = {one.number: (one.start, one.size) for one in layouts.partitions_of(after) if one.type not in ("5", "f")}
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        pytest.skip("loop devices are for root")
    device = layouts.run("losetup", "-f", "--show", "-P", str(after)).strip()
    try:
        base = Path("/sys/class/block", os.path.basename(device), os.path.basename(device))
        if not Path(f"{base}p{min(listed)}").exists():
            pytest.skip("this kernel looks for no partitions on loop devices")
        seen = {
            number: tuple(int(Path(f"{base}p{number}/{key}").read_text()) for key in ("start", "size"))
            for number in listed
        }
    finally:
        layouts.run("losetup", "-d", device)
    assert seen == listed
    oracles.compared("partitions of the kernel")


def test_growpart_finds_nothing_left_to_do(tmp_path: Path) -> None:
    oracles.require("growpart", "sgdisk", "sfdisk", "mkfs.fat", "mkfs.ext4", "mkswap")
    raw = tmp_path / "before.img"
    layouts.linux_swap(raw)
    said = layouts.run("growpart", "--dry-run", str(raw), "2", check=False)
    assert "NOCHANGE" in said, "swap is in the way"
    after, _result = grown(tmp_path, raw, 48 * MIB)
    said = layouts.run("growpart", "--dry-run", str(after), "2", check=False)
    assert "NOCHANGE" in said and "it cannot be grown" in said
    oracles.compared("growpart")

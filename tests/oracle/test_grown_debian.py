# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Debian that starts from its own disk before and after the disk has become larger, and uses the room."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Dict

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support import layouts
from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed

_ROOT = Path(__file__).resolve().parents[2]
FOLDER = _ROOT / ".build" / "debian_image"
EMULATOR = "qemu-system-x86_64"
NEEDED = (EMULATOR, "mmdebstrap", "sgdisk", "extlinux", "losetup", "mkfs.ext4", "mkswap", "e2fsck")
MIB = 1 << 20
# The root is read-only until growpart and resize2fs are through with what they are asked for; then it is written.
SCRIPT = """#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
mount -t proc proc /proc 2> /dev/null; mount -t sysfs sysfs /sys 2> /dev/null
mount -t tmpfs tmpfs /run 2> /dev/null; mount -t tmpfs tmpfs /tmp 2> /dev/null
mount -o remount,rw /
root=$(findmnt -no SOURCE /)
disk=/dev/$(lsblk -no PKNAME "$root")
tell() { while read -r line; do echo "says $1: $line"; done; }
echo "says kernel: $(uname -r)"
blockdev --getsize64 "$disk" | tell disk
df -m --output=size / | tail -n 1 | tell root-before
growpart "$disk" 1 2>&1 | tell growpart
{ resize2fs "$root" 2>&1 || echo failed; } | tell resize2fs
df -m --output=size / | tail -n 1 | tell root-after
swapon -L grown-swap 2>&1 | tell swapon
swapon --show=SIZE --noheadings --bytes | tell swap
sfdisk --verify "$disk" 2>&1 | tell verify
if [ "$(df -m --output=avail / | tail -n 1)" -gt 900 ]; then
  dd if=/dev/urandom of=/filled bs=1M count=900 2> /dev/null && sha256sum < /filled > /filled.sum && sync
  echo 3 > /proc/sys/vm/drop_caches
  [ "$(sha256sum < /filled)" = "$(cat /filled.sum)" ] && echo "says filled: whole"
  rm /filled
fi
sync
mount -o remount,ro /
echo "says end: yes"
echo 1 > /proc/sys/kernel/sysrq; echo o > /proc/sysrq-trigger; sleep 60
"""


def prepared() -> Path:
    missing = [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0 or not os.path.exists("/dev/loop-control"):
        pytest.skip("a system is made as root with loop devices only")
    FOLDER.mkdir(parents=True, exist_ok=True)
    script = FOLDER / "script.sh"
    if not (FOLDER / "ready").exists() or script.read_text(encoding="ascii") != SCRIPT:
        script.write_text(SCRIPT, encoding="ascii")
        maker = str(_ROOT / "tests" / "utils" / "debian_image.sh")
        done = subprocess.run(["sh", maker, str(FOLDER), str(script)], text=True, capture_output=True, check=False)
        if done.returncode:
            script.unlink()
            pytest.skip(f"Debian cannot be made here: {done.stderr[-300:]}")
    return FOLDER / "disk.img"


def started(image: Path) -> Dict[str, str]:
    """What the system says that a BIOS starts from this disk."""
    machine = [EMULATOR, "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot"]
    machine += ["-nic", "none", "-drive", f"file={image},if=virtio,format=raw,cache=unsafe"]
    done = subprocess.run(machine, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=1500, check=False)
    told = done.stdout.decode(errors="replace").replace("\r", "")
    said: Dict[str, str] = {}
    for key, text in re.findall(r"says ([a-z0-9-]+): (.*)", told):
        said[key] = f"{said[key]} {text}" if key in said else text
    print(*(f"{key}: {text}" for key, text in said.items()), sep="\n")
    assert "end" in said, told[-3000:]
    return said


@pytest.mark.long
@pytest.mark.parametrize("table", ["grow", "fix"])
def test_a_debian_starts_from_its_larger_disk_and_uses_the_room(tmp_path: Path, table: str) -> None:
    """With ``grow`` the partition is as large as it can be and the swap behind it has moved; with ``fix`` it is in the
    way, and growpart itself says so.
    """
    source, path, after = prepared(), f"{tmp_path}/debian.hdd", tmp_path / "after.img"
    succeed("hdd_convert", src=str(source), dest=path)
    done = succeed("hdd", path=path, size="2500M", partition_table=table)
    succeed("hdd_convert", src=path, dest=str(after), dest_format="raw")
    assert "No problems found" in layouts.run("sgdisk", "-v", str(after))
    said = started(after)
    assert int(said["disk"]) == 2500 * MIB and 740 <= int(said["root-before"]) <= 800, said
    if table == "grow":
        assert done["grown_partition"]["guest_commands"][0].startswith("resize2fs ")
        assert "NOCHANGE" in said["growpart"] and "is now" in said["resize2fs"], said
        assert int(said["root-after"]) > 2200 and said["filled"] == "whole", said
    else:
        assert "NOCHANGE" in said["growpart"] and "Nothing to do" in said["resize2fs"], said
    assert 90 * MIB < int(said["swap"]) < 100 * MIB and "No errors detected" in said["verify"], said
    root = next(one for one in layouts.partitions_of(after) if one.number == 1)
    layouts.run("e2fsck", "-fn", f"{after}?offset={root.start * layouts.SECTOR}")


@pytest.mark.long
def test_growpart_in_the_guest_takes_the_room_that_is_left_to_it(tmp_path: Path) -> None:
    """A disk without anything behind its root: the table is only put in order, and the guest does the rest."""
    source, alone = prepared(), tmp_path / "alone.img"
    shutil.copyfile(source, alone)
    layouts.run("sgdisk", "-d", "2", str(alone))
    path, after = f"{tmp_path}/debian.hdd", tmp_path / "after.img"
    succeed("hdd_convert", src=str(alone), dest=path)
    succeed("hdd", path=path, size="2500M", partition_table="fix")
    succeed("hdd_convert", src=path, dest=str(after), dest_format="raw")
    said = started(after)
    assert "CHANGED" in said["growpart"] and "is now" in said["resize2fs"], said
    assert int(said["root-after"]) > 2200 and said["filled"] == "whole", said

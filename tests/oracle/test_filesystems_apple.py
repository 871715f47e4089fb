# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""APFS and HFS+ under other programs: partclone counts the same, apfsck is content when everything free has been
overwritten, turned bits never make more free. A kernel that writes both fills them in a long test.
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path
from typing import Any, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import observe
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple import apfs, hfsplus
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.tests.support.filesystems import (
    free_of,
    scribbled,
    sparse,
    tool,
    turn_bits,
)
from ansible_collections.vdisk.parallels.tests.support.guest_kernel import in_guest
from ansible_collections.vdisk.parallels.tests.support.guest_trees import CLUSTER, PORT, built, guid_at, shown
from ansible_collections.vdisk.parallels.tests.support.hfsplus_images import formatted
from ansible_collections.vdisk.parallels.tests.support.oracles import compared

FLIPS = 1500 if os.environ.get("VDISK_LONG") else 60
MIB, GIB = 1 << 20, 1 << 30


def made_apfs(path: Path, size: int) -> Path:
    tool("mkapfs", sparse(path, size))
    return path


def made_hfsplus(path: Path, size: int, block: int) -> Path:
    disk = formatted(size, block)
    with open(sparse(path, size), "r+b") as stream:
        for offset in range(0, size, MIB):
            content = disk.get(offset, MIB)
            if content.strip(b"\0"):
                stream.seek(offset)
                stream.write(content)
    return path


def assert_partclone_agrees(name: str, reader: Any, image: Path) -> None:
    """None of the ranges that partclone would copy is free, and it counts as many bytes."""
    log = image.with_name("ranges")
    tool(f"partclone.{name}", "-D", "-q", "-s", image, "-O", log, "-L", image.with_name("log"))
    runs, used = free_of(reader, image), 0
    for line in log.read_text(encoding="ascii").splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2] == "+":
            low, length = int(fields[0], 16), int(fields[1], 16)
            used += length
            assert not runs.within(low, low + length)
    assert used + runs.total == image.stat().st_size
    compared("partclone")


@pytest.mark.parametrize("size", [128 * MIB, 512 * MIB, 20 * GIB, 1 << 40], ids=["128M", "512M", "20G", "1T"])
def test_an_empty_container_can_be_overwritten(size: int, tmp_path: Path) -> None:
    image = made_apfs(tmp_path / "image", size)
    tool("apfsck", image)
    runs = free_of(apfs, image)
    assert runs.total > size * 0.7
    copy = scribbled(image, runs)
    tool("apfsck", copy)
    assert free_of(apfs, copy) == runs
    compared("apfsck")


@pytest.mark.parametrize("size", [128 * MIB, 20 * GIB], ids=["128M", "20G"])
def test_partclone_finds_the_same_in_a_container(size: int, tmp_path: Path) -> None:
    assert_partclone_agrees("apfs", apfs, made_apfs(tmp_path / "image", size))


def test_turned_bits_of_a_container_never_make_more_free(tmp_path: Path) -> None:
    results = turn_bits(apfs, made_apfs(tmp_path / "image", GIB), FLIPS)
    assert "larger" not in results, results


@pytest.mark.parametrize("block", [512, 4096, 8192])
def test_partclone_finds_the_same_in_hfsplus(block: int, tmp_path: Path) -> None:
    assert_partclone_agrees("hfsplus", hfsplus, made_hfsplus(tmp_path / "image", 24 * MIB, block))


@pytest.mark.parametrize("block", [512, 4096])
def test_turned_bits_of_hfsplus_never_make_more_free(block: int, tmp_path: Path) -> None:
    results = turn_bits(hfsplus, made_hfsplus(tmp_path / "image", 24 * MIB, block), FLIPS)
    assert "larger" not in results, results


SUMS = """
sums() { (cd /mnt && find . -type f | sort | xargs sha256sum | sha256sum | cut -c1-64); }
each() {
  for device in /dev/vd?; do
    mount -t "$1" -o "$2" "$device" /mnt || echo "says $device is not mounted"
    "$3"
    umount /mnt
  done
}
"""
FILL = """
fill() {
  for i in 1 2 3 4 5 6; do
    mkdir /mnt/d$i
    dd if=/dev/urandom of=/mnt/d$i/f bs=64k count=30 2>/dev/null
    for j in 1 2 3 4 5; do dd if=/dev/urandom of=/mnt/d$i/s$j bs=3000 count=1 2>/dev/null; done
  done
  sync
  for i in 1 3 5; do rm -rf /mnt/d$i; done
  sync
  echo "says $(sums)"
}
"""
READ = """
read_all() { echo "says $(sums)"; }
"""
WRITE = """
write_more() {
  for i in 1 2 3; do dd if=/dev/urandom of=/mnt/new$i bs=64k count=30 2>/dev/null; done
  sync
  rm -f /mnt/new1
  mkdir /mnt/kept; mv /mnt/new* /mnt/kept
  (cd /mnt && find d? -type f | sort | xargs sha256sum | sha256sum | cut -c1-64 | sed 's/^/says /')
}
"""


def told(kind: str, options: str, function: str, images: List[Path], work: Path) -> List[str]:
    """What a function of the guest says of each image."""
    name = function.split("(")[0].strip()
    return in_guest(f"{SUMS}\n{function}\neach {kind} {options} {name}\n", images, work)


@pytest.mark.long
def test_a_kernel_fills_containers_and_reads_them_after_they_were_overwritten(tmp_path: Path) -> None:
    images = [made_apfs(tmp_path / "a", 4 * GIB), made_apfs(tmp_path / "b", 20 * GIB)]
    filled = told("apfs", "readwrite", FILL, images, tmp_path)
    assert len(set(filled)) == 2 and "not mounted" not in "".join(filled)
    copies = []
    for image in images:
        tool("apfsck", image)
        assert_partclone_agrees("apfs", apfs, image)
        results = turn_bits(apfs, image, FLIPS)
        assert "larger" not in results, results
        copies.append(scribbled(image, free_of(apfs, image)))
        tool("apfsck", copies[-1])
    assert told("apfs", "ro", READ, copies, tmp_path) == filled
    wrote = told("apfs", "readwrite", WRITE, copies, tmp_path)
    assert len(wrote) == 2
    for copy in copies:
        tool("apfsck", copy)
    compared("Linux' apfs", 2)


@pytest.mark.long
def test_a_kernel_fills_hfsplus_and_reads_it_after_it_was_overwritten(tmp_path: Path) -> None:
    images = [made_hfsplus(tmp_path / f"h{block}", 24 * MIB, block) for block in (512, 4096, 8192)]
    filled = told("hfsplus", "rw", FILL, images, tmp_path)
    assert len(set(filled)) == 3 and "not mounted" not in "".join(filled)
    copies = []
    for image in images:
        assert_partclone_agrees("hfsplus", hfsplus, image)
        results = turn_bits(hfsplus, image, FLIPS)
        assert "larger" not in results, results
        copies.append(scribbled(image, free_of(hfsplus, image)))
    assert told("hfsplus", "ro", READ, copies, tmp_path) == filled
    wrote = told("hfsplus", "rw", WRITE, copies, tmp_path)
    assert len(wrote) == 3
    for copy in copies:
        assert_partclone_agrees("hfsplus", hfsplus, copy)
    compared("Linux' hfsplus", 3)


def grown_in_guest(kind: str, options: str, parents: List[Optional[int]], states: List[Path], work: Path) -> List[str]:
    """Each image is copied from the one that it is made from, and changed by the guest's kernel; the sums of each.

    One at a time: in one guest, Linux' apfs takes copies of a container for the same.
    """
    sums = []
    for number, parent in enumerate(parents):
        if parent is not None:
            subprocess.run(["cp", "--sparse=always", states[parent], states[number]], check=True)
        lines = [SUMS, f"mount -t {kind} -o {options} /dev/vda /mnt || echo 'says not mounted'"]
        lines.append(f"ls /mnt | sed -n '{number % 3 + 1}p' | while read -r gone; do rm -rf /mnt/$gone; done")
        for size in (3000, 70000, 600000 + 1000 * number):
            lines.append(f"mkdir -p /mnt/n{number}s{size}")
            lines.append(f"dd if=/dev/urandom of=/mnt/n{number}s{size}/f bs={size} count=2 2>/dev/null")
        lines.append(f'sync; rm -rf /mnt/n{number}s70000; sync; echo "says $(sums)"; umount /mnt')
        sums += in_guest("\n".join([*lines, ""]), [states[number]], work)
    return sums


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["apfs", "hfsplus"])
def test_every_snapshot_keeps_its_files(kind: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(f"{kind} {seed}")
    # In smaller containers Linux runs out of its internal pool.
    size, options = (GIB, "readwrite") if kind == "apfs" else (24 * MIB, "rw")
    reader: Any = apfs if kind == "apfs" else hfsplus
    parents = [None, *(chance.randrange(max(0, one - 2), one) for one in range(1, chance.randrange(3, 6)))]
    states = [tmp_path / f"state{number}" for number in range(len(parents))]
    made_apfs(states[0], size) if kind == "apfs" else made_hfsplus(states[0], size, 4096)
    before = grown_in_guest(kind, options, parents, states, tmp_path)
    assert len(set(before)) == len(states) and "not mounted" not in before
    path = f"{tmp_path}/{kind}.hdd"
    built(path, size, tmp_path, parents)
    plan = plan_compact(
        PORT, observe(PORT, locate(PORT, path)), scan="filesystem", strategy=("in_place", "copy", "punch")[seed % 3]
    )
    assert sum(one.reasons.get("free_in_filesystem", 0) for one in plan.facts.savings) > CLUSTER
    execute(PORT, plan)
    images = [shown(path, guid_at(parents, number), tmp_path / f"shown{number}") for number in range(len(parents))]
    for image, state in zip(images, states):
        assert free_of(reader, image) == free_of(reader, state)
        if kind == "apfs":
            tool("apfsck", image)
    assert [told(kind, "ro", READ, [image], tmp_path)[0] for image in images] == before
    compared(f"trees of {kind}")


def test_apples_own_tools_find_nothing(tmp_path: Path) -> None:
    """Debian has them in some releases only."""
    image = sparse(tmp_path / "image", 32 * MIB)
    tool("mkfs.hfsplus", "-v", "disk", image)
    runs = free_of(hfsplus, image)
    assert runs.total > 16 * MIB
    copy = scribbled(image, runs)
    tool("fsck.hfsplus", "-fn", copy)
    assert "larger" not in turn_bits(hfsplus, image, FLIPS)
    compared("hfsprogs")

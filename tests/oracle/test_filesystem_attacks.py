# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What may deceive a look at free space, made by the tools of the file systems: one made over another, partitions that
are too short or too long, containers around a file system that is still to be seen. Nothing is free that is not free.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import ext
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.runs import Runs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.scan import find_free_space
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows import exfat, ntfs
from ansible_collections.vdisk.parallels.tests.support import filesystem_images as images
from ansible_collections.vdisk.parallels.tests.support.filesystems import (
    ImageFile,
    free_of,
    is_within,
    reason_of,
    scribbled,
    sources,
    sparse,
    tool,
)
from ansible_collections.vdisk.parallels.tests.support.mounts import checksums, mounted_ntfs
from ansible_collections.vdisk.parallels.tests.support.oracles import compared

MIB = 1 << 20
SIZE = 320 * MIB
MAKERS: Dict[str, Tuple[str, ...]] = {
    "ext2": ("mke2fs", "-q", "-F", "-t", "ext2"),
    "ext4": ("mke2fs", "-q", "-F", "-t", "ext4"),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "ntfs": ("mkntfs", "-q", "-Q", "-F", "-c", "4096"),
    "fat16": ("mkfs.fat", "-F", "16"),
    "fat32": ("mkfs.fat", "-F", "32", "-s", "1"),
    "exfat": ("mkfs.exfat",),
    "apfs": ("mkapfs",),
    "swap": ("mkswap",),
}
PAIRS = [(one, other) for one in MAKERS for other in MAKERS if one != other]
CHOSEN = PAIRS if os.environ.get("VDISK_LONG") else random.Random(18).sample(PAIRS, 12)


def free(path: Path) -> Runs:
    disk = ImageFile(path)
    try:
        return find_free_space(disk, swap=True).free  # type: ignore[arg-type]
    finally:
        disk.close()


def said(path: Path) -> List[Tuple[Optional[str], Optional[str]]]:
    disk = ImageFile(path)
    try:
        return [(one.type, one.reason) for one in find_free_space(disk).answers]  # type: ignore[arg-type]
    finally:
        disk.close()


def made(kind: str, path: Path, size: int = SIZE) -> Path:
    tool(*MAKERS[kind], path if path.exists() else sparse(path, size))
    return path


@pytest.mark.parametrize(("old", "new"), CHOSEN, ids=[f"{new} over {old}" for old, new in CHOSEN])
def test_what_was_there_before_frees_nothing(old: str, new: str, tmp_path: Path) -> None:
    """A file system made over another has what it would have alone, or nothing."""
    alone = free(made(new, tmp_path / "alone"))
    path = made(new, made(old, tmp_path / "both"))
    found = free(path)
    assert is_within(found, alone)
    assert found == alone or said(path)[0][1] is not None
    compared("tools of two file systems")


@pytest.mark.parametrize("kind", MAKERS)
def test_a_volume_that_is_longer_than_its_partition_has_nothing_free(kind: str, tmp_path: Path) -> None:
    path = made(kind, tmp_path / "image")
    os.truncate(path, SIZE - 8 * MIB)
    assert free(path).total == 0
    assert said(path)[0][1] is not None


@pytest.mark.parametrize("kind", MAKERS)
def test_nothing_is_free_behind_a_volume(kind: str, tmp_path: Path) -> None:
    path = made(kind, tmp_path / "image")
    alone = free(path)
    os.truncate(path, SIZE + 24 * MIB)
    assert is_within(free(path), alone)


@pytest.mark.parametrize("version", ["luks1", "luks2"])
def test_a_file_system_that_was_encrypted_over_has_nothing_free(version: str, tmp_path: Path) -> None:
    path = made("ext4", tmp_path / "image", 64 * MIB)
    key = tmp_path / "key"
    key.write_bytes(b"secret")
    options = ("--type", version, "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", key)
    tool("cryptsetup", "-q", "luksFormat", *options, path)
    assert said(path) == [("luks", "encrypted")]
    compared("cryptsetup")


@pytest.mark.parametrize("version", ["0.90", "1.0", "1.1", "1.2"])
def test_a_member_of_a_raid_has_nothing_free(version: str, tmp_path: Path) -> None:
    """Of the first two versions the file system begins where the member does."""
    path = made("ext4", tmp_path / "image", 64 * MIB)
    end = 64 * MIB
    place = {"0.90": end - 65536, "1.0": end - 8192, "1.1": 0, "1.2": 4096}[version]
    with open(path, "r+b") as stream:
        stream.seek(place)
        stream.write(struct.pack("<I", 0xA92B4EFC))
    assert said(path) == [("md", "raid")]


def test_a_pool_of_zfs_over_a_file_system_has_nothing_free(tmp_path: Path) -> None:
    """ZFS does not write into the first 8 KiB, where a superblock and descriptors stay."""
    path = made("ext4", tmp_path / "image", 64 * MIB)
    assert said(path) == [("ext4", None)]
    with open(path, "r+b") as stream:
        stream.seek(16384)
        stream.write(bytes.fromhex("01010000000000000000000100000024000000200000000776657273696f6e00"))
    assert said(path) == [("zfs", "unsupported")]


def test_partitions_in_one_another_have_nothing_free(tmp_path: Path) -> None:
    part = made("ext4", tmp_path / "ext4", 24 * MIB)
    path = images.with_partitions(
        tmp_path / "disk", "label: dos\nstart=2048, size=24M, type=83\n", 64 * MIB, [(MIB, part)]
    )
    assert free(path).total
    with open(path, "r+b") as stream:
        stream.seek(446 + 16)
        stream.write(struct.pack("<B3sB3sII", 0, b"", 0x83, b"", 8192, 8192))
    assert free(path).total == 0


def test_tables_of_a_gpt_that_disagree_free_nothing(tmp_path: Path) -> None:
    part = made("ext4", tmp_path / "ext4", 24 * MIB)
    path = images.with_partitions(tmp_path / "disk", "label: gpt\nstart=2048, size=24M\n", 64 * MIB, [(MIB, part)])
    front = path.read_bytes()[: 34 * 512]
    assert free(path).total
    tool("sfdisk", "-q", path, stdin="label: gpt\nstart=2048, size=40M\n")
    with open(path, "r+b") as stream:
        stream.write(front)
    assert said(path) == [(None, "partition_table")]
    # A disk that was made longer has its second table elsewhere: the first counts.
    os.truncate(path, 80 * MIB)
    assert free(path).total


def test_a_journal_of_its_own_device(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a loop device needs root")
    journal = sparse(tmp_path / "journal", 8 * MIB)
    tool("mke2fs", "-q", "-F", "-b", "4096", "-O", "journal_dev", journal)
    device = tool("losetup", "-f", "--show", journal).strip()
    try:
        path = sparse(tmp_path / "image", 64 * MIB)
        tool("mke2fs", "-q", "-F", "-b", "4096", "-t", "ext4", "-J", f"device={device}", path)
    finally:
        tool("losetup", "-d", device)
    assert reason_of(ext, journal) == "unsupported"
    copy = scribbled(path, free_of(ext, path))
    tool("e2fsck", "-fn", copy, fails=True)
    facts = tool("dumpe2fs", "-h", copy)
    found = re.search(r"Free blocks:\s+(\d+)", facts)
    assert found is not None and free_of(ext, path).total == int(found.group(1)) * 4096
    tool("debugfs", "-w", "-R", "feature needs_recovery", path)
    assert reason_of(ext, path) == "unclean"


def test_compressed_and_sparse_files_of_ntfs_lose_nothing(tmp_path: Path) -> None:
    path = sparse(tmp_path / "image", 64 * MIB)
    tool("mkntfs", "-q", "-F", "-C", "-c", "4096", path)
    files = sources(tmp_path / "files")
    with mounted_ntfs(path, "-o", "compression") as folder:
        (folder / "packed").mkdir()
        os.setxattr(folder / "packed", "system.ntfs_attrib_be", struct.pack(">I", 0x810))
        for number in range(6):
            content = b"".join(bytes([one % 7]) * 700 for one in range(number * 300))
            (folder / "packed" / f"text{number}").write_bytes(content)
            shutil.copy(files / "kept3", folder / "packed" / f"noise{number}")
        with open(folder / "sparse", "wb") as stream:
            for place in (0, 5, 11):
                stream.seek(place * MIB)
                stream.write(b"here" * 3000)
        (folder / "packed" / "text3").unlink()
    before = read_ntfs(path)
    copy = scribbled(path, free_of(ntfs, path))
    assert read_ntfs(copy) == before and len(before) == 12
    compared("ntfs-3g")


def read_ntfs(path: Path) -> Dict[str, str]:
    with mounted_ntfs(path, "-o", "ro") as folder:
        return checksums(folder)


def test_bad_clusters_of_exfat_are_not_free(tmp_path: Path) -> None:
    path = sparse(tmp_path / "image", 24 * MIB)
    tool("mkfs.exfat", "-c", "4K", path)
    before = free_of(exfat, path)
    raw = path.read_bytes()[:512]
    table, _length, heap = struct.unpack_from("<III", raw, 80)
    cluster = (before.within(0, 24 * MIB)[0][0] - heap * 512) // 4096 + 2 + 40
    bitmap = heap * 512
    with open(path, "r+b") as stream:
        stream.seek(table * 512 + 4 * cluster)
        stream.write(struct.pack("<I", 0xFFFFFFF7))
        stream.seek(bitmap + (cluster - 2) // 8)
        stream.write(bytes([1 << (cluster - 2) % 8]))
    place = heap * 512 + (cluster - 2) * 4096
    after = free_of(exfat, path)
    assert after.total == before.total - 4096 and not after.within(place, place + 4096)


def test_the_oldest_and_the_newest_guests(tmp_path: Path) -> None:
    """Variants of mke2fs: as much is free as it says, and that can be overwritten."""
    variants: Dict[str, Any] = {
        "1k blocks, 256 a group": ("-t", "ext4", "-b", "1024", "-g", "256", "-N", "64"),
        "no journal": ("-t", "ext4", "-O", "^has_journal"),
        "stable inodes": ("-t", "ext4", "-O", "stable_inodes,encrypt"),
        "packed": ("-t", "ext4", "-E", "packed_meta_blocks=1"),
        "sparse_super2, one copy": ("-t", "ext4", "-O", "sparse_super2", "-E", "num_backup_sb=1"),
        "lazy tables": ("-t", "ext4", "-E", "lazy_itable_init=1"),
        "a resize to come": ("-t", "ext4", "-E", "resize=4194304"),
    }
    for name, options in variants.items():
        path = images.ext(tmp_path / "image", *options)
        found = re.search(r"Free blocks:\s+(\d+)\nFree inodes[^$]*?Block size:\s+(\d+)", tool("dumpe2fs", "-h", path))
        assert found is not None
        runs = free_of(ext, path)
        assert runs.total == int(found.group(1)) * int(found.group(2)), name
        tool("e2fsck", "-fn", scribbled(path, runs))
    subprocess.run(["rm", "-f", tmp_path / "image"], check=True)

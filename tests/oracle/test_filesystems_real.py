# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes that macOS and Windows wrote: the number of free clusters is known, and when they are overwritten every file
reads as before, by readers that share nothing with this collection.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple import apfs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows import exfat, fat, ntfs
from ansible_collections.vdisk.parallels.tests.support.filesystems import free_of, reason_of, scribbled, turn_bits
from ansible_collections.vdisk.parallels.tests.support.mounts import checksums, mounted_exfat
from ansible_collections.vdisk.parallels.tests.support.oracles import compared
from ansible_collections.vdisk.parallels.tests.support.real_volumes import library, partition, require_volume

LONG = bool(os.environ.get("VDISK_LONG"))
FLIPS = 1500 if LONG else 40
APFS, NTFS, FAT, HYPERVISOR = "dissect.apfs-1.1", "dissect.ntfs-3.16", "dissect.fat-3.13", "dissect.hypervisor-3.10"
Files = Dict[str, str]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read_apfs(path: Path) -> Files:
    """All files of all volumes, and of some of their snapshots, with what is attached to them."""
    reader = library("dissect.apfs.apfs")
    found: Files = {}
    with open(path, "rb") as stream:
        for volume in reader.APFS(stream).volumes:
            if volume.is_encrypted:
                volume.unlock("password")
            for name, state in [
                ("", volume),
                *((one.name, one.open()) for one in volume.snapshots[:: 20 if LONG else 200]),
            ]:
                _read_apfs_folder(state.get("/"), f"{name}/", found)
    return found


def _read_apfs_folder(folder: Any, place: str, found: Files) -> None:
    names = sorted(folder.listdir())
    # The reader takes long for folders with a thousand files.
    for name in names[:: 1 if LONG else 1 + len(names) // 20]:
        node = folder.volume.get(name, folder)
        for key, value in node.xattr.items():
            found[f"{place}{name} {key}"] = digest(value.open().read())
        if node.is_dir():
            _read_apfs_folder(node, f"{place}{name}/", found)
        elif node.is_file():
            found[f"{place}{name}"] = digest(node.open().read())


def read_ntfs(path: Path) -> Files:
    """All data of all records in use."""
    reader = library("dissect.ntfs.ntfs")
    found: Files = {}
    with open(path, "rb") as stream:
        for record in reader.NTFS(stream).mft.segments():
            for kind in record.attributes:
                for one in record.attributes[kind]:
                    # What is free is overwritten: the sparse file of bad clusters reads as zeros before and after.
                    if record.segment != 8:
                        found[f"{record.segment} {kind} {one.name}"] = digest(one.open().read())
    return found


def read_fat(path: Path) -> Files:
    """All files in all folders."""
    reader = library("dissect.fat.fat")
    found: Files = {}
    with open(path, "rb") as stream:
        waiting = [("", reader.FATFS(stream).root)]
        while waiting:
            place, folder = waiting.pop()
            for entry in folder.iterdir():
                if entry.name in (".", ".."):
                    continue
                if entry.is_directory():
                    waiting.append((f"{place}{entry.name}/", entry))
                else:
                    found[f"{place}{entry.name}"] = digest(entry.open().read())
    return found


def read_exfat(path: Path) -> Files:
    with mounted_exfat(path, "-o", "ro") as folder:
        return checksums(folder)


def volume(reader: Any, read: Callable[[Path], Files], source: str, free: int) -> Any:
    archive, member = source.split("/", 1)
    return pytest.param(reader, read, archive, member, free, id=member)


VOLUMES = [
    volume(apfs, read_apfs, f"{APFS}/case_insensitive.bin", 819 * 4096),
    volume(apfs, read_apfs, f"{APFS}/case_insensitive_beta.bin", 891 * 4096),
    volume(apfs, read_apfs, f"{APFS}/case_sensitive.bin", 819 * 4096),
    volume(apfs, read_apfs, f"{APFS}/case_sensitive_beta.bin", 891 * 4096),
    volume(apfs, read_apfs, f"{APFS}/encrypted.bin", 803 * 4096),
    volume(apfs, read_apfs, f"{APFS}/snapshot.bin", 1472 * 4096),
    volume(apfs, read_apfs, f"{APFS}/jhfs_converted.bin", 3712 * 4096),
    volume(ntfs, read_ntfs, f"{NTFS}/ntfs.bin", 36 * 4096),
    volume(ntfs, read_ntfs, f"{HYPERVISOR}/dynamic.vhd", 838 * 4096),
    volume(ntfs, read_ntfs, f"{HYPERVISOR}/dynamic.vhdx", 838 * 4096),
    volume(ntfs, read_ntfs, f"{HYPERVISOR}/fixed.vhd", 838 * 4096),
    volume(ntfs, read_ntfs, f"{HYPERVISOR}/fixed.vhdx", 838 * 4096),
    volume(fat, read_fat, f"{FAT}/fat12.bin", 2843 * 512),
    volume(fat, read_fat, f"{FAT}/fat16.bin", 5915 * 512),
    volume(fat, read_fat, f"{FAT}/fat32.bin", 65931 * 512),
    volume(exfat, read_exfat, f"{FAT}/exfat.bin", 710 * 512),
    volume(exfat, read_exfat, f"{FAT}/exfat4m.bin", 507 * 4096),
]
EACH = pytest.mark.parametrize(("reader", "read", "archive", "member", "free"), VOLUMES)


def unpacked(archive: str, member: str, folder: Path) -> Path:
    """A volume as a file; of an image of a hypervisor the one partition in it."""
    path = require_volume(archive, member, folder / member)
    if archive != HYPERVISOR:
        return path
    return partition(path, member.rpartition(".")[2])


@EACH
def test_what_is_free_is_known_and_can_be_overwritten(
    reader: Any, read: Callable[[Path], Files], archive: str, member: str, free: int, tmp_path: Path
) -> None:
    path = unpacked(archive, member, tmp_path)
    runs = free_of(reader, path)
    assert runs.total == free
    before = read(path)
    assert before
    assert read(scribbled(path, runs)) == before
    compared("dissect")


@EACH
def test_turned_bits_never_make_more_free(
    reader: Any, read: Callable[[Path], Files], archive: str, member: str, free: int, tmp_path: Path
) -> None:
    results = turn_bits(reader, unpacked(archive, member, tmp_path), FLIPS)
    assert "larger" not in results, results


REFUSED: List[Any] = [
    pytest.param(ntfs, NTFS, "ntfs-cloud.bin", "unclean", id="a log that is not clean"),
    pytest.param(apfs, APFS, "corrupt.bin", "damaged", id="a broken checkpoint"),
]


@pytest.mark.long
@pytest.mark.parametrize(("reader", "archive", "member", "code"), REFUSED)
def test_what_is_not_at_rest_is_refused(
    reader: Any, archive: str, member: str, code: Optional[str], tmp_path: Path
) -> None:
    assert reason_of(reader, unpacked(archive, member, tmp_path)) == code

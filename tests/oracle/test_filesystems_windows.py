# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""NTFS, FAT and exFAT made by the tools of Linux: what is free can be overwritten and nothing is lost, other programs
count the same, turned bits never make more free, and what is not at rest is refused.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows import exfat, fat, ntfs
from ansible_collections.vdisk.parallels.tests.support.filesystems import (
    free_of,
    reason_of,
    scribbled,
    sources,
    sparse,
    tool,
    turn_bits,
)
from ansible_collections.vdisk.parallels.tests.support.mounts import checksums, fill, mounted_exfat, mounted_ntfs
from ansible_collections.vdisk.parallels.tests.support.oracles import compared

FLIPS = 1500 if os.environ.get("VDISK_LONG") else 40
MIB = 1 << 20


class Kind(NamedTuple):
    """How images of a file system are filled, read, checked and counted."""

    reader: Any
    fill: Callable[[Path, Path], None]
    read: Callable[[Path], Dict[str, str]]
    check: Callable[[Path], None]
    free: Callable[[Path], int]


def fill_ntfs(image: Path, files: Path) -> None:
    with mounted_ntfs(image) as folder:
        fill(files, folder)


def read_ntfs(image: Path) -> Dict[str, str]:
    with mounted_ntfs(image, "-o", "ro") as folder:
        return checksums(folder)


def check_ntfs(image: Path) -> None:
    tool("ntfsresize", "-i", "-f", image)
    tool("ntfsfix", "-n", image)


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found is not None, text
    return int(found.group(1))


def free_ntfs(image: Path) -> int:
    text = tool("ntfsinfo", "-m", image)
    return number(r"Free Clusters: (\d+)", text) * number(r"Cluster Size: (\d+)", text)


def fill_fat(image: Path, files: Path) -> None:
    tool("mcopy", "-s", "-i", image, files, "::all")
    for path in files.glob("gone*"):
        tool("mdel", "-i", image, f"::all/{path.name}")


def read_fat(image: Path) -> Dict[str, str]:
    folder = image.parent / "copied"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tool("mcopy", "-s", "-n", "-i", image, "::", folder)
    return checksums(folder)


def check_fat(image: Path) -> None:
    tool("fsck.fat", "-n", image)


def free_fat(image: Path) -> int:
    text = tool("fsck.fat", "-n", "-v", image)
    used, clusters = (number(pattern, text) for pattern in (r"(\d+)/\d+ clusters", r"\d+/(\d+) clusters"))
    return (clusters - used) * number(r"(\d+) bytes per cluster", text)


def fill_exfat(image: Path, files: Path) -> None:
    with mounted_exfat(image) as folder:
        fill(files, folder)


def read_exfat(image: Path) -> Dict[str, str]:
    with mounted_exfat(image, "-o", "ro") as folder:
        return checksums(folder)


def check_exfat(image: Path) -> None:
    tool("fsck.exfat", "-n", image)


def free_exfat(image: Path) -> int:
    text = tool("dump.exfat", image)
    return number(r"Free Clusters:\s+(\d+)", text) * number(r"Cluster size:\s+(\d+)", text)


NTFS = Kind(ntfs, fill_ntfs, read_ntfs, check_ntfs, free_ntfs)
FAT = Kind(fat, fill_fat, read_fat, check_fat, free_fat)
EXFAT = Kind(exfat, fill_exfat, read_exfat, check_exfat, free_exfat)


def variant(kind: Kind, name: str, size: int, command: str) -> Any:
    return pytest.param(kind, size, command.split(), id=name)


VARIANTS = [
    variant(NTFS, "ntfs, clusters of 4k", 24, "mkntfs -q -F -L Windows -c 4096"),
    variant(NTFS, "ntfs, clusters of 512", 16, "mkntfs -q -F -c 512"),
    variant(NTFS, "ntfs, clusters of 64k", 64, "mkntfs -q -F -c 65536"),
    variant(NTFS, "ntfs, sectors of 4k", 32, "mkntfs -q -F -s 4096 -c 4096"),
    variant(FAT, "fat12", 7, "mkfs.fat -F 12 -n DISK"),
    variant(FAT, "fat12, sectors of 4k", 8, "mkfs.fat -F 12 -S 4096"),
    variant(FAT, "fat16", 16, "mkfs.fat -F 16"),
    variant(FAT, "fat16, large clusters", 64, "mkfs.fat -F 16 -s 16"),
    variant(FAT, "fat16, one table", 16, "mkfs.fat -F 16 -f 1"),
    variant(FAT, "fat32", 48, "mkfs.fat -F 32 -s 1"),
    variant(FAT, "fat32, larger clusters", 300, "mkfs.fat -F 32 -s 8"),
    variant(FAT, "fat32, one table", 80, "mkfs.fat -F 32 -f 1"),
    variant(EXFAT, "exfat, clusters of 512", 16, "mkfs.exfat -c 512"),
    variant(EXFAT, "exfat, clusters of 4k", 24, "mkfs.exfat -c 4K -L Disk"),
    variant(EXFAT, "exfat, clusters of 128k", 64, "mkfs.exfat -c 128K"),
]
EACH = pytest.mark.parametrize(("kind", "size", "command"), VARIANTS)


@pytest.fixture(name="files", scope="module")
def files_fixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sources(tmp_path_factory.mktemp("files") / "all")


def made(kind: Kind, size: int, command: Any, files: Path, folder: Path) -> Path:
    image = sparse(folder / "image", size * MIB)
    tool(*command, image)
    kind.fill(image, files)
    return image


@EACH
def test_what_is_free_can_be_overwritten(kind: Kind, size: int, command: Any, files: Path, tmp_path: Path) -> None:
    image = made(kind, size, command, files, tmp_path)
    kind.check(image)
    runs = free_of(kind.reader, image)
    assert runs.total == sum(end - start for start, end in runs) == kind.free(image)
    before = kind.read(image)
    assert len(before) > 40
    copy = scribbled(image, runs)
    kind.check(copy)
    assert kind.read(copy) == before
    assert free_of(kind.reader, copy) == runs
    compared("file systems' own checks")


@pytest.mark.parametrize(("kind", "size", "command"), [VARIANTS[0], VARIANTS[6], VARIANTS[13]])
def test_what_was_overwritten_goes_on_being_written(
    kind: Kind, size: int, command: Any, files: Path, tmp_path: Path
) -> None:
    image = made(kind, size, command, files, tmp_path)
    before = kind.read(image)
    copy = scribbled(image, free_of(kind.reader, image))
    more = tmp_path / "more"
    more.mkdir()
    (more / "new").write_bytes(bytes(range(256)) * 4000)
    if kind is FAT:
        tool("mcopy", "-i", copy, more / "new", "::new")
    else:
        with mounted_ntfs(copy) if kind is NTFS else mounted_exfat(copy) as folder:
            shutil.copy(more / "new", folder / "new")
    kind.check(copy)
    after = kind.read(copy)
    assert after.pop("new") == checksums(more)["new"]
    assert after == before


@EACH
def test_turned_bits_never_make_more_free(kind: Kind, size: int, command: Any, files: Path, tmp_path: Path) -> None:
    results = turn_bits(kind.reader, made(kind, size, command, files, tmp_path), FLIPS)
    assert "larger" not in results, results


PARTCLONE = {
    "ntfs": "partclone.ntfs",
    "fat16": "partclone.fat16",
    "fat32": "partclone.fat32",
    "exfat": "partclone.exfat",
}


@EACH
def test_partclone_finds_the_same_ranges(kind: Kind, size: int, command: Any, files: Path, tmp_path: Path) -> None:
    image = made(kind, size, command, files, tmp_path)
    name = "exfat" if kind is EXFAT else "ntfs" if kind is NTFS else f"fat{command[2]}"
    if name not in PARTCLONE:
        pytest.skip("partclone is wrong about FAT12")
    log = tmp_path / "ranges"
    tool(PARTCLONE[name], "-D", "-q", "-s", image, "-O", log, "-L", tmp_path / "log")
    runs = free_of(kind.reader, image)
    for line in log.read_text(encoding="ascii").splitlines():
        start, length, mark = (*line.split(), "", "", "")[:3]
        if mark == "+":
            low = int(start, 16)
            assert not runs.within(low, low + int(length, 16))
    compared("partclone")


def test_a_volume_that_ntfsfix_marked_is_refused(tmp_path: Path) -> None:
    image = sparse(tmp_path / "image", 16 * MIB)
    tool("mkntfs", "-q", "-F", image)
    assert reason_of(ntfs, image) is None
    tool("ntfsfix", image)
    assert reason_of(ntfs, image) == "unclean"


@pytest.mark.parametrize(("kind", "size", "command"), [VARIANTS[0], VARIANTS[13]])
def test_a_copy_made_while_mounted_loses_nothing(
    kind: Kind, size: int, command: Any, files: Path, tmp_path: Path
) -> None:
    image = made(kind, size, command, files, tmp_path)
    copy = tmp_path / "copy"
    with mounted_ntfs(image) if kind is NTFS else mounted_exfat(image) as folder:
        content = os.urandom(900_000)
        with open(folder / "late", "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copy(image, copy)
    if reason_of(kind.reader, copy) is None:
        start = copy.read_bytes().find(content[:4096])
        assert start > 0 and not free_of(kind.reader, copy).within(start, start + len(content))

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random trees of snapshots of each file system, whose files come and go by other people's programs: compacted by what
is free, and exported without it, every snapshot has the files that it had, and its own check finds nothing.

APFS and HFS+ are written by a kernel in a virtual machine, in a long test.
"""

from __future__ import annotations

import os
import random
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, ContextManager, Dict, Iterator, List, NamedTuple, Optional, Sequence

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import observe
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import btrfs, ext, xfs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows import exfat, fat, ntfs
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP
from ansible_collections.vdisk.parallels.tests.support.conversions import Source, convert
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import mounted
from ansible_collections.vdisk.parallels.tests.support.filesystems import free_of, sources, sparse, tool
from ansible_collections.vdisk.parallels.tests.support.guest_trees import CLUSTER, MIB, PORT, built, guid_at, shown
from ansible_collections.vdisk.parallels.tests.support.mounts import checksums, mounted_exfat, mounted_ntfs
from ansible_collections.vdisk.parallels.tests.support.oracles import compared

LONG = bool(os.environ.get("VDISK_LONG"))
TREES = 10 if LONG else 1
SMALL_XFS = ("mkfs.xfs", "-q", "-f", "--unsupported", "-d", "agcount=2", "-l", "size=8m")
STRATEGIES = ("in_place", "copy", "punch")
Files = Dict[str, str]


class Kind(NamedTuple):
    """How a file system of ``size`` bytes is made, written, read and checked."""

    reader: Any
    size: int
    make: Sequence[str]
    put: Callable[[Path, Sequence[Path]], None]
    remove: Callable[[Path, Sequence[str]], None]
    read: Callable[[Path], Files]
    check: Callable[[Path], Any]


def by_mount(mount: Callable[..., ContextManager[Path]]) -> Dict[str, Any]:
    """Writing and reading through a mount."""

    def put(image: Path, files: Sequence[Path]) -> None:
        with mount(image) as folder:
            for file in files:
                (folder / file.name).write_bytes(file.read_bytes())

    def remove(image: Path, names: Sequence[str]) -> None:
        with mount(image) as folder:
            for name in names:
                (folder / name).unlink()

    def read(image: Path) -> Files:
        with mount(image, "ro") as folder:
            return checksums(folder)

    return {"put": put, "remove": remove, "read": read}


@contextmanager
def by_kernel(image: Path, *options: str) -> Iterator[Path]:
    kind = tool("blkid", "-p", "-o", "value", "-s", "TYPE", image).strip()
    more = ("nouuid",) if kind == "xfs" else ()
    with mounted(image, image.parent / "mounted", ",".join(("loop", *options, *more))) as folder:
        yield folder


@contextmanager
def by_ntfs(image: Path, *options: str) -> Iterator[Path]:
    with mounted_ntfs(image, *(("-o", *options) if options else ())) as folder:
        yield folder


@contextmanager
def by_exfat(image: Path, *options: str) -> Iterator[Path]:
    with mounted_exfat(image, *(("-o", *options) if options else ())) as folder:
        yield folder


def put_ext(image: Path, files: Sequence[Path]) -> None:
    for file in files:
        tool("debugfs", "-w", "-R", f"write {file} {file.name}", image)


def remove_ext(image: Path, names: Sequence[str]) -> None:
    for name in names:
        tool("debugfs", "-w", "-R", f"rm {name}", image)


def read_ext(image: Path) -> Files:
    folder = fresh(image.parent / "dumped")
    tool("debugfs", "-R", f"rdump / {folder}", image)
    return {name: value for name, value in checksums(folder).items() if "lost+found" not in name}


def put_fat(image: Path, files: Sequence[Path]) -> None:
    for file in files:
        tool("mcopy", "-i", image, file, f"::{file.name}")


def remove_fat(image: Path, names: Sequence[str]) -> None:
    for name in names:
        tool("mdel", "-i", image, f"::{name}")


def read_fat(image: Path) -> Files:
    folder = fresh(image.parent / "dumped")
    tool("mcopy", "-s", "-n", "-i", image, "::", folder)
    return checksums(folder)


def fresh(folder: Path) -> Path:
    subprocess.run(["rm", "-rf", folder], check=True)
    folder.mkdir()
    return folder


def check_ntfs(image: Path) -> None:
    tool("ntfsresize", "-i", "-f", image)
    tool("ntfsfix", "-n", image)


EXT = {"put": put_ext, "remove": remove_ext, "read": read_ext, "check": lambda image: tool("e2fsck", "-fn", image)}
FAT = {"put": put_fat, "remove": remove_fat, "read": read_fat, "check": lambda image: tool("fsck.fat", "-n", image)}
KINDS: Dict[str, Kind] = {
    **{name: Kind(ext, 24 * MIB, ("mke2fs", "-q", "-F", "-t", name), **EXT) for name in ("ext2", "ext3", "ext4")},
    "ntfs": Kind(ntfs, 24 * MIB, ("mkntfs", "-q", "-F", "-c", "4096"), check=check_ntfs, **by_mount(by_ntfs)),
    "fat12": Kind(fat, 12 * MIB, ("mkfs.fat", "-F", "12", "-s", "8"), **FAT),
    "fat16": Kind(fat, 24 * MIB, ("mkfs.fat", "-F", "16", "-s", "4"), **FAT),
    "fat32": Kind(fat, 40 * MIB, ("mkfs.fat", "-F", "32", "-s", "1"), **FAT),
    "exfat": Kind(
        exfat,
        24 * MIB,
        ("mkfs.exfat", "-c", "4K"),
        check=lambda image: tool("fsck.exfat", "-n", image),
        **by_mount(by_exfat),
    ),
    "xfs": Kind(
        xfs,
        # Smaller than what mkfs.xfs likes, so that it takes seconds.
        *((300 * MIB, ("mkfs.xfs", "-q", "-f")) if LONG else (48 * MIB, SMALL_XFS)),
        check=lambda image: tool("xfs_repair", "-n", "-f", image),
        **by_mount(by_kernel),
    ),
    "btrfs": Kind(
        btrfs,
        *((128 * MIB, ("mkfs.btrfs", "-q")) if LONG else (40 * MIB, ("mkfs.btrfs", "-q", "--mixed"))),
        check=lambda image: tool("btrfs", "check", "--check-data-csum", image),
        **by_mount(by_kernel),
    ),
}


def copy(source: Path, target: Path) -> Path:
    subprocess.run(["cp", "--sparse=always", source, target], check=True)
    return target


def grown(kind: Kind, folder: Path, chance: random.Random) -> List[Optional[int]]:
    """Images ``state0``, ``state1`` ... in ``folder``, each made from an earlier one, by files that come and go.

    Gives the number of the one that each was made from.
    """
    first = sparse(folder / "state0", kind.size)
    tool(*kind.make, first)
    files = sorted(path for path in sources(folder / "files").glob("*[0-3]") if path.is_file())
    if kind.reader is fat:
        tool("mmd", "-i", first, "::deep", "::deeper")
    kind.put(first, files)
    # Each state has bytes of files that came and went before it was frozen.
    kind.remove(first, [file.name for file in files if file.name.startswith("gone")])
    names = {0: [file.name for file in files if file.name.startswith("kept")]}
    parents: List[Optional[int]] = [None]
    for number in range(1, chance.randrange(3, 6)):
        parent = chance.randrange(max(0, number - 2), number)
        image = copy(folder / f"state{parent}", folder / f"state{number}")
        gone = [name for name in names[parent] if chance.random() < 0.4]
        kind.remove(image, gone)
        new = [folder / f"new{number}{letter}" for letter in "ab"]
        for path in new:
            size = chance.randrange(1, 700_000)
            path.write_bytes(chance.getrandbits(8 * size).to_bytes(size, "little"))
        kind.put(image, [*new, folder / "files" / "gone3"])
        kind.remove(image, ["gone3"])
        names[number] = [*(name for name in names[parent] if name not in gone), *(path.name for path in new)]
        parents.append(parent)
    return parents


@pytest.mark.parametrize("seed", range(TREES))
@pytest.mark.parametrize("name", KINDS)
def test_every_snapshot_keeps_its_files(name: str, seed: int, tmp_path: Path) -> None:
    kind, chance = KINDS[name], random.Random(f"{name} {seed}")
    parents = grown(kind, tmp_path, chance)
    states = [tmp_path / f"state{number}" for number in range(len(parents))]
    before = [kind.read(state) for state in states]
    assert all(before) and len({str(one) for one in before}) == len(before)
    free = [free_of(kind.reader, state) for state in states]
    strategies = STRATEGIES if LONG else (chance.choice(STRATEGIES),)
    for strategy in strategies:
        path = f"{tmp_path}/{strategy}.hdd"
        built(path, kind.size, tmp_path, parents)
        plan = plan_compact(PORT, observe(PORT, locate(PORT, path)), scan="filesystem", strategy=strategy)
        assert sum(one.reasons.get("free_in_filesystem", 0) for one in plan.facts.savings) > CLUSTER
        exported = f"{tmp_path}/exported beside {strategy}.hdd"
        convert(Source(path), exported, "hdd", keeps_layers=True, drops_free=True, cluster_bytes=CLUSTER)
        execute(PORT, plan)
        state = observe(PORT, locate(PORT, path))
        assert plan_compact(PORT, state, scan="filesystem", strategy=strategy).is_empty
        for made in (path, exported):
            for number in range(len(parents)):
                guid = guid_at(parents, number)
                if made == exported and guid not in observe(PORT, locate(PORT, made)).tree.chain(TOP):
                    continue
                image = shown(made, guid, tmp_path / "shown")
                assert free_of(kind.reader, image) == free[number]
                kind.check(image)
                assert kind.read(image) == before[number]
        subprocess.run(["rm", "-rf", path, exported], check=True)
    compared(f"trees of {name}")

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Partition layouts as people have them, made by sgdisk, sfdisk and the makers of file systems."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Sequence, Tuple

from ansible_collections.vdisk.parallels.tests.support import oracles

MIB = 1 << 20
SECTOR = 512
WINDOWS, ESP, MSR, WINRE = "0700", "EF00", "0C01", "2700"
LINUX, SWAP, LVM, APFS, RECOVERY = "8300", "8200", "8E00", "AF0A", "AB00"


class Found(NamedTuple):
    """A partition as ``sfdisk`` lists it, in sectors of 512 bytes."""

    number: int
    start: int
    size: int
    type: str
    guid: str


def run(*command: str, check: bool = True, feed: str = "") -> str:
    """What a tool says, on either stream."""
    oracles.require(command[0])
    environment = {**os.environ, "PATH": oracles.search_path(), "LC_ALL": "C"}
    done = subprocess.run(command, input=feed, text=True, capture_output=True, env=environment, check=False)
    assert done.returncode == 0 or not check, f"{' '.join(command)}: {done.stdout} {done.stderr}"
    return done.stdout + done.stderr


def blank(path: Path, size: int) -> Path:
    """An empty disk."""
    with open(path, "wb") as stream:
        stream.truncate(size)
    return path


def by_sgdisk(path: Path, size: int, partitions: Sequence[Tuple[str, str]], *options: str) -> Path:
    """A disk with a GPT; each partition is its size for sgdisk, 0 for the rest, and its type."""
    blank(path, size)
    arguments: List[str] = []
    for number, (length, kind) in enumerate(partitions, 1):
        arguments += ["-n", f"{number}:0:{length}", "-t", f"{number}:{kind}", "-c", f"{number}:part {number}"]
    run("sgdisk", *options, *arguments, str(path))
    return path


def partitions_of(path: Path) -> List[Found]:
    """What ``sfdisk`` finds."""
    table = json.loads(run("sfdisk", "--json", str(path)))["partitiontable"]
    return [
        Found(_number(one["node"]), one["start"], one["size"], one["type"].lower(), one.get("uuid", "").lower())
        for one in table.get("partitions", [])
    ]


def _number(node: str) -> int:
    return int(node[len(node.rstrip("0123456789")) :])


def put(path: Path, offset: int, content: bytes) -> None:
    """Write bytes into a disk."""
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(content)


def get(path: Path, offset: int, length: int) -> bytes:
    """Read bytes of a disk."""
    with open(path, "rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def make(path: Path, one: Found, *command: str) -> None:
    """Make a file system in a partition with ``command``, which gets a file of that size as its last argument."""
    part = blank(path.with_suffix(".part"), one.size * SECTOR)
    run(*command, str(part))
    put(path, one.start * SECTOR, part.read_bytes())
    part.unlink()


def taken_out(path: Path, one: Found) -> Path:
    """A partition as a file."""
    part = path.with_suffix(f".{one.number}")
    part.write_bytes(get(path, one.start * SECTOR, one.size * SECTOR))
    return part


def pattern(seed: int, length: int) -> bytes:
    """Bytes that differ from sector to sector."""
    return b"".join(struct.pack("<QQ", seed, number) * 32 for number in range(-(-length // SECTOR)))[:length]


def _marked(path: Path, one: Found, at: int, mark: bytes) -> None:
    """A partition full of bytes of its own, with the mark of what it holds."""
    put(path, one.start * SECTOR, pattern(one.number, min(one.size * SECTOR, 4 * MIB)))
    put(path, one.start * SECTOR + at, mark)


def windows(path: Path) -> None:
    """EFI system, Microsoft reserved, C:, WinRE."""
    by_sgdisk(path, 100 * MIB, [("+4M", ESP), ("+2M", MSR), ("+80M", WINDOWS), ("+8M", WINRE)])
    parts = partitions_of(path)
    make(path, parts[0], "mkfs.fat", "-F12")
    for one in parts[2:]:
        make(path, one, "mkfs.ntfs", "-F", "-Q", "-q", "-p", str(one.start), "-H", "255", "-S", "63")


def bitlocker(path: Path) -> None:
    """The same with an encrypted C:."""
    by_sgdisk(path, 100 * MIB, [("+4M", ESP), ("+2M", MSR), ("+80M", WINDOWS), ("+8M", WINRE)])
    parts = partitions_of(path)
    _marked(path, parts[2], 3, b"-FVE-FS-")
    make(path, parts[3], "mkfs.ntfs", "-F", "-Q", "-q", "-p", str(parts[3].start), "-H", "255", "-S", "63")


def macos(path: Path) -> None:
    """EFI system at sector 40, an APFS container, its recovery up to the last sector."""
    by_sgdisk(path, 64 * MIB, [("+4M", ESP), ("+46M", APFS), ("0", "5265636F-7665-11AA-AA11-00306543ECAC")], "-a", "8")
    run("sgdisk", "-t", "3:52637672-7900-11AA-AA11-00306543ECAC", str(path))
    parts = partitions_of(path)
    make(path, parts[0], "mkfs.fat", "-F12")
    _marked(path, parts[1], 32, b"NXSB")
    _marked(path, parts[2], 32, b"NXSB")


def linux_swap(path: Path) -> None:
    """EFI system, ext4, swap at the end."""
    by_sgdisk(path, 64 * MIB, [("+4M", ESP), ("+40M", LINUX), ("0", SWAP)])
    parts = partitions_of(path)
    make(path, parts[1], "mkfs.ext4", "-q", "-F", "-U", "11111111-2222-3333-4444-555555555555")
    make(path, parts[2], "mkswap")


def lvm(path: Path) -> None:
    """A BIOS boot partition and a physical volume."""
    by_sgdisk(path, 64 * MIB, [("+1M", "EF02"), ("0", LVM)])
    _marked(path, partitions_of(path)[1], 512, b"LABELONE")


def mbr_extended(path: Path) -> None:
    """As Debian's installer does it: root, and swap in an extended partition behind it."""
    blank(path, 64 * MIB)
    script = "label: dos\nlabel-id: 0xcafe0001\n,40M,83,*\n,,5\n,,82\n"
    run("sfdisk", "-q", str(path), feed=script)
    parts = {one.number: one for one in partitions_of(path)}
    make(path, parts[1], "mkfs.ext4", "-q", "-F")
    make(path, parts[5], "mkswap")


def mbr_logical(path: Path) -> None:
    """Logical partitions: data, then two of swap."""
    blank(path, 80 * MIB)
    script = "label: dos\nlabel-id: 0xcafe0002\n,8M,83\n,,f\n,30M,83\n,8M,82\n,6M,82\n"
    run("sfdisk", "-q", str(path), feed=script)
    parts = {one.number: one for one in partitions_of(path)}
    make(path, parts[5], "mkfs.ext4", "-q", "-F")
    for number in (6, 7):
        make(path, parts[number], "mkswap")


def mbr_windows(path: Path) -> None:
    """System reserved, C:, WinRE with a boot record."""
    blank(path, 100 * MIB)
    run("sfdisk", "-q", str(path), feed="label: dos\nlabel-id: 0xcafe0003\n,8M,7,*\n,80M,7\n,,27\n")
    for one in partitions_of(path):
        make(path, one, "mkfs.ntfs", "-F", "-Q", "-q", "-p", str(one.start), "-H", "255", "-S", "63")


def hybrid(path: Path) -> None:
    """A GPT with the data partition in the boot record as well."""
    linux_swap(path)
    run("sgdisk", "-h", "2", str(path))


def superfloppy(path: Path) -> None:
    """A file system without a table."""
    blank(path, 64 * MIB)
    run("mkfs.ext4", "-q", "-F", str(path))


MAKERS: Dict[str, Callable[[Path], None]] = {
    "windows": windows,
    "macos": macos,
    "linux-swap": linux_swap,
    "lvm": lvm,
    "mbr-extended": mbr_extended,
    "mbr-logical": mbr_logical,
    "mbr-windows": mbr_windows,
    "hybrid": hybrid,
    "superfloppy": superfloppy,
    "bitlocker": bitlocker,
}

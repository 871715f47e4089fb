# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of Linux file systems made by their own tools, filled without mounting; mounted only where that is allowed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Dict, Iterator, Sequence, Tuple

import pytest

from ansible_collections.vdisk.parallels.tests.support.filesystems import sources, sparse, tool

MIB = 1 << 20


def filled(folder: Path) -> Path:
    """The files that go into images, made once in ``folder``."""
    source = folder / "source"
    return source if source.exists() else sources(source)


def ext(path: Path, *options: str, size: int = 24 * MIB) -> Path:
    """An ext file system with files, of which some were removed."""
    sparse(path, size)
    tool("mke2fs", "-q", "-F", *options, "-d", filled(path.parent), path)
    for number in range(5):
        tool("debugfs", "-w", "-R", f"rm gone{number}", path)
    return path


def xfs(path: Path, *options: str, size: int = 300 * MIB) -> Path:
    """An XFS with files."""
    lines = ["/", "0 0", "d--755 0 0"]
    for file in sorted(filled(path.parent).iterdir()):
        if file.is_file():
            lines.append(f"{file.name} ---644 0 0 {file}")
    listing = path.parent / "prototype"
    listing.write_text("\n".join([*lines, "$", ""]))
    tool("mkfs.xfs", "-q", "-f", *options, "-p", listing, sparse(path, size))
    return path


def btrfs(path: Path, *options: str, size: int = 160 * MIB) -> Path:
    """A Btrfs with files."""
    tool("mkfs.btrfs", "-q", "--rootdir", filled(path.parent), *options, sparse(path, size))
    return path


def swap(path: Path, *options: str, size: int = MIB) -> Path:
    """A swap area."""
    tool("mkswap", *options, sparse(path, size))
    return path


def with_partitions(path: Path, script: str, size: int, parts: Sequence[Tuple[int, Path]]) -> Path:
    """A disk partitioned by sfdisk, with files as the content at these offsets."""
    sparse(path, size)
    if script:
        tool("sfdisk", "-q", path, stdin=script)
    for offset, part in parts:
        put(path, offset, part)
    return path


def put(path: Path, offset: int, part: Path) -> None:
    """Copy a file into another one at an offset."""
    with open(path, "r+b") as target, open(part, "rb") as content:
        target.seek(offset)
        shutil.copyfileobj(content, target, MIB)


@contextlib.contextmanager
def mounted(image: Path, folder: Path, options: str = "loop") -> Iterator[Path]:
    """The file system of an image, mounted; skips where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-o", options, image, folder], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting does not work here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def hashes(folder: Path) -> Dict[str, str]:
    """The hashes of all files in a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

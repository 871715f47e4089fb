# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File systems in files, mounted by programs of FUSE, and the files in a folder as their checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

from ansible_collections.vdisk.parallels.tests.support.filesystems import tool


def checksums(folder: Path) -> Dict[str, str]:
    """The SHA-256 of each file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def mounted_ntfs(image: Path, *options: str) -> Iterator[Path]:
    """The folder where ntfs-3g shows an image."""
    with _mounted(image.parent / "mounted", ["ntfs-3g", *options, image]) as folder:
        yield folder


@contextmanager
def mounted_exfat(image: Path, *options: str) -> Iterator[Path]:
    """The folder where exfat-fuse shows an image, for which it needs a loop device."""
    if os.geteuid() != 0:
        pytest.skip("exfat-fuse mounts devices only, so it needs root")
    device = tool("losetup", "-f", "--show", image).strip()
    try:
        with _mounted(image.parent / "mounted", ["mount.exfat-fuse", *options, device]) as folder:
            yield folder
    finally:
        tool("losetup", "-d", device)


@contextmanager
def _mounted(folder: Path, command: Any) -> Iterator[Path]:
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no /dev/fuse")
    folder.mkdir(exist_ok=True)
    tool(*command, folder)
    try:
        yield folder
    finally:
        tool("umount", folder)


def fill(source: Path, folder: Path) -> None:
    """Copy files, and remove those again whose names say so."""
    shutil.copytree(source, folder / "all")
    for path in (folder / "all").glob("gone*"):
        path.unlink()
    subprocess.run(["sync", "-f", folder], check=False)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes that macOS and Windows wrote: they lie in source distributions of the Python package index.

They are read from these archives, wherever ``VDISK_VOLUMES`` says that they are, and unpacked only for a test.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from pathlib import Path
from typing import IO, Any, List

import pytest

_ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("VDISK_VOLUMES") or _ROOT / ".build" / "volumes")
_BLOCK = 1 << 20


def require_volume(archive: str, member: str, target: Path) -> Path:
    """Unpack a file of an archive (name-version), with its ``.gz`` or without, to ``target``. Skip without it."""
    found: List[Path] = [FOLDER / f"{name}.tar.gz" for name in (archive, archive.replace(".", "_", 1))]
    path = next((one for one in found if one.exists()), None)
    if path is None:
        name, _dash, version = archive.rpartition("-")
        pytest.skip(f"no {archive} in {FOLDER}: pip download --no-deps --no-binary :all: {name}=={version} there")
    with tarfile.open(path) as packed:
        inside = next(one for one in packed.getnames() if one.endswith((f"/{member}", f"/{member}.gz")))
        stream: Any = packed.extractfile(inside)
        content: IO[bytes] = gzip.GzipFile(fileobj=stream) if inside.endswith(".gz") else stream
        with content, open(target, "wb") as out:
            _copy_with_holes(content, out)
    return target


def _copy_with_holes(source: IO[bytes], target: IO[bytes]) -> None:
    size = 0
    while True:
        block = source.read(_BLOCK)
        if not block:
            break
        size += len(block)
        if any(block):
            target.write(block)
        else:
            target.seek(len(block), os.SEEK_CUR)
    target.truncate(size)


def library(name: str) -> Any:
    """A reader of dissect, which shares nothing with this collection. Skip without it."""
    return pytest.importorskip(name, reason=f"{name} is not installed (Python package index)")


def without_tail(path: Path, offset: int, size: int) -> Path:
    """The partition at ``offset`` of an image, as a file of its own."""
    target = path.with_name(path.name + ".partition")
    with open(path, "rb") as source, open(target, "wb") as out:
        source.seek(offset)
        out.write(source.read(size))
    shutil.copystat(path, target)
    return target

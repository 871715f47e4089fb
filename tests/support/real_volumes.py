# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Volumes that macOS and Windows wrote: they lie in source distributions of the Python package index.

They are read from these archives, wherever ``VDISK_VOLUMES`` says that they are, and unpacked only for a test.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path
from typing import IO, Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.partitions import read_partitions
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source, open_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

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
        if block.strip(b"\0"):
            target.write(block)
        else:
            target.seek(len(block), os.SEEK_CUR)
    target.truncate(size)


def library(name: str) -> Any:
    """A reader of dissect, which shares nothing with this collection. Skip without it."""
    return pytest.importorskip(name, reason=f"{name} is not installed (Python package index)")


def partition(image: Path, format: str) -> Path:
    """The first partition of an image of a hypervisor, as a file of its own."""
    port = OsPort()
    view = open_source(port, find_source(port, str(image), format=format, backing=False))
    table = read_partitions(view)
    assert table is not None
    content = bytearray(table["entries"][0]["size"])
    view.pread_into(table["entries"][0]["start"], content)
    view.close()
    target = image.with_name(image.name + ".partition")
    target.write_bytes(content)
    return target

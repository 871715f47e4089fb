# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the host shares blocks, and how much of a file it shares, as the file system says it itself (FIEMAP)."""

from __future__ import annotations

import fcntl
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

_FIEMAP = 0xC020660B
_SYNC, _LAST, _SHARED = 1, 1, 0x2000
_HEAD, _EXTENT = struct.Struct("<QQIIII"), struct.Struct("<QQQQQIIII")
_MOST = 512


def refuse_without_sharing(folder: Path) -> None:
    """Skip the test where the file system of ``folder`` shares no blocks."""
    (folder / "probe").write_bytes(bytes(4096))
    command = ["cp", "--reflink=always", str(folder / "probe"), str(folder / "clone")]
    if shutil.which("cp") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("the folder for temporary files lies on a file system that shares no blocks")
    (folder / "probe").unlink()
    (folder / "clone").unlink()


def shared_bytes(path: Path) -> int:
    """How many bytes of a file have blocks that another file has, too."""
    total, start = 0, 0
    with path.open("rb") as stream:
        while True:
            request = _HEAD.pack(start, (1 << 64) - 1 - start, _SYNC, 0, _MOST, 0) + bytes(_MOST * _EXTENT.size)
            found = bytearray(request)
            fcntl.ioctl(stream.fileno(), _FIEMAP, found)
            count = _HEAD.unpack_from(found)[3]
            extents = [_EXTENT.unpack_from(found, _HEAD.size + index * _EXTENT.size) for index in range(count)]
            total += sum(extent[2] for extent in extents if extent[5] & _SHARED)
            if not extents or extents[-1][5] & _LAST:
                return total
            start = extents[-1][0] + extents[-1][2]

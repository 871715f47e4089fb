# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.reader import open_raw
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.writer import RawWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images

PORT = OsPort()


def test_what_is_written_is_read_and_the_rest_is_zero(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    file = PORT.create(str(path))
    writer = RawWriter(file, size_bytes=4 * MIB)
    model = bytearray(4 * MIB)
    for offset, length in ((5, 100), (105, 1), (MIB + 3, 70000), (3 * MIB, 0)):
        content = images.fill(offset, length)
        writer.write(offset, memoryview(content))
        model[offset : offset + length] = content
    writer.finish()
    file.close()
    assert path.read_bytes() == model
    image = open_raw(PORT, str(path), size=4 * MIB)
    image.close()


def test_an_empty_disk_is_one_hole(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    file = PORT.create(str(path))
    RawWriter(file, size_bytes=64 * MIB).finish()
    file.close()
    facts = path.stat()
    assert facts.st_size == 64 * MIB
    assert facts.st_blocks * 512 < MIB


@pytest.mark.parametrize("offset, length", [(0, 1), (MIB + 3, 1), (4 * MIB, 1), (4 * MIB - 1, 2), (-1, 0)])
def test_going_back_or_behind_the_end_is_a_bad_request(tmp_path: Path, offset: int, length: int) -> None:
    file = PORT.create(str(tmp_path / "disk.raw"))
    writer = RawWriter(file, size_bytes=4 * MIB)
    writer.write(MIB, b"1234")
    with pytest.raises(BadRequest):
        writer.write(offset, bytes(length))
    assert file.size() == MIB + 4
    file.close()

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.writer import RawWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

PORT = OsPort()


def test_an_empty_disk_is_one_hole(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    file = PORT.create(str(path))
    RawWriter(file, size_bytes=64 * MIB).finish()
    file.close()
    facts = path.stat()
    assert facts.st_size == 64 * MIB
    assert facts.st_blocks * 512 < MIB

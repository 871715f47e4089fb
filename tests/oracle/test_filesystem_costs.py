# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What it costs to know what is free in a tebibyte: bytes that are read, calls, memory. Times are in the documentation
of performance; they decide nothing here.
"""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple import apfs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import ext
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows import ntfs
from ansible_collections.vdisk.parallels.tests.support.filesystems import ImageFile, sparse, tool, whole

MIB, TIB = 1 << 20, 1 << 40
CASES = [
    pytest.param(ext, ("mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1"), 64 * MIB, id="ext4"),
    pytest.param(ntfs, ("mkntfs", "-q", "-Q", "-F", "-c", "4096"), 48 * MIB, id="ntfs"),
    pytest.param(apfs, ("mkapfs",), 8 * MIB, id="apfs"),
]


@pytest.mark.parametrize(("reader", "command", "most"), CASES)
def test_a_tebibyte(reader: Any, command: Tuple[str, ...], most: int, tmp_path: Path) -> None:
    image = sparse(tmp_path / "image", TIB)
    tool(*command, image)
    disk = ImageFile(image)
    tracemalloc.start()
    try:
        runs = reader.free_runs(whole(disk))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        disk.close()
    assert runs.total > 0.97 * TIB
    assert sum(length for _offset, length in disk.reads) < most
    assert len(disk.reads) < 40_000
    assert peak < 64 * MIB

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why an output is written or kept."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.reason import is_kept
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH, RAW, DEST = "/vm/a.hdd", "/vm/a.raw", "/vm/b.hdd"
CLUSTER = disks.SMALL_CLUSTER
ONE = guid_of(1)
SIZE = 8 * CLUSTER


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers(PATH, ONE)


def reason(port: Any, source: str, dest: str, **options: Any) -> str:
    return disks.plan_of_convert(port, source, dest, **options).facts.reason


def test_reasons_tell_why_an_output_is_written_or_kept(port: MemoryPort) -> None:
    assert reason(port, PATH, DEST) == "written: there was no destination"
    disks.convert(port, PATH, DEST)
    assert reason(port, PATH, DEST) == "kept: shape and content are the same"
    assert reason(port, PATH, DEST, update="missing") == "kept: the destination exists"
    assert reason(port, PATH, DEST, update="always") == "written: update is always"
    assert reason(port, PATH, DEST, snapshot=ONE) == f"written: the content differs at byte {5 * CLUSTER + 7}"
    for options in ({"kind": "plain"}, {"version": 2}, {"cluster_bytes": 65536}, {"align": 1 << 20}):
        assert reason(port, PATH, DEST, **options).startswith(
            "written: its parts end at" if "align" in options else "written: it "
        )
    disks.patch(port, disks.file_of(port, DEST), 16, b"\7")
    assert reason(port, PATH, DEST, force=True) == "written: the destination is damaged"
    assert reason(port, PATH, DEST, update="missing") == "kept: the destination exists"


def test_reasons_of_a_raw_output(port: MemoryPort) -> None:
    port.plant_file(RAW, bytes(SIZE))
    assert reason(port, PATH, RAW) == "written: the content differs at byte 103"
    port.plant_file(RAW, bytes(SIZE + 512))
    assert "bytes instead of" in reason(port, PATH, RAW)
    disks.convert(port, PATH, RAW)
    assert reason(port, PATH, RAW) == "kept: shape and content are the same"


def test_a_reason_says_whether_the_output_is_kept(port: MemoryPort) -> None:
    assert not is_kept(reason(port, PATH, DEST))
    disks.convert(port, PATH, DEST)
    assert is_kept(reason(port, PATH, DEST)) and not is_kept(reason(port, PATH, DEST, update="always"))

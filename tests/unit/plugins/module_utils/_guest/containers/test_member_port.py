# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container as a folder of files."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import NotFound
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.member_port import Container, Member
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import DIRECTORY, FILE, Holder
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PACKED = gzip.compress(b"inflated")


@pytest.fixture(name="base")
def _base() -> MemoryPort:
    port = MemoryPort()
    port.plant_file("/srv/a.ova", b"headONEheadTWO" + PACKED)
    port.plant_file("/srv/b", b"other")
    return port


@pytest.fixture(name="port")
def _port(base: MemoryPort) -> Any:
    members = (
        Member("one", "/srv/a.ova", ((0, 3, 4),), 3),
        Member("deep/er/two", "/srv/a.ova", ((0, 3, 11),), 3),
        Member("gz", "/srv/a.ova", ((0, len(PACKED), 14),), len(PACKED), is_packed=True),
    )
    return Container("/srv/a.ova", members, {}).port(base)


def content(port: Any, path: str) -> bytes:
    file = port.open_read(path)
    buffer = bytearray(100)
    got = file.pread_into(0, buffer)
    file.close()
    return bytes(buffer[:got])


def test_members_are_files_below_the_container(port: Any, base: MemoryPort) -> None:
    assert content(port, "/srv/a.ova/one") == b"ONE"
    assert content(port, "/srv/a.ova/deep/../deep/er/two") == b"TWO"
    assert content(port, "/srv/a.ova/gz") == b"inflated"
    assert content(port, "/srv/b") == b"other"
    assert not any(base.opened.values())
    with pytest.raises(NotFound):
        port.open_read("/srv/a.ova/three")


def test_they_have_facts_and_are_told_apart(port: Any) -> None:
    stats = [port.stat(f"/srv/a.ova/{name}") for name in ("one", "deep/er/two", "gz", "deep", "deep/er")]
    assert [(stat.kind, stat.size) for stat in stats] == [
        (FILE, 3),
        (FILE, 3),
        (FILE, 8),
        (DIRECTORY, 0),
        (DIRECTORY, 0),
    ]
    assert len({stat.inode for stat in stats}) == 5
    assert port.stat("/srv/a.ova").kind == DIRECTORY and port.stat("/srv/a.ova/none") is None
    assert port.lstat("/srv/a.ova/one") == stats[0] and port.stat("/srv/b").size == 5


def test_folders_are_listed(port: Any) -> None:
    assert port.list_directory("/srv/a.ova") == ["deep", "gz", "one"]
    assert port.list_directory("/srv/a.ova/deep") == ["er"]
    assert port.list_directory("/srv") == ["a.ova", "b"]


def test_no_path_leads_out_unseen(port: Any) -> None:
    assert port.real_path("/srv/a.ova/../b") == "/srv/b"
    assert port.real_path("/srv/a.ova/x/./y") == "/srv/a.ova/x/y"
    assert port.real_path("/srv/b") == "/srv/b"


def test_all_else_is_the_host_s(port: Any, base: MemoryPort) -> None:
    base.plant_holder("/srv/b", Holder("write", "qemu"))
    assert port.writers("/srv/b") and not port.writers("/srv/a.ova/one")
    assert [path for path, _holder in port.holders(["/srv/b", "/srv/a.ova/one"])] == ["/srv/b"]
    assert port.free_space("/srv") > 0

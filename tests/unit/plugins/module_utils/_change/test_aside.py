# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.naming import JOURNAL
from ansible_collections.vdisk.parallels.plugins.module_utils._change.aside import clear_siblings, displaced_name
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import PREPARE, Journal, pack_journal
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
ONE, TWO = guid_of(1), guid_of(2)


CLUSTER = disks.SMALL_CLUSTER


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    """1 - 2 - TOP with data in each, and neighbours that nobody may touch."""
    port = MemoryPort()
    port.plant_file("/vm/outside.hds", b"outside")
    disks.new_disk(port, PATH)
    for number, guid in enumerate((ONE, TWO)):
        disks.write(port, PATH, number * CLUSTER, fill(number, 3 * CLUSTER, number))
        disks.take(port, PATH, guid)
    disks.write(port, PATH, 5 * CLUSTER, b"top" * 1000)
    port.plant_file(f"{PATH}/orphan.hds", b"somebody's orphan")
    port.plant_file(f"{PATH}/notes.txt", b"somebody's notes")
    return port


def views(port: Any, path: str = PATH) -> Dict[str, bytes]:
    return {guid: disks.read_naively(port, path, guid) for guid in disks.guids_of(port, path)}


def test_what_a_run_left_beside_a_disk_is_cleared(port: MemoryPort) -> None:
    before = port.listing()
    port.plant_file("/vm/.a.hdd.vdisk-1234.tmp/x", b"half made")
    port.plant_file(f"{displaced_name(PATH, '99')}/x", b"replaced")
    assert len(clear_siblings(port, PATH)) == 2
    assert port.listing() == before
    assert clear_siblings(port, PATH) == ()


def test_a_disk_that_was_moved_aside_stays_when_somebody_took_its_name_before_its_successor(port: MemoryPort) -> None:
    """The successor never left its temporary name, so what is at the path now replaces nothing."""
    before = views(port)
    port.rename(PATH, displaced_name(PATH, "1234"))
    port.plant_file("/vm/.a.hdd.vdisk-1234.tmp/x", b"half made")
    port.plant_file(f"{PATH}/notes.txt", b"of somebody else")
    done = clear_siblings(port, PATH)
    assert any("moved aside is /vm/a.hdd.old-1234 now" in text for text in done)
    assert views(port, "/vm/a.hdd.old-1234") == before
    assert port.content(f"{PATH}/notes.txt") == b"of somebody else"
    assert clear_siblings(port, PATH) == ()


def test_a_disk_that_was_moved_aside_gets_its_name_back_when_it_has_no_successor(port: MemoryPort) -> None:
    before = views(port)
    port.rename(PATH, displaced_name(PATH, "99"))
    port.plant_file("/vm/.a.hdd.vdisk-1234.tmp/x", b"half made")
    clear_siblings(port, PATH)
    assert views(port) == before
    assert [path for path in port.listing() if ".vdisk-" in path] == []


def test_what_another_run_holds_is_left_alone(port: MemoryPort) -> None:
    port.plant_file("/vm/.a.hdd.vdisk-1234.tmp/x", b"being made")
    lock = port.lock(("/vm/.a.hdd.vdisk-1234.tmp",), ())
    assert clear_siblings(port, PATH) == ()
    assert port.content("/vm/.a.hdd.vdisk-1234.tmp/x") == b"being made"
    lock.release()


@pytest.mark.parametrize(
    "name",
    [
        ".b.hdd.vdisk-1.tmp",
        "a.hdd.vdisk-1.tmp",
        ".a.hdd.vdisk-.tmp",
        ".a.hdd.vdisk-1.2.tmp",
        ".a.hdd.tmp",
        ".a.hdd.vdisk-1",
    ],
)
def test_other_names_are_none_of_our_business(port: MemoryPort, name: str) -> None:
    port.plant_file(f"/vm/{name}", b"precious")
    assert clear_siblings(port, PATH) == ()
    assert port.content(f"/vm/{name}") == b"precious"


def test_a_place_without_a_directory_has_no_siblings(port: MemoryPort) -> None:
    assert clear_siblings(port, "/nowhere/a.hdd") == ()
    assert clear_siblings(port, "/vm/outside.hds/a.hdd") == ()
    assert clear_siblings(port, "/a.hdd") == ()


@pytest.mark.parametrize("kind", ["fifo", "broken link", "link to a directory"])
def test_odd_things_with_our_names_are_removed_without_harm(tmp_path: Path, kind: str) -> None:
    odd = tmp_path / ".a.hdd.vdisk-1.tmp"
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "x").write_bytes(b"precious")
    if kind == "fifo":
        os.mkfifo(odd)
    else:
        odd.symlink_to(tmp_path / ("nothing" if kind == "broken link" else "keep"))
    try:
        clear_siblings(OsPort(), str(tmp_path / "a.hdd"))
    except DiskError as error:
        assert error.path is not None
    assert (tmp_path / "keep" / "x").read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees files of others as their own")
@pytest.mark.parametrize("mode", [0o1777, 0o755])
def test_a_journal_of_somebody_else_in_a_shared_folder_removes_nothing(tmp_path: Path, mode: int) -> None:
    """Where only root and the owner may write, it cannot be that of anybody else."""
    staging = tmp_path / ".disk.vmdk.vdisk-1234.tmp"
    staging.mkdir()
    record = Journal("publish", PREPARE, (), ("disk-secret.vmdk",), (), {"entry": "disk.vmdk"})
    (staging / JOURNAL).write_bytes(pack_journal(record))
    (tmp_path / "disk-secret.vmdk").write_bytes(b"of a third one")
    os.chown(staging, 12345, 12345)
    tmp_path.chmod(mode)
    done = clear_siblings(OsPort(), os.path.realpath(tmp_path / "disk.vmdk"))
    assert (tmp_path / "disk-secret.vmdk").exists() == staging.exists() == (not done) == (mode == 0o1777)

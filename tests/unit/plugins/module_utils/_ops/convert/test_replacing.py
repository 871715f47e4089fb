# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a conversion replaces, and what it does not."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    Dirty,
    DiskError,
    HasSnapshots,
    NotFound,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH, RAW, DEST = "/vm/a.hdd", "/vm/a.raw", "/vm/b.hdd"
CLUSTER = disks.SMALL_CLUSTER
ONE = guid_of(1)
SIZE = 8 * CLUSTER


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers(PATH, ONE)


def test_a_destination_with_snapshots_is_replaced_only_by_force(port: MemoryPort) -> None:
    disks.convert(port, PATH, RAW, snapshot=ONE)
    before = port.listing()
    for update in ("content", "always"):
        with pytest.raises(HasSnapshots):
            disks.convert(port, RAW, PATH, update=update)
    assert port.listing() == before
    assert disks.convert(port, RAW, PATH, update="missing").is_empty
    disks.convert(port, RAW, PATH, force=True)
    assert disks.guids_of(port, PATH) == [TOP]
    assert disks.read_naively(port, PATH) == port.content(RAW)


def test_a_dirty_destination_is_replaced_only_by_force(port: MemoryPort) -> None:
    disks.convert(port, PATH, DEST)
    disks.marked_in_use(port, DEST)
    with pytest.raises(Dirty):
        disks.convert(port, PATH, DEST, snapshot=ONE)
    disks.convert(port, PATH, DEST, snapshot=ONE, force=True)
    assert disks.read_naively(port, DEST) == disks.read_naively(port, PATH, ONE)


@pytest.mark.parametrize(
    "dest, kind",
    [
        ("/vm/x.hdd", "file"),
        ("/vm/x.hdd", "folder"),
        ("/vm/x.raw", "folder"),
        ("/vm/x.raw", "fifo"),
        ("/vm/x.raw", "link"),
        ("/vm/x.hdd", "link"),
    ],
)
def test_what_is_no_image_is_not_replaced(port: MemoryPort, dest: str, kind: str) -> None:
    if kind == "file":
        port.plant_file(dest, b"precious")
    elif kind == "folder":
        port.plant_file(f"{dest}/precious", b"precious")
    elif kind == "fifo":
        port.plant_other(dest)
    else:
        port.plant_link(dest, "/vm/nothing")
    before = port.listing()
    with pytest.raises(AlreadyExists) as caught:
        disks.convert(port, PATH, dest, update="always", force=True)
    assert caught.value.path == dest
    assert port.listing() == before


def test_a_destination_in_no_directory_is_refused(port: MemoryPort) -> None:
    for dest in ("/nowhere/x.raw", "/nowhere/x.hdd", f"{RAW}/x.raw"):
        with pytest.raises(NotFound):
            disks.convert(port, PATH, dest)


def test_foreign_files_in_the_destination_are_not_lost(port: MemoryPort) -> None:
    disks.convert(port, PATH, DEST)
    port.plant_file(f"{DEST}/notes.txt", b"precious")
    with pytest.raises(DiskError):
        disks.convert(port, PATH, DEST, snapshot=ONE)
    assert port.content(f"{DEST}/notes.txt") == b"precious"

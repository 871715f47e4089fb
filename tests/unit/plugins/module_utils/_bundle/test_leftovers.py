# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.leftovers import holders, leftovers, orphans
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, PATH)
    disks.take(port, PATH, guid_of(1))
    return port


def test_a_new_disk_has_nothing_left_over_and_nobody_holds_it(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    assert (orphans(state), leftovers(state), holders(port, state)) == ((), (), ())


def test_names_are_told_apart_by_what_they_are(port: MemoryPort) -> None:
    for name in ("other.hds", "notes.txt", ".a.vdisk-1.tmp", "DiskDescriptor.xml.tmp"):
        port.plant_file(f"{PATH}/{name}", b"x")
    state = disks.state_of(port, PATH)
    assert orphans(state) == ("other.hds",)
    assert set(leftovers(state)) == {".a.vdisk-1.tmp", "DiskDescriptor.xml.tmp"}


def test_whoever_holds_the_bundle_or_any_image_is_seen(port: MemoryPort) -> None:
    image, holder, reader = disks.file_of(port, PATH, guid_of(1)), Holder("write", "qemu (7)"), Holder("flock", "x (8)")
    port.plant_holder(PATH, reader)
    port.plant_holder(image, holder)
    assert set(holders(port, disks.state_of(port, PATH))) == {(PATH, reader), (image, holder)}

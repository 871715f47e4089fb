# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disk of a machine that is named as a whole."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, Escape, NotABundle
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.machine import (
    disk_of_machine,
    is_machine,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

CONFIG = "<ParallelsVirtualMachine><Hardware>%s</Hardware></ParallelsVirtualMachine>"
HDD = "<Hdd><EmulatedType>1</EmulatedType><SystemName>%s</SystemName></Hdd>"


def machine(port: MemoryPort, *named: str, disks_there: tuple = ("b.hdd", "a.hdd")) -> str:
    port.plant_directory("/vm/m.pvm")
    for name in disks_there:
        disks.new_disk(port, f"/vm/m.pvm/{name}")
    if named:
        port.plant_file("/vm/m.pvm/config.pvs", (CONFIG % "".join(HDD % name for name in named)).encode())
    return "/vm/m.pvm"


def test_the_disk_of_a_machine_is_the_source(port: MemoryPort) -> None:
    path = machine(port, "a.hdd", disks_there=("a.hdd",))
    assert is_machine(port, path) and is_machine(port, path + "/")
    assert find_source(port, path).path == "/vm/m.pvm/a.hdd"
    assert find_source(port, path, format="hdd").path == "/vm/m.pvm/a.hdd"


def test_disks_are_counted_as_the_machine_does(port: MemoryPort) -> None:
    path = machine(port, "/old/m.pvm/b.hdd", "a.hdd", "gone.hdd")
    assert disk_of_machine(port, path, "0") == "/vm/m.pvm/b.hdd"
    assert disk_of_machine(port, path, "a") == disk_of_machine(port, path, "a.hdd") == "/vm/m.pvm/a.hdd"
    with pytest.raises(BadRequest) as caught:
        disk_of_machine(port, path, None)
    assert "b.hdd, a.hdd" in caught.value.message


def test_without_a_configuration_the_bundles_in_the_folder_count(port: MemoryPort) -> None:
    assert disk_of_machine(port, machine(port, disks_there=("a.hdd",)), None) == "/vm/m.pvm/a.hdd"


def test_a_machine_without_a_disk_is_refused(port: MemoryPort) -> None:
    port.plant_directory("/vm/m.macvm")
    with pytest.raises(NotABundle):
        find_source(port, "/vm/m.macvm")


def test_a_bundle_is_no_machine(port: MemoryPort) -> None:
    port.plant_file("/vm/a.pvm/DiskDescriptor.xml", b"<x/>")
    assert not is_machine(port, "/vm/a.pvm") and not is_machine(port, "/vm")


def test_a_machine_leads_to_no_disk_outside_of_it(port: MemoryPort) -> None:
    path = machine(port, "/other/c.hdd", disks_there=("a.hdd",))
    port.plant_directory("/other")
    disks.new_disk(port, "/other/c.hdd")
    with pytest.raises(Escape) as caught:
        find_source(port, path)
    assert "/other/c.hdd" in str(caught.value)
    # A copy in the folder is the one that was moved with it.
    disks.new_disk(port, "/vm/m.pvm/c.hdd")
    assert disk_of_machine(port, path, None) == "/vm/m.pvm/c.hdd"

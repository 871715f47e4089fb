# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.machine_edit import DiskValues, machine_edit
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import StalePlan
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.follow_machine import plan_machine
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH, CONFIG = "/vm/a.hdd", "/vm/config.pvs"
XML = (
    b"<VirtuozzoVirtualMachine><Hardware><Hdd><SystemName>a.hdd</SystemName><Size>1</Size></Hdd></Hardware>"
    b"</VirtuozzoVirtualMachine>"
)


def test_the_machine_says_what_its_disk_has_unless_it_changed_meanwhile(port: MemoryPort) -> None:
    disks.new_disk(port, PATH, size=3 << 20)
    port.plant_file(CONFIG, XML)
    state = disks.state_of(port, PATH)
    edit = machine_edit(port, state.location, DiskValues(state.descriptor.size_bytes))
    assert edit is not None
    plan = plan_machine(state, edit)
    assert plan.commit_text == f"replace {CONFIG}"
    port.plant_file(CONFIG, XML + b"\n")
    with pytest.raises(StalePlan):
        disks.apply(port, plan)
    port.plant_file(CONFIG, XML)
    edit = machine_edit(port, state.location, DiskValues(state.descriptor.size_bytes))
    assert edit is not None
    disks.apply(port, plan_machine(state, edit))
    assert port.content(CONFIG) == XML.replace(b">1<", b">3<")
    assert [name for name in port.list_directory("/vm") if name.startswith(".")] == []

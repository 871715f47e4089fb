# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.after import as_described, dropped_extensions
from ansible_collections.vdisk.parallels.plugins.module_utils._change.journal import descriptor_step
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import CreateFile
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.tests.crash.scenes import line, plant
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    return port


def test_a_state_is_what_an_observation_after_the_steps_would_find(port: MemoryPort) -> None:
    plant(port, PATH, line("AB", ".C"))
    port.plant_file(f"{PATH}/new.hds", b"x")
    state = disks.state_of(port, PATH)
    target = replace(state.descriptor, name="other")
    step = descriptor_step(state, target)
    after = as_described(state, target, [CreateFile(f"{PATH}/new.hds", 0), step], dict(state.images))
    assert (after.descriptor.name, after.xml) == ("other", step.content)
    assert "new.hds" in state.others and "new.hds" not in after.others


def test_without_a_new_descriptor_the_document_stays(port: MemoryPort) -> None:
    plant(port, PATH, line("AB"))
    state = disks.state_of(port, PATH)
    assert as_described(state, state.descriptor, [], dict(state.images)).xml == state.xml


def test_what_an_image_loses_is_told_once_for_each(port: MemoryPort) -> None:
    plant(port, PATH, line("A0BxDC0.", bitmap="top"))
    images = list(disks.state_of(port, PATH).images.values())
    (told,) = dropped_extensions(images)
    assert images[0].path in told and "backup" in told
    plant(port, "/vm/b.hdd", line("AB"))
    assert list(dropped_extensions(list(disks.state_of(port, "/vm/b.hdd").images.values()))) == []

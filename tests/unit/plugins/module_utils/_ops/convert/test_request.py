# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked of a conversion."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest, layer_depths
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

ONE = guid_of(1)


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers("/vm/a.hdd", ONE)


def test_layers_are_kept_only_when_asked_and_where_the_output_can_hold_them(port: MemoryPort) -> None:
    source = find_source(port, "/vm/a.hdd")
    assert layer_depths(source, ConvertRequest("qcow2", "/vm/b.qcow2")) == (0,)
    assert layer_depths(source, ConvertRequest("qcow2", "/vm/b.qcow2", keeps_layers=True)) == (1, 0)
    assert layer_depths(source, ConvertRequest("raw", "/vm/b.raw", keeps_layers=True)) == (0,)


def test_an_image_without_others_below_it_is_one_layer(port: MemoryPort) -> None:
    port.plant_file("/vm/a.raw", bytes(512))
    source = find_source(port, "/vm/a.raw")
    assert layer_depths(source, ConvertRequest("hdd", "/vm/b.hdd", keeps_layers=True)) == (0,)

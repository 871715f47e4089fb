# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source that a user names."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, DiskError, NoSuchSnapshot
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.choose_source import choose_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import SourceRequest
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

ONE = guid_of(1)


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers("/vm/a.hdd", ONE)


def test_without_a_snapshot_the_current_state_is_read(port: MemoryPort) -> None:
    assert choose_source(port, SourceRequest("/vm/a.hdd")).guid == TOP


@pytest.mark.parametrize("spelling", [ONE, ONE.strip("{}"), ONE.upper()])
def test_a_snapshot_is_named_by_its_guid(port: MemoryPort, spelling: str) -> None:
    assert choose_source(port, SourceRequest("/vm/a.hdd", snapshot=spelling)).guid == ONE


@pytest.mark.parametrize("name", ["never taken", guid_of(9)])
def test_a_snapshot_that_the_disk_does_not_have_is_refused(port: MemoryPort, name: str) -> None:
    with pytest.raises(NoSuchSnapshot):
        choose_source(port, SourceRequest("/vm/a.hdd", snapshot=name))


def test_an_image_has_no_snapshots_to_choose_from(port: MemoryPort) -> None:
    port.plant_file("/vm/a.raw", bytes(512))
    with pytest.raises(BadRequest, match="snapshot"):
        choose_source(port, SourceRequest("/vm/a.raw", snapshot="x"))


def test_a_layer_of_a_bundle_is_no_source_of_its_own(port: MemoryPort) -> None:
    with pytest.raises(DiskError):
        choose_source(port, SourceRequest(disks.file_of(port, "/vm/a.hdd", ONE)))

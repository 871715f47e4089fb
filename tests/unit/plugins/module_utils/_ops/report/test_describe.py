# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is asked for beside the facts of a disk."""

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Encrypted
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Port
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.report.describe import (
    DescribeRequest,
    describe_disk,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"


@pytest.fixture(name="port")
def port_fixture() -> Port:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, PATH)
    disks.write(port, PATH, 0, bytes(disks.SMALL_CLUSTER))
    return port


def test_what_was_not_asked_for_is_left_out(port: MemoryPort) -> None:
    facts = describe_disk(port, PATH, DescribeRequest())
    assert facts["partitions"] is None and not {"map", "checksum"} & set(facts)
    assert facts["reclaimable"]["zero"] is None


def test_what_was_asked_for_is_there(port: MemoryPort) -> None:
    request = DescribeRequest(scan="zeros", buckets=8, checksum="sha256")
    facts = describe_disk(port, PATH, request)
    assert facts["reclaimable"] == {
        "leaked": 0,
        "zero": disks.SMALL_CLUSTER,
        "equal": 0,
        "free_in_filesystem": None,
    }
    assert facts["checksum"] == hashlib.sha256(disks.read(port, PATH)).hexdigest()
    assert facts["map"]


def test_the_data_of_an_encrypted_disk_are_not_looked_at(port: MemoryPort) -> None:
    text = port.content(f"{PATH}/DiskDescriptor.xml").replace(b"<Engine>{00000000", b"<Engine>{00000001")
    port.plant_file(f"{PATH}/DiskDescriptor.xml", text)
    assert describe_disk(port, PATH, DescribeRequest())["partitions"] is None
    with pytest.raises(Encrypted):
        describe_disk(port, PATH, DescribeRequest(scan="zeros"))

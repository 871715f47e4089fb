# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.checksums import (
    FileDigest,
    file_checksum,
    guest_checksum,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_view
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

MIB = 1 << 20


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_what_is_skipped_counts_as_zeros(algorithm: str) -> None:
    digest = FileDigest(algorithm)
    digest.add(700_000, memoryview(b"data"))
    digest.add(700_004, memoryview(b"more"))
    digest.skip_to(1_000_000)
    expected = (bytes(700_000) + b"datamore").ljust(1_000_000, b"\0")
    assert digest.hexdigest() == hashlib.new(algorithm, expected).hexdigest()


@pytest.mark.parametrize("content", [b"", b"x", bytes(3 * MIB) + b"x", fill(1, MIB) + bytes(MIB)])
def test_the_checksum_of_a_file_is_that_of_its_bytes(port: MemoryPort, content: bytes) -> None:
    port.plant_file("/vm/file", content)
    assert file_checksum(port, "/vm/file", "sha256") == hashlib.sha256(content).hexdigest()


def test_the_checksum_of_a_disk_is_that_of_what_the_guest_sees(port: MemoryPort) -> None:
    disks.new_disk(port, "/vm/a.hdd")
    disks.write(port, "/vm/a.hdd", 1000, b"guest data")
    state = disks.state_of(port, "/vm/a.hdd")
    view = open_view(port, state, state.tree.top)
    assert guest_checksum(view, "sha256") == hashlib.sha256(disks.read_naively(port, "/vm/a.hdd")).hexdigest()
    view.close()

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.droppable import FREE_IN_FILESYSTEM
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.freed import find_freed, free_space_of
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.swap_pages import PAGE, header

DISK = "/vm/a.hdd"
CLUSTER = disks.SMALL_CLUSTER
SIZE = 8 * CLUSTER


@pytest.fixture(name="port")
def port_fixture() -> MemoryPort:
    """A disk that is a swap area of seven clusters; its last cluster belongs to nobody. A snapshot, and one write."""
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, DISK, size=SIZE)
    disks.write(port, DISK, 0, b"x" * SIZE)
    disks.write(port, DISK, 0, header(7 * CLUSTER // PAGE))
    disks.take(port, DISK, guid_of(1))
    disks.write(port, DISK, 2 * CLUSTER, b"y" * CLUSTER)
    return port


def gone(port: MemoryPort, **options: bool) -> Dict[str, List[int]]:
    state = disks.state_of(port, DISK)
    freed = find_freed(port, state, **options)
    return {
        guid: [n for low, high in found.clusters[FREE_IN_FILESYSTEM].ranges() for n in range(low, high)]
        for (_storage, guid), found in freed.droppable.items()
    }


def test_clusters_that_are_free_in_every_view_may_go(port: MemoryPort) -> None:
    assert [gone(port, swap=True)[guid] for guid in order(port)] == [[1, 2, 3, 4, 5, 6], [2]]


def order(port: MemoryPort) -> List[str]:
    tree = disks.state_of(port, DISK).tree
    return sorted(tree.shots, key=tree.depth)


def test_pages_of_swap_are_kept_unless_asked_for(port: MemoryPort) -> None:
    assert [gone(port)[guid] for guid in order(port)] == [[], []]


def test_what_a_view_above_reads_and_needs_stays(port: MemoryPort) -> None:
    disks.write(port, DISK, 0, b"n" * PAGE)
    assert [gone(port, swap=True)[guid] for guid in order(port)] == [[2], []]


def test_a_disk_that_was_not_closed_has_nothing_free(port: MemoryPort) -> None:
    disks.patch(port, disks.file_of(port, DISK), 44, b"\x59\x6e\x6f\x74")
    state = disks.state_of(port, DISK)
    found = free_space_of(port, state, state.tree.top, swap=True)
    assert found.free.total == 0 and [one.reason for one in found.answers] == ["unclean"]


def test_file_systems_are_told_of_the_current_state(port: MemoryPort) -> None:
    freed = find_freed(port, disks.state_of(port, DISK), swap=True)
    (found,) = freed.filesystems
    assert (found["type"], found["free"], found["size"]) == ("swap", 7 * CLUSTER - PAGE, 7 * CLUSTER)
    assert found["droppable"] == 7 * CLUSTER - PAGE

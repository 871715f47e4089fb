# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import new_header
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.grow_image import GrownImage, grow_image
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
SECTOR = 512


def grown(port: MemoryPort, sectors: int, *, reserve: bool = False) -> GrownImage:
    state = disks.state_of(port, PATH)
    image = state.images[(0, state.tree.top)]
    assert image.header is not None
    return grow_image(image, image.header, sectors * SECTOR, reserve=reserve)


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    """A disk with clusters of one sector, whose table fills the first one; clusters 0, 3 and 100 are stored."""
    disks.new_disk(port, PATH, size=112 * SECTOR, cluster_bytes=SECTOR)
    for number in (0, 3, 100):
        disks.write(port, PATH, number * SECTOR, fill(number, SECTOR))
    return port


def test_a_table_with_room_moves_nothing(port: MemoryPort) -> None:
    disks.new_disk(port, "/vm/b.hdd", size=8 * disks.SMALL_CLUSTER)
    state = disks.state_of(port, "/vm/b.hdd")
    image = state.images[(0, state.tree.top)]
    assert image.header is not None
    found = grow_image(image, image.header, 16 * disks.SMALL_CLUSTER, reserve=False)
    assert (found.moves, found.relocated, found.reserved_at) == ((), (), None)
    assert (found.header.bat_entries, found.first_new, found.size_after) == (16, 8, image.stat.size)


def test_clusters_in_the_room_of_the_table_get_places_further_on(port: MemoryPort) -> None:
    found = grown(port, 400)
    assert found.header.data_start >= new_header(size_bytes=400 * SECTOR, cluster_bytes=SECTOR, version=1).table_end
    old = {move.source_offset for move in found.moves}
    new = [move.target_offset for move in found.moves]
    assert old and min(new) >= found.header.data_start and len(set(new)) == len(new)
    assert found.read == found.written == len(found.moves) * SECTOR
    assert all(run.offset >= found.header.data_start for run in found.table.runs())
    assert found.table.clusters_used == 3


def test_reserved_clusters_follow_all_that_is_there(port: MemoryPort) -> None:
    found = grown(port, 400, reserve=True)
    assert found.reserved_at is not None and found.reserved_at % SECTOR == 0
    assert found.size_after == found.reserved_at + (400 - 112) * SECTOR
    assert found.table.clusters_used == 3 + 400 - 112
    assert found.needed >= found.size_after - found.reserved_at


@pytest.mark.parametrize("tail", [SECTOR, 7 * SECTOR])
def test_what_the_last_cluster_held_past_the_end_is_zeroed(port: MemoryPort, tail: int) -> None:
    step = disks.SMALL_CLUSTER
    disks.new_disk(port, "/vm/c.hdd", size=3 * step - tail)
    disks.write(port, "/vm/c.hdd", 2 * step, fill(2, step - tail))
    path = disks.file_of(port, "/vm/c.hdd")
    disks.patch(port, path, len(port.content(path)) - tail, b"\x77" * tail)
    state = disks.state_of(port, "/vm/c.hdd")
    image = state.images[(0, state.tree.top)]
    assert image.header is not None
    found = grow_image(image, image.header, 5 * step, reserve=False)
    assert [(move.target_offset, move.length) for move in found.zeroed] == [(image.stat.size - tail, tail)]


def test_a_size_that_the_version_cannot_hold_is_refused(port: MemoryPort) -> None:
    with pytest.raises(BadRequest):
        grown(port, 1 << 32)

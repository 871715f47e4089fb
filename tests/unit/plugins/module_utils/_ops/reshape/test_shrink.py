# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_view
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.shrink import (
    first_data,
    plan_shrink,
    refuse_loss,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
STEP = disks.SMALL_CLUSTER


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    """Data in clusters 0 and 5, zeros in 6."""
    disks.new_disk(port, PATH, size=8 * STEP)
    disks.write(port, PATH, 0, fill(0, STEP))
    disks.write(port, PATH, 5 * STEP + 8192, b"x" * 100)
    disks.write(port, PATH, 6 * STEP, bytes(STEP))
    return port


@pytest.mark.parametrize(
    "start, spared, found",
    [
        (STEP, (), 5 * STEP + 8192),
        (5 * STEP + 8192 + 4096, (), None),
        (STEP, ((5 * STEP, 6 * STEP),), None),
        (STEP, ((5 * STEP, 5 * STEP + 8192),), 5 * STEP + 8192),
        (STEP, ((5 * STEP + 8200, 6 * STEP),), 5 * STEP + 8192),
        (0, (), 0),
    ],
)
def test_the_first_data_is_found_to_the_grain(port: MemoryPort, start: int, spared: tuple, found: object) -> None:
    state = disks.state_of(port, PATH)
    view = open_view(port, state, state.tree.top)
    assert first_data(view, start, spared) == found
    view.close()


def test_a_cut_through_data_or_a_partition_is_refused_by_name(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    with pytest.raises(BadRequest) as caught:
        refuse_loss(port, state, 4 * STEP)
    assert str(5 * STEP + 8192) in str(caught.value)
    with pytest.raises(BadRequest) as caught:
        refuse_loss(port, state, 7 * STEP, partitions=[("2", STEP, 8 * STEP), ("1", 0, STEP)])
    assert "2 (bytes" in str(caught.value) and "1 (bytes" not in str(caught.value)
    refuse_loss(port, state, 7 * STEP, partitions=[("1", 0, 7 * STEP)])


def test_the_guest_sees_the_beginning_as_before_and_files_are_shorter(port: MemoryPort) -> None:
    before = disks.read_naively(port, PATH)
    plan = plan_shrink(disks.state_of(port, PATH), 4 * STEP)
    disks.apply(port, plan)
    assert disks.read_naively(port, PATH) == before[: 4 * STEP]
    assert plan.bytes_freed == 2 * STEP
    assert disks.facts_of(port, disks.state_of(port, PATH)) == disks.facts_of(port, plan.facts.after)


def test_whole_parts_of_a_split_disk_go(port: MemoryPort) -> None:
    disks.new_disk(port, "/vm/b.hdd", size=8 * STEP, part_size=3 * STEP)
    disks.apply(port, plan_shrink(disks.state_of(port, "/vm/b.hdd"), 2 * STEP))
    state = disks.state_of(port, "/vm/b.hdd")
    assert len(state.images) == 1 and not [name for name in state.others if name.endswith(".hds")]

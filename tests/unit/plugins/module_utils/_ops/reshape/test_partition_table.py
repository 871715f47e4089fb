# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.partition_table import (
    find_gpt,
    plan_partition_fix,
)
from ansible_collections.vdisk.parallels.tests.support import disks, gpt
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
STEP = disks.SMALL_CLUSTER
SIZE = 8 * STEP


def with_table(port: MemoryPort, *partitions: tuple) -> MemoryPort:
    disks.new_disk(port, PATH, size=SIZE)
    content = gpt.with_gpt(bytes(SIZE), partitions)
    for offset in range(0, SIZE, STEP):
        if any(content[offset : offset + STEP]):
            disks.write(port, PATH, offset, content[offset : offset + STEP])
    return port


def fixed(port: MemoryPort) -> object:
    state = disks.state_of(port, PATH)
    return plan_partition_fix(port, state, state.descriptor.size_bytes, actual=state)


def test_a_grown_disk_gets_its_backup_at_the_new_end(port: MemoryPort) -> None:
    with_table(port, (40, 100))
    disks.apply(port, disks.plan_of_grow(disks.state_of(port, PATH), 2 * SIZE))
    plan = fixed(port)
    disks.apply(port, plan)
    assert gpt.judge(disks.read_naively(port, PATH)) == [(40, 100)]
    assert gpt.protected(disks.read_naively(port, PATH)) == 2 * SIZE // 512 - 1
    assert disks.facts_of(port, disks.state_of(port, PATH)) == disks.facts_of(port, plan.facts.after)
    assert fixed(port).is_empty


@pytest.mark.parametrize("makes", ["table", "nothing", "damaged"])
def test_where_there_is_nothing_to_do_the_plan_is_empty(port: MemoryPort, makes: str) -> None:
    if makes == "nothing":
        disks.new_disk(port, PATH, size=SIZE)
    else:
        with_table(port, (40, 100))
    if makes == "damaged":
        disks.write(port, PATH, 512 + 8, b"\xff")
        disks.write(port, PATH, SIZE - 512 + 8, b"\xff")
    state = disks.state_of(port, PATH)
    assert (find_gpt(port, state) is not None) == (makes == "table")
    assert fixed(port).is_empty


def test_a_partition_in_the_way_is_refused(port: MemoryPort) -> None:
    last = SIZE // 512 - 34
    with_table(port, (40, last))
    state = disks.state_of(port, PATH)
    with pytest.raises(BadRequest) as caught:
        plan_partition_fix(port, state, SIZE - 512, actual=state)
    assert caught.value.found == (last + 1) * 512

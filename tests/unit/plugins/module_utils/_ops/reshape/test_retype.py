# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, NoSpace
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.retype import plan_retype, predict_retype
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
STEP = disks.SMALL_CLUSTER
SHAPES = {
    "plain": dict(kind="plain"),
    "version-2": dict(version=2),
    "smaller-clusters": dict(cluster_bytes=STEP // 4),
    "split": dict(part_size=3 * STEP),
    "reserved": dict(preallocate=True),
    "larger": dict(size=11 * STEP),
}


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    """Two layers, with data and stored zeros in both."""
    disks.new_disk(port, PATH, size=8 * STEP)
    disks.write(port, PATH, STEP, fill(1, 2 * STEP))
    disks.write(port, PATH, 5 * STEP, bytes(STEP))
    disks.take(port, PATH, guid_of(1))
    disks.write(port, PATH, 2 * STEP + 100, fill(2, STEP))
    return port


@pytest.mark.parametrize("name", SHAPES)
def test_the_guest_sees_the_same_in_another_shape_as_predicted(port: MemoryPort, name: str) -> None:
    shape = disks.shape(**{"size": 8 * STEP, **SHAPES[name]})
    before = disks.read_naively(port, PATH)
    state = disks.state_of(port, PATH)
    plan = plan_retype(port, state, shape, predict=True)
    disks.apply(port, plan)
    assert disks.read_naively(port, PATH) == before.ljust(shape.size, b"\0")
    assert disks.facts_of(port, disks.state_of(port, PATH)) == disks.facts_of(port, plan.facts.after)
    assert len(disks.state_of(port, PATH).tree.shots) == 1


def test_a_prediction_writes_nothing_and_counts_what_is_not_zero(port: MemoryPort) -> None:
    recording = port.record()
    predicted = predict_retype(port, disks.state_of(port, PATH), disks.shape(8 * STEP, kind="plain"))
    assert not recording.effects
    assert predicted.lengths == (8 * STEP,) and predicted.tables == (None,)
    assert predicted.flow.written == 2 * STEP + 4096


def test_a_smaller_size_is_refused(port: MemoryPort) -> None:
    with pytest.raises(BadRequest):
        plan_retype(port, disks.state_of(port, PATH), disks.shape(7 * STEP, kind="plain"))


def test_where_the_upper_bound_does_not_fit_the_exact_need_decides(port: MemoryPort) -> None:
    disks.write(port, PATH, 6 * STEP, bytes(2 * STEP))
    state, shape = disks.state_of(port, PATH), disks.shape(8 * STEP, kind="plain")
    upper = plan_retype(port, state, shape).space[0][1]
    port.set_free_space(upper - STEP)
    plan = plan_retype(port, state, shape)
    assert plan.space[0][1] < upper - STEP
    disks.apply(port, plan)
    port.set_free_space(STEP)
    with pytest.raises(NoSpace):
        disks.apply(port, plan_retype(port, disks.state_of(port, PATH), disks.shape(8 * STEP)))

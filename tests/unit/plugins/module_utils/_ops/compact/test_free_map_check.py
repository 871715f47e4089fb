# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import VerifyFailed
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Transfer
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.free_map_check import FreeMapCheck
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.savings import COPY
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.swap_pages import PAGE, header

DISK = "/vm/a.hdd"
CLUSTER = disks.SMALL_CLUSTER
SIZE = 8 * CLUSTER


@pytest.fixture(name="port")
def port_fixture() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, DISK, size=SIZE)
    disks.write(port, DISK, 0, b"x" * SIZE)
    disks.write(port, DISK, 0, header(6 * CLUSTER // PAGE))
    disks.take(port, DISK, guid_of(1))
    disks.write(port, DISK, 7 * CLUSTER, b"y" * CLUSTER)
    return port


def plan_of(port: MemoryPort):
    state = disks.state_of(port, DISK)
    return plan_compact(port, state, scan="filesystem", strategy=COPY, swap=True, threshold=1)


def with_job(plan, change):
    """The plan with every check changed."""
    steps = [Transfer(change(step.job)) if isinstance(step, Transfer) else step for step in plan.steps]
    return replace(plan, steps=tuple(steps))


def test_a_copy_is_compared_before_it_gets_its_name(port: MemoryPort) -> None:
    before = disks.read_naively(port, DISK)
    plan = plan_of(port)
    jobs = [step.job for step in plan.steps if isinstance(step, Transfer)]
    assert len(jobs) == 1 and isinstance(jobs[0], FreeMapCheck)
    outcome = disks.apply(port, plan)
    # What the image holds and is not free, in both views that stand on it: a page and two clusters.
    scanned = sum(view.bytes_read for view in jobs[0].views.values())
    assert outcome.reports["transfer"].bytes_read == jobs[0].bytes_to_read == 2 * (PAGE + 2 * CLUSTER) + scanned
    assert scanned > PAGE
    after = disks.read_naively(port, DISK)
    assert after[:PAGE] == before[:PAGE] and after[6 * CLUSTER :] == before[6 * CLUSTER :]
    assert plan_of(port).is_empty


def test_another_free_space_is_refused_and_the_image_stays(port: MemoryPort) -> None:
    seen = disks.read_naively(port, DISK)
    plan = with_job(plan_of(port), lambda job: replace(job, swap=False))
    with pytest.raises(VerifyFailed, match="free space"):
        disks.apply(port, plan)
    assert disks.read_naively(port, DISK) == seen
    assert not [name for name in port.list_directory(DISK) if ".vdisk-" in name]


def test_another_byte_is_refused(port: MemoryPort) -> None:
    plan = plan_of(port)
    temporary = next(step.job for step in plan.steps if isinstance(step, Transfer)).temporary

    class Damaging:
        def __init__(self, job) -> None:
            self.job = job

        def run(self, port, on_progress=None):
            size = port.stat(temporary).size
            disks.patch(port, temporary, size - 5, b"?")
            return self.job.run(port, on_progress)

    with pytest.raises(VerifyFailed, match="read back"):
        disks.apply(port, with_job(plan, Damaging))

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Growing and shrinking: which parts a disk gets, what a plan promises, and journals that do not fit."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import resized, wanted_parts
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, HasSnapshots
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import WriteBytes
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.shrink import plan_shrink
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of

STEP = disks.SMALL_CLUSTER
DISK = "/vm/a.hdd"


@pytest.mark.parametrize(
    ("part", "size", "wanted", "expected"),
    [
        (None, 8, 10, [10]),
        (None, 8, 3, [3]),
        (3, 8, 9, [3, 3, 3]),
        (3, 8, 10, [3, 3, 3, 1]),
        (3, 8, 7, [3, 3, 1]),
        (3, 8, 6, [3, 3]),
        (3, 8, 2, [2]),
    ],
)
def test_parts_follow_the_rule_that_the_disk_has(port, part, size, wanted, expected):
    disks.new_disk(port, DISK, size=size * STEP, part_size=None if part is None else part * STEP)
    state = disks.state_of(port, DISK)
    parts = wanted_parts(state, wanted * STEP)
    assert [length // STEP for _start, length in parts] == expected
    plan = disks.plan_of_grow(state, wanted * STEP) if wanted > size else plan_shrink(state, wanted * STEP)
    predicted = disks.facts_of(port, plan.facts.after)
    disks.apply(port, plan)
    assert disks.facts_of(port, disks.state_of(port, DISK)) == predicted
    assert predicted["virtual_size"] == wanted * STEP and len(predicted["layers"][0]["files"]) == len(expected)


def test_the_geometry_stays_exact(port):
    disks.new_disk(port, DISK, size=8 * STEP)
    descriptor = disks.state_of(port, DISK).descriptor
    assert resized(descriptor, 1 << 30, descriptor.storages).cylinders == 4096
    odd = replace(descriptor, heads=255, sectors=63)
    changed = resized(odd, 1 << 30, descriptor.storages)
    assert (changed.cylinders, changed.heads, changed.sectors) == (4096, 16, 32)
    assert resized(replace(odd, cylinders=None), 1 << 30, descriptor.storages).heads == 255


def test_a_table_of_millions_of_entries_costs_little_to_plan(port):
    disks.new_disk(port, DISK, size=8 << 20, cluster_bytes=1 << 20, version=2)
    plan = disks.plan_of_grow(disks.state_of(port, DISK), 16 << 40)
    written = [step for step in plan.steps if isinstance(step, WriteBytes) and len(step.content) > 1 << 12]
    assert sum(len(step.content) for step in written) >= 4 * (16 << 20) - (1 << 18)
    assert len({id(step.content) for step in written}) <= 2


def test_a_size_that_the_version_cannot_hold_is_refused(port):
    disks.new_disk(port, DISK, size=8 << 20, cluster_bytes=1 << 20)
    with pytest.raises(BadRequest) as caught:
        disks.plan_of_grow(disks.state_of(port, DISK), 3 << 40)
    assert "format_version" in str(caught.value)


def test_snapshots_are_refused_with_the_ways_out(port):
    disks.new_disk(port, DISK)
    disks.take(port, DISK, guid_of(1))
    state = disks.state_of(port, DISK)
    with pytest.raises(HasSnapshots) as caught:
        disks.plan_of_grow(state, 16 * STEP)
    assert "top_only" in str(caught.value)
    with pytest.raises(HasSnapshots) as caught:
        plan_shrink(state, STEP)
    assert "top_only" not in str(caught.value) and "merge" in str(caught.value)

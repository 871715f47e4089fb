# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ending a change of size that was interrupted; journals that do not fit."""

from __future__ import annotations

import json

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import PREPARE, ImageBefore, Journal
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import recover
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.resize import resize_end_steps
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.shrink import plan_shrink
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

STEP = disks.SMALL_CLUSTER
DISK = "/vm/a.hdd"


@pytest.mark.parametrize("operation", ["grow", "shrink"])
@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"sectors": "many"},
        {"sectors": 1, "headers": []},
        {"sectors": 1, "entries": -1},
        {"sectors": 1, "entries": 1 << 40},
        {"sectors": 1, "headers": {}, "wants": "header"},
        {"sectors": 1, "headers": {"IMAGE": "xyz"}, "wants": "header"},
        {"sectors": 1, "headers": {"IMAGE": "00" * 64}, "wants": "header"},
        {"sectors": 1, "headers": {"IMAGE": 7}, "wants": "header"},
    ],
)
def test_a_journal_that_does_not_fit_changes_nothing(port, operation, request_):
    disks.new_disk(port, DISK)
    name = disks.file_of(port, DISK).rsplit("/", 1)[-1]
    wants_header = request_.pop("wants", None) == "header"
    record = {
        "version": 1,
        "operation": operation,
        "phase": "prepare",
        "created": [],
        "discarded": [],
        "images": [{"name": name, "size": 1, "in_use": 0}],
        "request": json.loads(json.dumps(request_).replace("IMAGE", name)),
    }
    if wants_header:
        request_["wants"] = "header"
    port.plant_file(f"{DISK}/.vdisk-journal", json.dumps(record).encode())
    before = port.content(disks.file_of(port, DISK))
    location = disks.state_of(port, DISK).location
    if wants_header and operation == "shrink":
        # A shrink that is not in the descriptor has changed nothing, and its journal just goes.
        recover(port, location)
    else:
        with pytest.raises(Damaged):
            recover(port, location)
    assert port.content(disks.file_of(port, DISK)) == before


def planned(port, change):
    state = disks.state_of(port, DISK)
    return disks.plan_of_grow(state, 12 * STEP) if change == "grow" else plan_shrink(state, 5 * STEP)


@pytest.mark.parametrize("options", [{}, {"part_size": 3 * STEP}, {"kind": "plain"}], ids=["one", "split", "plain"])
@pytest.mark.parametrize("change", ["grow", "shrink"])
def test_a_change_that_was_killed_after_any_step_is_ended(port, change, options):
    disks.new_disk(port, DISK, size=8 * STEP, **options)
    disks.write(port, DISK, STEP, fill(1, 6 * STEP))
    before, size = disks.read_naively(port, DISK), {"grow": 12 * STEP, "shrink": 5 * STEP}[change]
    allowed = (before, before[:size].ljust(size, b"\0"))
    count = len(planned(port, change).steps)
    assert count > 3
    for after in range(1, count):
        trial = MemoryPort(port.tree.fork())
        plan = planned(trial, change)
        execute(trial, replace(plan, steps=plan.steps[:after]))
        recover(trial, disks.state_of(trial, DISK).location)
        state = disks.state_of(trial, DISK)
        assert disks.read_naively(trial, DISK) == allowed[state.descriptor.size_bytes == size]
        assert not [name for name in trial.listing() if ".vdisk-" in name]
        assert not any(image.is_dirty for image in state.images.values())


def test_an_image_that_the_journal_does_not_know_is_left_alone(port):
    disks.new_disk(port, DISK)
    state = disks.state_of(port, DISK)
    request = {"sectors": state.descriptor.size_sectors + 64, "headers": {}}
    journal = Journal("grow", PREPARE, images=(ImageBefore("x.hds", 1, 0),), request=request)
    assert list(resize_end_steps(state, journal)) == []

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A compaction by any strategy that is cut off anywhere, by the power, a kill or a call that fails, changes no view,
and the next one ends it.
"""

from __future__ import annotations

import os
from typing import Callable, Dict, List, Sequence, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError, NoSpace, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.savings import COPY, IN_PLACE, PUNCH
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import BRANCHED, DISK, FOLDER, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.scenes import (
    CLUSTER,
    Drawing,
    line,
    plant,
    plant_single,
    random_drawing,
)
from ansible_collections.vdisk.parallels.tests.crash.sight import images_of, sight_of
from ansible_collections.vdisk.parallels.tests.crash.trial import NothingToDo, Trial
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))
SEEDS = 400 if LONG else 12
Count = Callable[[Explorer], None]

# A drawing, and the clusters that the guest writes once more as they are, so that the top holds what lies below it.
DRAWINGS: Dict[str, Tuple[Drawing, Sequence[int]]] = {
    "one-layer": (line("A0xBx0CD"), ()),
    "v1": (line("A0xB.0CD", "x0A..B.C"), (0, 6)),
    "v2": (line("A0xB.0CD", "x0A..B.C", version=2), (0, 6)),
    "split": (line("0xAB0B", "A.0.0A", split=(3, 3)), (2, 3)),
    "branched": (BRANCHED, (0, 3)),
    "above-plain": (line("A0B0C00D", "0x..0A0B", plain=True), (2, 4)),
    "plain": (line("A0B00C0D", plain=True), ()),
    "shorter-base": (line("A0B", "x.A0....", ".0..BC0D"), (0,)),
}


def prepared(drawing: Drawing, rewritten: Sequence[int]) -> Callable[[MemoryPort, str], None]:
    def prepare(port: MemoryPort, folder: str) -> None:
        path = f"{folder}/{DISK}"
        plant(port, path, drawing)
        for index in rewritten:
            content = disks.read_naively(port, path, TOP)[index * CLUSTER : (index + 1) * CLUSTER]
            disks.write(port, path, index * CLUSTER, content)

    return prepare


def compacting(name: str, prepare: Callable[[MemoryPort, str], None], strategy: str) -> Operation:
    def run(one: Run) -> None:
        one.change(DISK, lambda port, state: plan_compact(port, state, strategy=strategy, threshold=1))

    return Operation(f"compact-{strategy}-{name}", prepare, run)


def single(port: MemoryPort, folder: str) -> None:
    plant_single(port, f"{folder}/{DISK}", "A0xBx0CD")


SCENES = {**{name: prepared(*drawn) for name, drawn in DRAWINGS.items()}, "single-file": single}
OPERATIONS: List[Operation] = [
    compacting(name, prepare, strategy) for strategy in (IN_PLACE, COPY, PUNCH) for name, prepare in SCENES.items()
]


def tried(operation: Operation) -> Trial:
    """A trial whose undisturbed run shows what the disk showed before."""
    trial = Trial(operation)
    assert trial.before.sight == trial.after.sight
    return trial


def explore(operation: Operation, count: Count, *, seed: int = 0, parents: int, deaths: int) -> None:
    explorer = Explorer(tried(operation), seed=seed)
    explorer.finished_states()
    explorer.power_failures()
    explorer.power_failures_while_recovering(parents)
    explorer.kills(deaths)
    calls = explorer.calls()
    explorer.errors(range(1, calls + 1, 1 if LONG else 7), "EIO")
    count(explorer)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_compaction_that_is_cut_off_anywhere_changes_no_view(operation: Operation, count: Count) -> None:
    explore(operation, count, parents=30 if LONG else 4, deaths=40 if LONG else 6)


@pytest.mark.parametrize("strategy", [COPY, PUNCH])
def test_a_random_disk_loses_nothing_either(strategy: str, count: Count) -> None:
    found = 0
    for seed in range(SEEDS):
        drawing = random_drawing(f"{strategy} {seed}")
        if drawing.style != "desktop":
            continue
        try:
            explore(
                compacting(f"random-{seed}", prepared(drawing, ()), strategy), count, seed=seed, parents=2, deaths=2
            )
            found += 1
        except NothingToDo:
            continue
    assert found > SEEDS // 8


@pytest.mark.parametrize("errno_name", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_any_call_that_fails_leaves_a_disk_that_the_next_run_finishes(operation: Operation, errno_name: str) -> None:
    trial = tried(operation)
    failures = 0
    for number in range(1, Explorer(trial).calls() + 1, 1 if LONG else 2):
        port = trial.start()
        port.fail_call(number, errno_name, partial=600)
        try:
            operation.run(Run(port, FOLDER))
        except DiskError:
            failures += 1
            assert sight_of(port, trial.path) == trial.before.sight
        port.fail_call(0)
        trial.check(port)
        trial.finish(port)
    assert failures > 10


def test_a_copy_on_a_full_file_system_leaves_the_old_image() -> None:
    operation = compacting("full", SCENES["v1"], COPY)
    trial = tried(operation)
    room = sum(len(content) for content in images_of(trial.start(), trial.path).values())
    refused = 0
    for free in range(0, room + (2 << 16), CLUSTER):
        port = trial.start()
        seen = dict(port.listing())
        port.set_free_space(free)
        try:
            operation.run(Run(port, FOLDER))
            break
        except NoSpace:
            refused += 1
            assert port.listing() == seen
    trial.check_finished(port)
    assert refused > 8


@pytest.mark.parametrize("name", ["v1", "above-plain", "plain", "single-file"])
def test_where_the_host_has_no_holes_the_disk_stays_as_it_is(name: str) -> None:
    operation = compacting(name, SCENES[name], PUNCH)
    port = operation.scene()
    port.punches = False
    seen = port.listing()
    with pytest.raises(Unsupported) as caught:
        operation.run(Run(port, FOLDER))
    assert "in_place" in str(caught.value.hint)
    assert {path: content and content[64:] for path, content in port.listing().items()} == {
        path: content and content[64:] for path, content in seen.items()
    }

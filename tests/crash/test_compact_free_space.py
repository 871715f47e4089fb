# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A compaction by what is free in file systems that is cut off anywhere loses no byte that is not free in its view.

The file system of these disks is swap, since it fits into a few clusters: its first page, and pages that may go.
"""

from __future__ import annotations

import os
import random
import struct
from typing import Callable, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.savings import COPY, IN_PLACE, PUNCH
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import DISK, FOLDER, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.scenes import CLUSTER, line, plant
from ansible_collections.vdisk.parallels.tests.crash.sight import Sight
from ansible_collections.vdisk.parallels.tests.crash.trial import NothingToDo, Trial
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.swap_pages import PAGE, header

LONG = bool(os.environ.get("VDISK_LONG"))
SEEDS = 300 if LONG else 3
Count = Callable[[Explorer], None]
Step = Callable[[MemoryPort, str], None]


def without_pages(shown: Sight) -> Sight:
    """What must stay: all of a view but the pages of a swap area in it."""
    views: Dict[str, bytes] = {}
    for guid, content in shown.views.items():
        cleaned = bytearray(content)
        if content[4086:4096] == b"SWAPSPACE2":
            end = (struct.unpack_from("<I", content, 1028)[0] + 1) * PAGE
            cleaned[PAGE:end] = bytes(max(0, min(end, len(content)) - PAGE))
        views[guid] = bytes(cleaned)
    return shown._replace(views=views)


def swap_on(pages: int) -> Step:
    return lambda port, path: disks.write(port, path, 0, header(pages))


def swap_off(port: MemoryPort, path: str) -> None:
    disks.write(port, path, 0, b"\1" * PAGE)


def put(cluster: int, seed: int = 1) -> Step:
    return lambda port, path: disks.write(port, path, cluster * CLUSTER, random.Random(seed).randbytes(CLUSTER))


def again(cluster: int) -> Step:
    """The guest writes once more what is there."""

    def step(port: MemoryPort, path: str) -> None:
        content = disks.read(port, path)[cluster * CLUSTER : (cluster + 1) * CLUSTER]
        disks.write(port, path, cluster * CLUSTER, content)

    return step


def take(number: int) -> Step:
    def step(port: MemoryPort, path: str) -> None:
        disks.take(port, path, guid_of(700 + number))

    return step


BASE = line("ABCD.EFGHJK")
SCENES: Dict[str, List[Step]] = {
    "one layer": [swap_on(17)],
    "in all": [swap_on(17), take(1), put(2), take(2), put(3)],
    "only below": [swap_on(17), take(1), swap_off, put(3)],
    "only above": [take(1), swap_on(17), put(2)],
    "equal clusters": [swap_on(17), take(1), again(3), again(5), take(2), swap_off, again(6)],
    "longer above": [swap_on(9), take(1), swap_on(19), put(6)],
}


def prepared(steps: List[Step], plain: bool = False) -> Callable[[MemoryPort, str], None]:
    def prepare(port: MemoryPort, folder: str) -> None:
        path = f"{folder}/{DISK}"
        plant(port, path, line("ABCD0EFGHJK", plain=True) if plain else BASE)
        for step in steps:
            step(port, path)

    return prepare


def compacting(name: str, steps: List[Step], strategy: str, plain: bool = False) -> Operation:
    def run(one: Run) -> None:
        one.change(
            DISK,
            lambda port, state: plan_compact(port, state, scan="filesystem", strategy=strategy, threshold=1, swap=True),
        )

    return Operation(f"{strategy}-{name}", prepared(steps, plain), run, mask=without_pages)


SHORT = ("in_place-in all", "in_place-equal clusters", "in_place-only below", "copy-in all", "punch-equal clusters")
OPERATIONS = [
    operation
    for strategy in (IN_PLACE, COPY, PUNCH)
    for name, steps in SCENES.items()
    for operation in [compacting(name, steps, strategy)]
    if LONG or operation.name in SHORT
]


def explore(operation: Operation, count: Count, *, seed: int = 0) -> None:
    trial = Trial(operation)
    assert trial.before.sight == trial.after.sight
    explorer = Explorer(trial, seed=seed)
    explorer.finished_states()
    explorer.power_failures()
    explorer.kills(20 if LONG else 2)
    if LONG:
        explorer.power_failures_while_recovering(20)
        explorer.errors(range(1, explorer.calls() + 1), "EIO")
    count(explorer)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_compaction_that_is_cut_off_anywhere_loses_nothing(operation: Operation, count: Count) -> None:
    explore(operation, count)


@pytest.mark.parametrize("strategy", [IN_PLACE, COPY, PUNCH])
def test_random_histories_lose_nothing(strategy: str, count: Count) -> None:
    found = 0
    for seed in range(SEEDS):
        chance = random.Random(seed)
        choices = [
            swap_on(chance.randrange(2, 22)),
            swap_off,
            put(chance.randrange(11), seed),
            again(chance.randrange(11)),
        ]
        steps: List[Step] = [swap_on(chance.randrange(2, 22))]
        for number in range(chance.randrange(1, 8)):
            steps += [chance.choice(choices), take(number)] if chance.random() < 0.5 else [chance.choice(choices)]
        try:
            explore(compacting(f"random-{seed}", steps, strategy), count, seed=seed)
            found += 1
        except NothingToDo:
            continue
    assert found > SEEDS // 4


def test_more_is_given_back_than_zeros_and_only_once() -> None:
    operation = compacting("in all", SCENES["in all"], IN_PLACE)
    port = operation.scene()
    state = disks.state_of(port, f"{FOLDER}/{DISK}")
    zeros = plan_compact(port, state, scan="zeros").facts
    found = plan_compact(port, state, scan="filesystem", swap=True).facts
    assert found.reclaimable - zeros.reclaimable >= 7 * CLUSTER
    assert sum(one.reasons.get("free_in_filesystem", 0) for one in found.savings) >= 7 * CLUSTER
    assert plan_compact(port, state, scan="filesystem").facts.reclaimable == zeros.reclaimable

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever cuts an operation off, nothing is lost, and the next run of the same task ends where an undisturbed one
would have ended.

With VDISK_LONG there are more random disks, more tears and more second failures: about a million states.
VDISK_CRASH_SEEDS sets how many random disks.
"""

from __future__ import annotations

import os
from typing import Callable

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import recover
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import OPERATIONS, Operation, random_operation
from ansible_collections.vdisk.parallels.tests.crash.sight import sight_of
from ansible_collections.vdisk.parallels.tests.crash.trial import NothingToDo, Trial

LONG = bool(os.environ.get("VDISK_LONG"))
SEEDS = int(os.environ.get("VDISK_CRASH_SEEDS") or (4000 if LONG else 25))
SEEDS_PER_TEST = 5

Count = Callable[[Explorer], None]


def explore(operation: Operation, count: Count, *, seed: int = 0, parents: int, deaths: int) -> None:
    """All kinds of power failures and kills on one operation."""
    explorer = Explorer(Trial(operation), seed=seed, limit=None if LONG else 500, later=None if LONG else 40)
    explorer.finished_states()
    explorer.power_failures()
    explorer.power_failures_while_recovering(parents)
    explorer.kills(deaths)
    count(explorer)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_that_is_cut_off_anywhere_loses_nothing(operation: Operation, count: Count) -> None:
    explore(operation, count, parents=40 if LONG else 6, deaths=60 if LONG else 4)


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.gone], ids=lambda operation: operation.name)
def test_a_merge_that_is_cut_off_before_it_changes_images_is_taken_back(operation: Operation) -> None:
    """Until the journal says otherwise every snapshot stays, those that were to go, too."""
    trial = Trial(operation)
    renames = [
        number
        for number, effect in enumerate(trial.effects, 1)
        if effect.kind == "rename" and effect.path.endswith("/.vdisk-journal")
    ]
    commit = next(
        number
        for number, effect in enumerate(trial.effects, 1)
        if effect.kind == "rename" and effect.path.endswith("/DiskDescriptor.xml")
    )
    # What is never in a second phase is taken back until it is committed.
    end = renames[1] if len(renames) > 1 else commit
    for state in Explorer(trial).deaths(end):
        recover(state, locate(state, trial.path), allow_outside=True)
        assert sight_of(state, trial.path) == trial.before.sight, f"{operation.name}: {state.origin}"


@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_a_random_operation_on_a_random_disk_that_is_cut_off_anywhere_loses_nothing(first: int, count: Count) -> None:
    for seed in range(first, min(SEEDS, first + SEEDS_PER_TEST)):
        try:
            explore(random_operation(seed), count, seed=seed, parents=10 if LONG else 3, deaths=10 if LONG else 3)
        except NothingToDo:
            continue


def test_random_operations_find_something_to_do() -> None:
    found = 0
    for seed in range(60):
        try:
            Trial(random_operation(seed))
            found += 1
        except NothingToDo:
            continue
    assert found > 40

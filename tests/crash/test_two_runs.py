# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two processes change one disk at the same moment: one wins, the other one is refused or comes later, and nothing
is mixed.
"""

from __future__ import annotations

import itertools
import os
from typing import Any, Iterator, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.crash.operations import (
    DISK,
    OPERATIONS,
    Operation,
    Run,
    same_disk_operations,
)
from ansible_collections.vdisk.parallels.tests.crash.processes import CHANGED, UNCHANGED, fresh_folder, together
from ansible_collections.vdisk.parallels.tests.crash.sight import sight_of
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

ROUNDS = 40 if os.environ.get("VDISK_LONG") else 2
HERE = [operation for operation in OPERATIONS if operation.exchanges and operation.kernel_copies]
REFUSED = {"in_use", "stale_plan"}


@pytest.fixture(autouse=True)
def usual_modes() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: object) -> str:
    return os.path.join(os.path.realpath(str(tmp_path)), "vm")


@pytest.mark.parametrize("operation", HERE, ids=lambda operation: operation.name)
def test_of_two_equal_runs_one_wins(operation: Operation, folder: str) -> None:
    trial = Trial(operation, folder)
    for _round in range(ROUNDS):
        fresh_folder(folder, operation)
        outcomes = together([operation, operation], folder)
        codes = [outcome["code"] for outcome in outcomes]
        assert CHANGED in codes, outcomes
        # Where nothing was there is nothing to lock: who comes second finds that out at the very end.
        refused = REFUSED if operation.disk in trial.before.names else REFUSED | {"exists"}
        # Who removes a disk second may find nothing at its path.
        refused = refused | {"not_found"} if operation.name.startswith("remove") else refused
        assert set(codes) - {CHANGED, UNCHANGED} <= refused, outcomes
        trial.check_finished(OsPort())


@pytest.mark.parametrize(
    "pair", list(itertools.combinations(same_disk_operations(), 2)), ids=lambda pair: f"{pair[0].name}+{pair[1].name}"
)
def test_two_different_runs_are_as_one_after_the_other(pair: List[Operation], folder: str) -> None:
    for _round in range(ROUNDS):
        fresh_folder(folder, pair[0])
        outcomes = together(list(pair), folder)
        done = [operation for operation, outcome in zip(pair, outcomes) if outcome["code"] == CHANGED]
        assert done, outcomes
        assert {outcome["code"] for outcome in outcomes} - {CHANGED, UNCHANGED} <= REFUSED, outcomes
        possible = [in_order(order) for order in itertools.permutations(done)]
        assert sight_of(OsPort(), f"{folder}/{DISK}") in possible, outcomes
        assert not [name for name in os.listdir(folder) + os.listdir(f"{folder}/{DISK}") if ".vdisk-" in name]


def in_order(operations: Any) -> object:
    """What the disk shows when the operations come one after the other."""
    port: MemoryPort = operations[0].scene()
    for operation in operations:
        operation.run(Run(port, "/vm"))
    return sight_of(port, f"/vm/{DISK}")

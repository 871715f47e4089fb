# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between the look of a run and its lock somebody changes the disk, puts a file where a new one should go, or another
run comes and goes: what was planned for another disk is not done.
"""

from __future__ import annotations

from typing import Callable, List, Optional, Set, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import StalePlan
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import CreateFile, Plan
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer, Killed, MortalPort
from ansible_collections.vdisk.parallels.tests.crash.operations import FOLDER, OPERATIONS, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryLock, MemoryPort

REPLACING = ("convert-bundle-replaced", "convert-bundle-moved-aside", "convert-raw-replaced")
CHANGES = [
    operation
    for operation in OPERATIONS
    if operation.inside or operation.name.startswith("remove") or operation.name in REPLACING
]


class Meddled(Run):
    """A run that somebody else comes before, just when it is about to apply its plan."""

    def __init__(self, port: MemoryPort, meddle: Callable[[Plan], None]) -> None:
        super().__init__(port, FOLDER)
        self._meddle = meddle

    def apply(self, plan: Plan) -> None:
        self._meddle(plan)
        super().apply(plan)


def refused(trial: Trial, meddle: Callable[[MemoryPort, Plan], None]) -> None:
    """The run ends with stale_plan and leaves the folder as the other one has left it."""
    port = trial.start()
    left: List[object] = []

    def before(plan: Plan) -> None:
        meddle(port, plan)
        left.append(port.listing())

    with pytest.raises(StalePlan):
        trial.operation.run(Meddled(port, before))
    assert left == [port.listing()]
    assert not port.held


def files_of(port: MemoryPort, path: str) -> Set[str]:
    """The files that say what a disk is."""
    if port.listing()[path] is not None:
        return {path}
    chains = [part.chain for guid in disks.guids_of(port, path) for part in disks.parts_of(port, path, guid)]
    return {f"{path}/DiskDescriptor.xml", *(file for chain in chains for file, _is_plain in chain)}


@pytest.mark.parametrize("operation", CHANGES, ids=lambda operation: operation.name)
def test_a_disk_that_was_changed_meanwhile_is_left_alone(operation: Operation) -> None:
    trial = Trial(operation)
    files = files_of(trial.start(), trial.path)
    if operation.name in REPLACING:
        files |= files_of(trial.start(), f"{FOLDER}/source.hdd")
    for file in sorted(files):

        def meddle(port: MemoryPort, plan: Plan, file: str = file) -> None:
            stream = port.open_write(file)
            stream.pwrite(0, port.content(file)[:16])
            stream.close()

        refused(trial, meddle)


def _created(trial: Trial) -> Optional[str]:
    """The first new image that the operation makes inside of the disk."""
    made: List[str] = []
    run = Meddled(
        trial.start(), lambda plan: made.extend(step.path for step in plan.steps if isinstance(step, CreateFile))
    )
    trial.operation.run(run)
    return made[0] if made else None


@pytest.mark.parametrize(
    "operation",
    [one for one in CHANGES if one.name.startswith(("take", "revert", "merge"))],
    ids=lambda operation: operation.name,
)
def test_a_file_that_appeared_where_a_new_one_should_go_stays(operation: Operation) -> None:
    trial = Trial(operation)
    name = _created(trial)
    if name is None:
        assert operation.name.startswith("merge")
        return
    refused(trial, lambda port, plan: port.plant_file(str(name), b"somebody else's"))


class IntrudedPort(MortalPort):
    """A port on which another run comes and goes just before the first lock is taken."""

    intruder: Optional[Callable[[], None]] = None

    def lock(self, directories: Tuple[str, ...], files: Tuple[str, ...]) -> MemoryLock:
        intruder, self.intruder = self.intruder, None
        if intruder is not None:
            intruder()
        return super().lock(directories, files)


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.inside], ids=lambda operation: operation.name)
def test_an_interrupted_run_that_another_one_ends_meanwhile_is_ended_once(operation: Operation) -> None:
    """Both find the same traces; the second one has planned to clear what by now belongs to the disk."""
    trial = Trial(operation)
    named, others = Explorer(trial).moments()
    for number in named + others[::4]:
        port = trial.adopt(IntrudedPort(trial.start().tree))
        port.dies_at = number
        with pytest.raises(Killed):
            operation.run(Run(port, FOLDER))
        heir = trial.adopt(IntrudedPort(port.tree))
        heir.intruder = lambda heir=heir: operation.run(Run(heir, FOLDER, token="2"))
        try:
            operation.run(Run(heir, FOLDER, token="3"))
        except StalePlan:
            pass
        heir.intruder = None
        trial.check_finished(heir)

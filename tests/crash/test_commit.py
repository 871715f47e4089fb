# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every plan of every operation keeps to its commit: before it only new names and writes that the plan declares hidden,
after it only removals, marks and the journal; and the disk shows the old until the commit and the new from it on.
"""

from __future__ import annotations

from typing import Any, List, Optional, Set

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.naming import JOURNAL
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    Cleanup,
    CopyRanges,
    CreateFile,
    MakeDirectory,
    Plan,
    PunchHoles,
    Remove,
    Rename,
    ReplaceFile,
    Resize,
    Step,
    Sync,
    Transfer,
    WriteBytes,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.tests.crash import (
    test_compact,
    test_convert,
    test_grow_partition,
    test_machine,
    test_resize,
)
from ansible_collections.vdisk.parallels.tests.crash.operations import FOLDER, OPERATIONS, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.sight import sight_of, whole
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial, difference
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP

SECTOR = 512
CHANGES: List[Operation] = [
    *OPERATIONS,
    *test_resize.OPERATIONS,
    *test_compact.OPERATIONS,
    *test_machine.OPERATIONS,
]
BUILT: List[Operation] = [*test_convert.CONVERSIONS]
WRITES = (WriteBytes, CopyRanges, Resize, PunchHoles)


class PartialRun(Run):
    """A run that is over after ``count`` steps of its plan."""

    def __init__(self, port: Any, count: Optional[int]) -> None:
        super().__init__(port, FOLDER)
        self._count = count

    def apply(self, plan: Plan[Any]) -> None:
        if not plan.is_empty:
            self.plans.append(plan)
            execute(self.port, replace(plan, steps=plan.steps[: self._count], cleanup=Cleanup()))


def partial(operation: Operation, count: Optional[int]) -> PartialRun:
    run = PartialRun(operation.scene(), count)
    operation.run(run)
    return run


def plan_of(operation: Operation) -> Plan[Any]:
    (plan,) = partial(operation, 0).plans
    return plan


def stray(plan: Plan[Any]) -> List[str]:
    """The steps that a plan must not have where it has them."""
    new: Set[str] = set()
    found = []
    for number, step in enumerate(plan.steps):
        if number == plan.commit:
            continue
        is_after = plan.commit is not None and number > plan.commit
        if not (_may_follow(plan, step, new) if is_after else _may_precede(plan, step, new)):
            found.append(f"step {number} of {len(plan.steps)}, commit {plan.commit}: {str(step)[:200]}")
    return found


def is_new(path: str, new: Set[str]) -> bool:
    return any(path == one or path.startswith(one + "/") for one in new)


def is_journal(path: str) -> bool:
    return path.rsplit("/", 1)[-1].startswith(JOURNAL)


def _may_precede(plan: Plan[Any], step: Step, new: Set[str]) -> bool:
    if isinstance(step, (CreateFile, MakeDirectory)):
        new.add(step.path)
        return True
    if isinstance(step, ReplaceFile):
        return is_journal(step.path)
    if isinstance(step, WRITES):
        return is_new(step.path, new) or step.path in plan.hidden
    if isinstance(step, Rename):
        # A finished copy takes the name of an image where there is no commit, a piece gets a name that nobody had.
        is_copy = plan.commit is None and step.old in new and step.new in plan.hidden
        return is_copy or (is_new(step.old, new) and step.is_new)
    if isinstance(step, Remove):
        return plan.commit is None and all(is_journal(path) for path in step.paths)
    return isinstance(step, (Sync, Transfer))


def _may_follow(plan: Plan[Any], step: Step, new: Set[str]) -> bool:
    if isinstance(step, Rename):
        # A file that was complete before takes its name.
        return step.old in new and step.new in plan.settled
    return isinstance(step, (Remove, Sync)) or (isinstance(step, (*WRITES, ReplaceFile)) and step.path in plan.settled)


@pytest.mark.parametrize(
    "operation",
    [*CHANGES, *test_resize.FIXES, *test_grow_partition.GROWTHS, *BUILT],
    ids=lambda operation: operation.name,
)
def test_before_the_commit_only_new_or_hidden_writes_and_after_it_only_removals(operation: Operation) -> None:
    plan = plan_of(operation)
    assert not plan.is_empty and stray(plan) == []
    assert (plan.commit is None) == (plan.operation == "compact"), "only compaction has no commit"
    assert (plan.commit_text is None) == (plan.commit is None)


@pytest.mark.parametrize("operation", [*CHANGES, *BUILT], ids=lambda operation: operation.name)
def test_the_disk_shows_the_old_until_the_commit_and_the_new_from_it_on(operation: Operation) -> None:
    trial, plan = Trial(operation), plan_of(operation)
    for count in range(len(plan.steps) + 1):
        port = partial(operation, count).port
        is_committed = plan.commit is not None and count > plan.commit
        expected = trial.after if is_committed else trial.before
        if operation.inside:
            assert expected.sight is not None
            # A merge makes the views of those that go unreliable before they go.
            gone = () if is_committed else operation.gone
            assert difference(sight_of(port, trial.path), expected.sight, gone) is None, f"after {count} steps"
        else:
            assert whole(port, trial.path) == expected.names.get(operation.disk), f"after {count} steps"


@pytest.mark.parametrize("operation", test_resize.FIXES, ids=lambda operation: operation.name)
def test_the_primary_header_of_a_partition_table_changes_with_the_commit(operation: Operation) -> None:
    trial, plan = Trial(operation), plan_of(operation)
    assert trial.before.sight is not None and trial.after.sight is not None and plan.commit is not None
    headers = [sight.views[TOP][SECTOR : 2 * SECTOR] for sight in (trial.before.sight, trial.after.sight)]
    assert headers[0] != headers[1]
    for count in range(len(plan.steps) + 1):
        shown = sight_of(partial(operation, count).port, trial.path).views[TOP]
        assert shown[SECTOR : 2 * SECTOR] == headers[count > plan.commit], f"after {count} steps"


def test_a_plan_that_does_not_keep_to_its_commit_is_found() -> None:
    write = WriteBytes("/a", 0, b"x")
    assert len(stray(Plan("x", (write, Rename("/t", "/a"), write), commit=1))) == 2
    assert len(stray(Plan("x", (write, Rename("/t", "/a"), write), commit=1, hidden=("/a",)))) == 1
    assert stray(Plan("x", (write, Rename("/t", "/a"), write), commit=1, hidden=("/a",), settled=("/a",))) == []
    assert len(stray(Plan("x", (Remove(("/a",), "/"), Rename("/t", "/a")), commit=1))) == 1

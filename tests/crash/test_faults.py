# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The n-th call that the engine makes fails, for every n: the error is one of ours, nothing is lost, nothing is left
over.
"""

from __future__ import annotations

import errno
import os
from typing import Callable, Optional, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import FOLDER, OPERATIONS, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial
from ansible_collections.vdisk.parallels.tests.support.memory_file import MemoryFile, refused
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

LONG = bool(os.environ.get("VDISK_LONG"))

# How a call fails: the error, how many bytes of a write arrive, and whether all later calls fail as well.
FAULTS = {
    "io-error": ("EIO", None, False),
    "no-space": ("ENOSPC", 1000, False),
    "no-rights": ("EACCES", None, False),
    "gone-for-good": ("EIO", 100, True),
}
Fault = Tuple[str, Optional[int], bool]


def failing_run(trial: Trial, number: int, fault: Fault) -> Tuple[MemoryPort, Optional[DiskError]]:
    """The operation with a fault in call ``number``; the error that it ended with, or None when it ended well."""
    errno_name, partial, sticky = fault
    port = trial.start()
    port.fail_call(number, errno_name, partial=partial, sticky=sticky)
    error = None
    try:
        trial.operation.run(Run(port, FOLDER))
    except DiskError as caught:
        error = caught
    is_reached = len(port.calls) >= number
    port.fail_call(0)
    assert not port.held and not any(port.opened.values()), "something is still open or locked"
    assert is_reached or error is None
    return port, error


def judge(trial: Trial, number: int, fault: Fault) -> None:
    """One fault: what it leaves, and that the next run finishes."""
    port, error = failing_run(trial, number, fault)
    what = f"{trial.operation.name}: call {number} ({' '.join(port.calls[number - 1])}) fails with {fault[0]}"
    try:
        trial.check(port)
        if error is None:
            trial.check_finished(port)
            return
        assert error.path is not None and str(error), "the error does not say where"
        if not fault[2]:
            check_taken_back(trial, port, error)
        trial.finish(port)
    except Exception as failure:
        raise AssertionError(f"{what}: {error}\n{type(failure).__name__}: {failure}") from failure


def check_taken_back(trial: Trial, port: MemoryPort, error: DiskError) -> None:
    """When only one call failed, nothing is left over before the commit, and inside a bundle not after it either.

    A merge that can only go forward keeps its journal, and the error says so.
    """
    if trial.is_merging(port):
        assert error.hint is not None and "finishes the merge" in error.hint, f"no word of the merge: {error}"
    elif trial.operation.inside or not trial.is_new(port):
        assert not trial.traces(port), f"left over: {trial.traces(port)}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_call_that_fails_loses_nothing_and_leaves_nothing_behind(operation: Operation) -> None:
    trial = Trial(operation)
    calls = Explorer(trial).calls()
    for number in range(1, calls + 1):
        names = list(FAULTS) if LONG else [list(FAULTS)[number % len(FAULTS)]]
        for name in names:
            judge(trial, number, FAULTS[name])


class ReadOnlyPort(MemoryPort):
    """A port that does not let one file be written."""

    protected = ""

    def open_write(self, path: str) -> MemoryFile:
        if path == self.protected:
            raise refused(errno.EACCES, "open", path)
        return super().open_write(path)


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.inside], ids=lambda operation: operation.name)
def test_a_file_that_may_not_be_written_is_found_before_the_first_step(operation: Operation) -> None:
    trial = Trial(operation)
    for path in [path for path, content in trial.start().listing().items() if content is not None]:
        port = trial.adopt(ReadOnlyPort(trial.start().tree))
        port.protected = path
        try:
            operation.run(Run(port, FOLDER))
        except DiskError as error:
            assert error.path == path and not port.effects, str(error)
            assert not port.held and not any(port.opened.values()), "something is still open or locked"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_power_failure_after_an_error_loses_nothing(operation: Operation, count: Callable[[Explorer], None]) -> None:
    explorer = Explorer(Trial(operation), limit=None if LONG else 40)
    calls = explorer.calls()
    step = 1 if LONG else max(1, calls // 3)
    explorer.errors(range(calls, 0, -step), "EIO")
    count(explorer)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_file_system_that_fills_up_is_told_and_loses_nothing(operation: Operation) -> None:
    trial = Trial(operation)
    needed = 0
    for free in [0, 1, 4096, 8192, 16384, 24576, 40960, 65536, 131072]:
        port = trial.start()
        port.set_free_space(free)
        try:
            trial.operation.run(Run(port, FOLDER))
        except DiskError as error:
            needed = free
            assert error.code == "no_space" and error.hint, str(error)
            trial.check(port)
            check_taken_back(trial, port, error)
        port.set_free_space(None)
        trial.finish(port)
    assert needed or not any(effect.kind == "write" for effect in trial.effects)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Processes at work on the files of the host are killed at random moments; the next run finishes what they began."""

from __future__ import annotations

import os
import random
import time
from typing import Dict, Iterator

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.crash.operations import OPERATIONS, Operation
from ansible_collections.vdisk.parallels.tests.crash.processes import Runner, fresh_folder
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial

SECONDS = float(os.environ.get("VDISK_KILL_SECONDS") or (600 if os.environ.get("VDISK_LONG") else 15))
# A port of the host exchanges names and lets the kernel copy whenever it can.
HERE = [operation for operation in OPERATIONS if operation.exchanges and operation.kernel_copies]


@pytest.fixture(autouse=True)
def usual_modes() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def time_of(operation: Operation, folder: str) -> float:
    """How long an undisturbed run takes, in seconds."""
    fresh_folder(folder, operation)
    started = time.monotonic()
    runner = Runner(operation, folder, "0")
    assert runner.outcome()["code"] == "changed"
    runner.forget()
    return time.monotonic() - started


def test_processes_that_are_killed_lose_nothing(tmp_path: object) -> None:
    seed = os.environ.get("VDISK_SEED", "0")
    chance = random.Random(f"kill {seed}")
    folder = os.path.join(os.path.realpath(str(tmp_path)), "vm")
    trials: Dict[str, Trial] = {}
    lengths: Dict[str, float] = {}
    deaths = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        operation = chance.choice(HERE)
        if operation.name not in trials:
            trials[operation.name] = Trial(operation, folder)
            lengths[operation.name] = time_of(operation, folder)
        fresh_folder(folder, operation)
        runner = Runner(operation, folder, "1")
        delay = chance.random() * lengths[operation.name]
        time.sleep(delay)
        deaths += runner.kill()
        runner.forget()
        try:
            trials[operation.name].check(OsPort(), first_run=True)
            trials[operation.name].finish(OsPort())
        except Exception as error:
            raise AssertionError(
                f"{operation.name}, killed after {delay:.4f} s, seed {seed}, death {deaths}: "
                f"{type(error).__name__}: {error}"
            ) from error
    assert deaths > SECONDS / 2, f"only {deaths} processes were killed at work"

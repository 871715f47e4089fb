# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A file system of the host that is full, or fills up in the middle of a run: the run is refused or taken back, and
the message says what to do.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from typing import Iterator

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError, NoSpace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.crash.operations import OPERATIONS, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.processes import fresh_folder
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial

PAGE = 4096
# What the trials of a small disk need at most, and steps so small that they hit every operation in its middle.
FREE = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 40, 48]
HERE = [operation for operation in OPERATIONS if operation.exchanges and operation.kernel_copies]


@pytest.fixture(name="small", scope="module")
def small_fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A directory on a file system of two MiB."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("a file system of a chosen size needs root on Linux")
    directory = os.path.realpath(str(tmp_path_factory.mktemp("small")))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2M,mode=0755", "none", directory],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    before = os.umask(0o022)
    yield directory
    os.umask(before)
    # Ports of the runs close their handles of folders when they are collected.
    gc.collect()
    subprocess.run(["umount", directory], check=True)


def fill_up(directory: str, free: int) -> str:
    """Leave ``free`` bytes; returns the file that takes the rest."""
    facts = os.statvfs(directory)
    ballast = os.path.join(directory, "ballast")
    with open(ballast, "wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, facts.f_bavail * facts.f_frsize - free)
    return ballast


@pytest.mark.parametrize("foreseen", [True, False], ids=["foreseen", "met"])
@pytest.mark.parametrize("operation", HERE, ids=lambda operation: operation.name)
def test_a_full_file_system_is_told_and_loses_nothing(operation: Operation, foreseen: bool, small: str) -> None:
    folder = os.path.join(small, "vm")
    trial = Trial(operation, folder)
    for pages in FREE:
        fresh_folder(folder, operation)
        ballast = fill_up(small, pages * PAGE)
        port = OsPort()
        if not foreseen:
            # Somebody else takes the room between the look and the writing.
            port.free_space = lambda path: 1 << 40  # type: ignore[method-assign]
        try:
            operation.run(Run(port, folder, token="1"))
            is_done = True
        except DiskError as error:
            is_done = False
            assert isinstance(error, NoSpace) and error.hint and "run again" in error.hint, (
                f"{pages} pages free: {error}"
            )
        trial.check(OsPort())
        left = trial.traces(OsPort())
        os.unlink(ballast)
        # What is committed may lack the names of its snapshots; the next run writes them.
        goes_forward = trial.is_merging(OsPort()) or trial.shows_the_end(OsPort())
        assert is_done or goes_forward or not left, f"{pages} pages free, left over: {left}"
        trial.finish(OsPort())
        if is_done:
            return
    raise AssertionError("the steps do not reach what the operation needs")

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Somebody who owns a disk swaps what lies behind a name while a privileged run is at work, before each of its calls.

Whatever was swapped and whenever: files outside the disk are neither read into it nor written nor given away, and the
run ends well or with an error of ours.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Iterator, Sequence

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.crash.operations import OPERATIONS, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.processes import fresh_folder
from ansible_collections.vdisk.parallels.tests.crash.swapper import KINDS, LINK, STRANGE, Swapper

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names are told by /proc")

LONG = bool(os.environ.get("VDISK_LONG"))
# The operations that are met at every call in a short run, too; the others are met at a few.
WHOLE = ("take-split", "merge-copy", "convert-raw-replaced", "remove-chain")
STRIDE = 1 if LONG else 31


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: object) -> Iterator[str]:
    """A place where syncing costs little, if there is one."""
    fast = "/dev/shm"
    base = tempfile.mkdtemp(dir=fast if os.access(fast, os.W_OK) else str(tmp_path))
    yield os.path.join(os.path.realpath(base), "vm")
    shutil.rmtree(base)


def swapped_run(operation: Operation, folder: str, number: int = 0, kind: str = LINK) -> Swapper:
    """The operation on a fresh scene with one swap; raises AssertionError when something got out or in."""
    shutil.rmtree(os.path.dirname(folder))
    os.mkdir(os.path.dirname(folder))
    fresh_folder(folder, operation)
    swapper = Swapper(folder, number, kind)
    error = None
    with swapper:
        port = OsPort()
        try:
            operation.run(Run(port, folder, allow_outside=False))
        except DiskError as caught:
            error = caught
    port.names.close()
    if swapper.has_swapped:
        try:
            swapper.check()
        except AssertionError as failure:
            what = f"{operation.name}: {kind} before name {number}, {swapper.asked[number - 1]}: {error}"
            raise AssertionError(f"{what}\n{failure}") from failure
    return swapper


def kinds(number: int) -> Sequence[str]:
    """What is put in the place of this name."""
    if LONG:
        return (*KINDS, *STRANGE)
    return KINDS if number % 4 else (*KINDS, STRANGE[number // 4 % len(STRANGE)])


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_what_is_swapped_before_a_call_is_not_followed(operation: Operation, folder: str) -> None:
    asked = len(swapped_run(operation, folder).asked)
    assert asked > 10
    numbers = range(1, asked + 1)
    start = sum(operation.name.encode()) % STRIDE
    chosen = numbers if LONG or operation.name in WHOLE else numbers[start::STRIDE]
    swapped = [swapped_run(operation, folder, number, kind).has_swapped for number in chosen for kind in kinds(number)]
    assert any(swapped) or len(chosen) < 3

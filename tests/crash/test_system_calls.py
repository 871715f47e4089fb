# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The n-th system call of the real port goes wrong, on files of the host: EINTR, EIO, ENOSPC, less done than asked.

``test_faults`` does the same at the port, for every operation; here it is the port that is looked at, so a few
operations are enough: together they make every call that the port knows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from multiprocessing import Event
from typing import Iterator, List, Optional, Set, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._io import copy
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.crash.interposer import CHANGING, IN_C, LOCKING, READING, Interposer
from ansible_collections.vdisk.parallels.tests.crash.operations import OPERATIONS, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.processes import CHANGED, Runner, fresh_folder
from ansible_collections.vdisk.parallels.tests.crash.test_faults import check_taken_back
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial

LONG = bool(os.environ.get("VDISK_LONG"))
CHOSEN = (
    "take-split",
    "revert-parent",
    "merge-middle",
    "merge-top-over-data",
    "merge-copy",
    "merge-plain",
    "merge-holes",
    "delete-fork-v1",
    "delete-branch-topguid",
    "compact-both",
    "compact-above-plain",
    "create-v2-split-preallocated",
    "remove-chain",
    "convert-raw-preallocated",
    "convert-bundle-replaced",
)
HERE = [operation for operation in OPERATIONS if operation.name in CHOSEN]
ERRORS = ("EINTR", "EIO", "ENOSPC")
# What may be done twice. A network file system, or one in a process of its own, may interrupt each of them.
INTERRUPTED = (
    "openat,pread64,preadv,pwrite64,fsync,ftruncate,copy_file_range,ioctl,flock,fcntl,fadvise64,sync_file_range,renameat2,"
    "newfstatat,fallocate,lseek,statfs,getdents64,?unlink,unlinkat,?rmdir,fchmod,fchown,flistxattr,fgetxattr"
)
# Of calls that change nothing on the disk, one in so many fails in a short run; a prime, so that it meets all kinds.
STRIDE = 1 if LONG else 13


@pytest.fixture(autouse=True)
def early_writeback(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scenes are small; their writeback begins early enough to be seen."""
    monkeypatch.setattr(copy, "WRITEBACK_STEP", 8192)


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: object) -> Iterator[str]:
    """A place where syncing costs little, if there is one."""
    before = os.umask(0o022)
    fast = "/dev/shm"
    base = tempfile.mkdtemp(dir=fast if os.access(fast, os.W_OK) else str(tmp_path))
    yield os.path.join(os.path.realpath(base), "vm")
    shutil.rmtree(base)
    os.umask(before)


def interposed_run(operation: Operation, folder: str, interposer: Interposer) -> Optional[DiskError]:
    """The operation on a fresh scene; the error that it ended with, or None when it ended well."""
    fresh_folder(folder, operation)
    opened = _open_files()
    error, port = None, OsPort()
    with interposer:
        try:
            operation.run(Run(port, folder))
        except DiskError as caught:
            error = caught
    port.names.close()
    still = f"a file is still open after {interposer.calls[-3:]}: {error}"
    assert _open_files() == opened, still
    return error


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def judge(trial: Trial, number: int, errno_name: str) -> None:
    """One call that fails: what it leaves, and that the next run finishes."""
    interposer = Interposer(number, errno_name)
    error = interposed_run(trial.operation, trial.folder, interposer)
    what = f"{trial.operation.name}: call {number} ({interposer.calls[number - 1]}) fails with {errno_name}"
    try:
        trial.check(OsPort())
        if error is None:
            trial.check_finished(OsPort())
            return
        assert error.path is not None and str(error), "the error does not say where"
        check_taken_back(trial, OsPort(), error)
        trial.finish(OsPort())
    except Exception as failure:
        raise AssertionError(f"{what}: {error}\n{type(failure).__name__}: {failure}") from failure


def chosen_calls(calls: List[str]) -> Iterator[Tuple[int, Tuple[str, ...]]]:
    """Numbers of the calls that shall fail, and how."""
    for number, name in enumerate(calls, 1):
        if LONG:
            yield number, ERRORS
        elif name in CHANGING or name in IN_C or number % STRIDE == 0:
            yield number, (ERRORS[number % len(ERRORS)],)


@pytest.mark.parametrize("operation", HERE, ids=lambda operation: operation.name)
def test_a_system_call_that_fails_loses_nothing_and_leaves_nothing_behind(operation: Operation, folder: str) -> None:
    trial = Trial(operation, folder)
    undisturbed = Interposer()
    assert interposed_run(operation, folder, undisturbed) is None
    for number, names in chosen_calls(undisturbed.calls):
        for name in names:
            judge(trial, number, name)


@pytest.mark.parametrize("operation", HERE, ids=lambda operation: operation.name)
def test_calls_that_do_less_than_asked_are_repeated(operation: Operation, folder: str) -> None:
    trial = Trial(operation, folder)
    interposer = Interposer(1, short=True)
    assert interposed_run(operation, folder, interposer) is None
    trial.check_finished(OsPort())
    assert "pwrite" in interposer.calls or operation.name.startswith("remove")


@pytest.mark.parametrize("error", ERRORS)
def test_hints_that_the_host_refuses_are_no_errors(error: str, folder: str) -> None:
    operation = next(operation for operation in HERE if operation.name == "merge-middle")
    trial = Trial(operation, folder)
    undisturbed = Interposer()
    interposed_run(operation, folder, undisturbed)
    hints = [number for number, name in enumerate(undisturbed.calls, 1) if name in ("sync_file_range", "posix_fadvise")]
    assert hints
    for number in hints:
        assert interposed_run(operation, folder, Interposer(number, error)) is None
        trial.check_finished(OsPort())


def test_the_chosen_operations_make_every_call_that_this_host_has(folder: str) -> None:
    made: Set[str] = set()
    for operation in HERE:
        interposer = Interposer()
        interposed_run(operation, folder, interposer)
        made.update(interposer.calls)
    # preadv serves where there is one; files are given to their own owner, and advice is only given where writeback
    # cannot be asked for.
    expected = set(READING + CHANGING + LOCKING + IN_C) - {"pread", "fchown", "posix_fadvise"}
    present = {name for name in expected if name in IN_C + LOCKING or hasattr(os, name)}
    assert len(CHOSEN) == len(HERE) and present <= made, present - made


def traced(pid: int, *options: str) -> subprocess.Popen[bytes]:
    """strace at work on a process that is about to begin; skips the test where that is not allowed."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", os.devnull, *options, "-p", str(pid)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while tracer.poll() is None:
        with open(f"/proc/{pid}/status", encoding="utf-8") as stream:
            if not [line for line in stream if line.startswith("TracerPid:") and line.split()[1] == "0"]:
                return tracer
        time.sleep(0.01)
    message = tracer.communicate()[1].decode(errors="replace").strip()
    pytest.skip(f"strace may not look at processes here: {message}")


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: no kernel interrupts calls for the test"
)
@pytest.mark.parametrize("operation", HERE, ids=lambda operation: operation.name)
def test_calls_that_a_signal_interrupts_are_repeated(operation: Operation, folder: str) -> None:
    """One in five of these system calls returns EINTR to the C library, the first one of each kind too."""
    trial = Trial(operation, folder)
    # Loads what is loaded late: an import does not repeat what is interrupted.
    assert interposed_run(operation, folder, Interposer()) is None
    fresh_folder(folder, operation)
    starts = Event()
    runner = Runner(operation, folder, "1", starts)
    tracer = None
    try:
        tracer = traced(
            runner.process.pid, "-e", f"trace={INTERRUPTED}", "-e", f"inject={INTERRUPTED}:error=EINTR:when=1+5"
        )
        starts.set()
        outcome = runner.outcome()
    finally:
        runner.process.kill()
        if tracer is not None:
            tracer.communicate(timeout=60)
    runner.forget()
    assert outcome["code"] == CHANGED, outcome
    trial.check_finished(OsPort())

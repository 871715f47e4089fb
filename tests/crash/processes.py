# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Operations in processes of their own, on the files of the host."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import traceback
from typing import Any, Dict, List

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.crash.operations import FOLDER, Operation, Run
from ansible_collections.vdisk.parallels.tests.crash.scenes import pour

# A fork is there at once; an interpreter that has to start would be the most of what is killed.
_CONTEXT: Any = multiprocessing.get_context("fork")
CHANGED, UNCHANGED = "changed", "unchanged"


def fresh_folder(path: str, operation: Operation) -> str:
    """An empty folder at ``path`` with the scene of ``operation`` in it."""
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path)
    pour(operation.scene(), FOLDER, path)
    return path


class Runner:
    """A process that runs an operation in ``folder`` as soon as ``starts`` says so, and then tells how it went."""

    def __init__(self, operation: Operation, folder: str, token: str, starts: Any = None) -> None:
        self._outcome = f"{folder}.outcome-{token}"
        self.process = _CONTEXT.Process(target=_work, args=(operation, folder, token, starts, self._outcome))
        self.process.start()

    def kill(self) -> bool:
        """SIGKILL; whether the process was still at work."""
        self.process.kill()
        self.process.join()
        return bool(self.process.exitcode == -9) and not os.path.exists(self._outcome)

    def outcome(self) -> Dict[str, Any]:
        """What the process tells: ``code`` (changed, unchanged or an error code) and ``message``."""
        self.process.join(60)
        assert self.process.exitcode == 0, f"the process ended with {self.process.exitcode}"
        with open(self._outcome, encoding="utf-8") as stream:
            return dict(json.load(stream))

    def forget(self) -> None:
        """Remove what the process told."""
        if os.path.exists(self._outcome):
            os.unlink(self._outcome)


def _work(operation: Operation, folder: str, token: str, starts: Any, outcome: str) -> None:
    if starts is not None:
        starts.wait()
    try:
        run = Run(OsPort(), folder, token=token)
        operation.run(run)
        told = {"code": CHANGED if run.changed else UNCHANGED, "message": ""}
    except DiskError as error:
        told = {"code": error.code, "message": str(error)}
    except BaseException:
        told = {"code": "crashed", "message": traceback.format_exc()}
    # No open(): that fails when its fstat is interrupted, as a test may have it.
    descriptor = os.open(outcome, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(descriptor, json.dumps(told).encode())
    # Nothing of the parent's may be flushed or torn down here.
    os._exit(0)


def together(operations: List[Operation], folder: str) -> List[Dict[str, Any]]:
    """Run the operations at the same moment in one folder; how each went."""
    barrier = _CONTEXT.Barrier(len(operations))
    runners = [Runner(operation, folder, str(number), barrier) for number, operation in enumerate(operations)]
    found = [runner.outcome() for runner in runners]
    for runner in runners:
        runner.forget()
    return found

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Doing one thing in a thread while the caller does another of the same length: reading two disks at once, above all."""

from __future__ import annotations

from queue import SimpleQueue
from types import TracebackType
from typing import Callable, Optional, Type

from .worker import Worker

_BEFORE_THREAD = 8


class Aside:
    """Does pairs of tasks at once. The first few pairs, and all where no thread can be started, are done one after the other.

    A context: at its end the thread is gone.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Optional[Callable[[], object]]] = SimpleQueue()
        self._done: SimpleQueue[Optional[BaseException]] = SimpleQueue()
        self._worker = Worker(self._work, "vdisk-aside")
        self._until_thread = _BEFORE_THREAD

    def both(self, mine: Callable[[], object], other: Callable[[], object]) -> None:
        """Return when both are done. Raises what ``mine`` raised, else what ``other`` did."""
        if not self._worker.is_started and not self._start():
            mine()
            other()
            return
        self._tasks.put(other)
        try:
            mine()
        finally:
            failure = self._done.get()
        if failure is not None:
            raise failure

    def _start(self) -> bool:
        """Whether there is a thread from now on. The host is asked once."""
        self._until_thread -= 1
        return self._until_thread == -1 and self._worker.start()

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if task is None:
                return
            failure: Optional[BaseException] = None
            try:
                task()
            except BaseException as error:  # pylint: disable=broad-exception-caught
                failure = error
            self._done.put(failure)

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self._tasks.put(None)
        self._worker.join()

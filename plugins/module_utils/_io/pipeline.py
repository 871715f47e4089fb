# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work for several threads whose results are wanted in order: compression, above all."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, Deque, Generic, Iterator, Optional, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

_MOST_WORKERS = 8
_DEPTH_PER_WORKER = 4


def worker_count() -> int:
    """How many threads are worth starting here."""
    return max(1, min(_MOST_WORKERS, os.cpu_count() or 1))


class OrderedPool(Generic[Task, Result]):
    """Applies ``function`` to tasks in threads and gives the results back in the order of the tasks.

    No more than a few tasks a thread are pending, so memory stays bounded. An exception of ``function`` is raised where
    its result would have come. ``function`` gains only when it releases the interpreter, as zlib and hashlib do.
    """

    def __init__(self, function: Callable[[Task], Result], *, workers: Optional[int] = None) -> None:
        self._function = function
        count = workers or worker_count()
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="vdisk")
        self._most = count * _DEPTH_PER_WORKER
        self._pending: Deque[Future[Result]] = deque()

    def put(self, task: Task) -> Iterator[Result]:
        """Hand over a task; yields the results that must or can be taken now.

        Iterate to the end before the next call.
        """
        # At once, not when somebody begins to iterate: a task must not be lost.
        self._pending.append(self._executor.submit(self._function, task))
        return self._ready()

    def _ready(self) -> Iterator[Result]:
        while len(self._pending) > self._most or (self._pending and self._pending[0].done()):
            yield self._pending.popleft().result()

    def drain(self) -> Iterator[Result]:
        """The results of all that is pending."""
        while self._pending:
            yield self._pending.popleft().result()

    def close(self) -> None:
        """End the threads; what is pending is forgotten."""
        for future in self._pending:
            future.cancel()
        self._pending.clear()
        self._executor.shutdown(wait=True)

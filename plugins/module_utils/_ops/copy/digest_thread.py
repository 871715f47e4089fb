# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A digest that another thread computes while the next data is read and written; hashlib releases the interpreter."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from queue import SimpleQueue
from types import TracebackType
from typing import Callable, List, Optional, Sequence, Tuple, Type

from ..._guest.digests import ContentDigest
from ..._io.worker import Worker

Part = Tuple[int, int]


class DigestThread:
    """Takes parts of windows into ``digest``, in the order of the calls, and then gives each window to ``release``.

    Without a digest, or where no thread can be started, it does so at once. A context: at its end everything is
    digested, or forgotten when an exception ends it.
    """

    def __init__(self, digest: Optional[ContentDigest], release: Callable[[memoryview], None]) -> None:
        self._digest = digest
        self._release = release
        self._tasks: SimpleQueue[Optional[Tuple[int, memoryview, Sequence[Part]]]] = SimpleQueue()
        self._worker = Worker(self._work, "vdisk-digest")
        self._stopped = False
        self._failures: List[BaseException] = []

    def add(self, offset: int, window: memoryview, parts: Sequence[Part]) -> None:
        """Take in those ``parts`` (start, end) of ``window``, which lies at guest ``offset``.

        The window is not the caller's any more.
        """
        if self._digest is None or not parts:
            self._release(window)
        elif not self._worker.is_started and not self._worker.start():
            _take_in(self._digest, offset, window, parts)
            self._release(window)
        else:
            self._tasks.put((offset, window, parts))

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if task is None:
                return
            offset, window, parts = task
            try:
                if self._digest is not None and not self._stopped and not self._failures:
                    _take_in(self._digest, offset, window, parts)
            except BaseException as failure:  # pylint: disable=broad-exception-caught
                self._failures.append(failure)
            self._release(window)

    def __enter__(self) -> DigestThread:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._stopped = kind is not None
        self._tasks.put(None)
        self._worker.join()
        if self._failures and kind is None:
            raise self._failures[0]


def _take_in(digest: ContentDigest, offset: int, window: memoryview, parts: Sequence[Part]) -> None:
    for start, end in parts:
        digest.add(offset + start, window[start:end])

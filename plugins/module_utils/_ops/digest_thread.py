# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""A digest that another thread computes while the next data is read and written; hashlib lets the interpreter go meanwhile."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import List, Optional, Tuple, Type

from .._io.buffers import new_buffer
from .digests import ContentDigest

_DEPTH = 4


class DigestThread:
    """Lends buffers and takes their content into ``digest``, in the order of the calls. Without a digest it lends one buffer and has no thread.

    A context: at its end everything is digested, or forgotten when an exception ends it.
    """

    def __init__(self, digest: Optional[ContentDigest], length: int) -> None:
        self._digest = digest
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._tasks: SimpleQueue[Optional[Tuple[int, int, memoryview]]] = SimpleQueue()
        self._thread: Optional[Thread] = None
        self._stopped = False
        self._failures: List[BaseException] = []
        self.buffer = new_buffer(length)
        if digest is not None:
            for _number in range(_DEPTH - 1):
                self._free.put(new_buffer(length))

    def add(self, offset: int, length: int) -> None:
        """Take in the first ``length`` bytes of ``buffer``, which is another one afterwards."""
        if self._digest is None:
            return
        if self._thread is None and not self._start():
            self._digest.add(offset, self.buffer[:length])
            return
        self._tasks.put((offset, length, self.buffer))
        self.buffer = self._free.get()

    def _start(self) -> bool:
        """Whether there is a thread; the host may allow no more of them."""
        thread = Thread(target=self._work, name="vdisk-digest", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if task is None:
                return
            offset, length, buffer = task
            try:
                if self._digest is not None and not self._stopped and not self._failures:
                    self._digest.add(offset, buffer[:length])
            except BaseException as failure:  # pylint: disable=broad-exception-caught
                self._failures.append(failure)
            self._free.put(buffer)

    def __enter__(self) -> DigestThread:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self._stopped = kind is not None
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()
        if self._failures and kind is None:
            raise self._failures[0]

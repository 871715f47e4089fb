# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A thread that may be refused by the host, and that its owner can always wait for."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from threading import Thread
from typing import Callable, Optional


class Worker:
    """Does ``work`` in a thread called ``name``.

    The owner makes ``work`` end, by its own means, before it waits in ``join``.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._name = name
        self._thread: Optional[Thread] = None

    @property
    def is_started(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    def start(self) -> bool:
        """Whether there is a thread from now on; the host may allow no more of them."""
        # Known before it runs, so that ``join`` finds it whatever a signal interrupts.
        self._thread = Thread(target=self._work, name=self._name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None
        return self.is_started

    def join(self) -> None:
        """Wait for the end of the thread, if there is one."""
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()

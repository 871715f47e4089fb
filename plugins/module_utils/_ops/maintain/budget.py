# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The time and the amount of data that a run may take. A limit prevents new steps and never stops a running one."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import time
from typing import Callable, Optional


class Budget:
    """What is left of a run's time in seconds and of the bytes that it may write; None is no limit."""

    def __init__(
        self, seconds: Optional[int], most_bytes: Optional[int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._clock = clock
        self._begun = clock()
        self.written = 0

    def spend(self, count: int) -> None:
        """``count`` bytes were written, or would be."""
        self.written += count

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._begun

    @property
    def exhausted(self) -> Optional[str]:
        """Why no new step may begin, as a sentence; None while one may."""
        if self._seconds is not None and self.elapsed >= self._seconds:
            return f"The {self._seconds} seconds of this run (max_duration) are used up."
        if self._most_bytes is not None and self.written >= self._most_bytes:
            return f"The {self._most_bytes} bytes that this run may write (max_bytes) are used up."
        return None

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first place at which two guest disks differ, looked for by two threads that take turns in the disk."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from itertools import islice
from threading import Lock
from typing import Iterator, List, Optional, Tuple, Union

from .._formats.image import GuestView
from .._io.buffers import is_equal, new_buffer
from .._io.copy import WINDOW
from .._io.worker import Worker

_TURN = 16

Slice = Tuple[int, int]


class Search:
    """Compares ``slices`` (offset, length of at most WINDOW bytes), ascending, of two views that threads may share.

    A turn is some slices, so that the threads hardly wait for each other. A short disk is compared without a second
    one.
    """

    def __init__(self, one: GuestView, other: GuestView, slices: Iterator[Slice]) -> None:
        self._one = one
        self._other = other
        self._slices = slices
        self._reached = 0
        self._stopped = False
        # Where the search ends, as far as is known, and what was found there.
        self._outcome: Optional[Tuple[int, Union[int, BaseException]]] = None
        self._lock = Lock()
        self._worker = Worker(self._take_turns, "vdisk-compare")

    def run(self) -> Optional[int]:
        """The guest offset of the first byte that differs, None without one.

        Raises what reading raised where nothing before it differs.
        """
        buffers = new_buffer(WINDOW), new_buffer(WINDOW)
        try:
            if self._turn(buffers):
                self._worker.start()
                while self._turn(buffers):
                    pass
        finally:
            self._stopped = True
            self._worker.join()
        found = self._outcome[1] if self._outcome is not None else None
        if isinstance(found, BaseException):
            raise found
        return found

    def _take_turns(self) -> None:
        buffers = new_buffer(WINDOW), new_buffer(WINDOW)
        while self._turn(buffers):
            pass

    def _turn(self, buffers: Tuple[memoryview, memoryview]) -> bool:
        """Whether there may be another one.

        All turns before one that was taken are taken, too, and each is done to its end or its first difference.
        """
        for start, length in self._next():
            left, right = buffers[0][:length], buffers[1][:length]
            try:
                self._one.pread_into(start, left)
                self._other.pread_into(start, right)
                if not is_equal(buffers[0], right):
                    self._end(start, start + _first_different(left, right))
                    return False
            except BaseException as failure:  # pylint: disable=broad-exception-caught
                self._end(start, failure)
                return False
        return not self._stopped and self._outcome is None and self._reached >= 0

    def _next(self) -> List[Slice]:
        """The slices of the next turn; none when there are no more, or when the end of the search is known."""
        turn: List[Slice] = []
        with self._lock:
            if self._stopped or self._reached < 0 or self._outcome is not None:
                return turn
            try:
                for start, length in islice(self._slices, _TURN):
                    turn.append((start, length))
                    self._reached = start + length
            except BaseException as failure:  # pylint: disable=broad-exception-caught
                self._note(self._reached, failure)
            if len(turn) < _TURN:
                self._reached = -1
        return turn

    def _end(self, position: int, found: Union[int, BaseException]) -> None:
        with self._lock:
            self._note(position, found)

    def _note(self, position: int, found: Union[int, BaseException]) -> None:
        """The first in the disk counts; what is no error, such as an interruption, counts before all."""
        if isinstance(found, BaseException) and not isinstance(found, Exception):
            position = -1
        if self._outcome is None or position < self._outcome[0]:
            self._outcome = position, found


def _first_different(left: memoryview, right: memoryview) -> int:
    """The first place at which two pieces differ that do."""
    low, high = 0, len(left)
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low

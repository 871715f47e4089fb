# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reading a guest disk window by window, by a thread that is some windows ahead of who uses them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from queue import SimpleQueue
from types import TracebackType
from typing import Iterable, Iterator, Optional, Tuple, Type, Union

from .._core.ranges import joined
from .._formats.image import GuestView
from .._io.buffers import new_buffer
from .._io.copy import WINDOW
from .._io.worker import Worker

_BUFFERS = 6
_BEFORE_THREAD = 8

Slice = Tuple[int, int]
Window = Tuple[int, memoryview]


class Windows:
    """Yields ``(offset, content)`` for ``slices`` (offset, length) of ``view``, ascending, joined up to WINDOW bytes.

    Each window goes back with ``release``, from any thread. The view is one that threads may share; a short disk is
    read without a thread. A context: at its end the thread is gone.
    """

    def __init__(self, view: GuestView, slices: Iterable[Slice]) -> None:
        self._view = view
        self._ranges = joined(((offset, offset + length) for offset, length in slices), WINDOW)
        self._until_thread = _BEFORE_THREAD
        self._free: SimpleQueue[memoryview] = SimpleQueue()
        self._made = 0
        self._ready: SimpleQueue[Union[Window, BaseException, None]] = SimpleQueue()
        self._worker = Worker(self._work, "vdisk-read")
        self._stopped = False

    def release(self, window: memoryview) -> None:
        """The content of this window is not needed any more."""
        self._free.put(memoryview(window.obj)[-WINDOW:])

    def __iter__(self) -> Iterator[Window]:
        for offset, end in self._ranges:
            window = self._buffer()[: end - offset]
            self._view.pread_into(offset, window)
            yield offset, window
            if self._start():
                break
        if self._worker.is_started:
            yield from self._from_thread()

    def _buffer(self) -> memoryview:
        if self._made < _BUFFERS and self._free.empty():
            self._made += 1
            return new_buffer(WINDOW)
        return self._free.get()

    def _start(self) -> bool:
        """Whether there is a thread from now on. The host is asked once."""
        self._until_thread -= 1
        return self._until_thread == 0 and self._worker.start()

    def _work(self) -> None:
        try:
            for offset, end in self._ranges:
                buffer = self._buffer()
                if self._stopped:
                    return
                window = buffer[: end - offset]
                self._view.pread_into(offset, window)
                self._ready.put((offset, window))
            self._ready.put(None)
        except BaseException as failure:  # pylint: disable=broad-exception-caught
            self._ready.put(failure)

    def _from_thread(self) -> Iterator[Window]:
        while True:
            found = self._ready.get()
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found

    def __enter__(self) -> Windows:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._stopped = True
        # It may wait for a buffer.
        self._free.put(memoryview(b""))
        self._worker.join()

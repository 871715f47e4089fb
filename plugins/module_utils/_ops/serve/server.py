# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The server: takes clients, gives each a thread, and ends when it is told to or when nobody comes any more."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import sys
import time
from threading import Lock
from typing import Callable, Optional

from ..._core.records import dataclass
from ..._io.net.streams import Gone, Listener, Stalled, Stream
from ..._io.worker import Worker
from .negotiation import Export
from .protocol import Malformed
from .replies import Source
from .session import serve_client

_MOST_LINES = 20_000


@dataclass(frozen=True)
class Limits:
    """``idle_seconds`` without a client end the server, 0 never; ``clients`` may be connected at once."""

    idle_seconds: int
    clients: int


class Log:
    """Lines with a time, on the error output. After twenty thousand there are no more."""

    def __init__(self) -> None:
        self._left = _MOST_LINES

    def __call__(self, text: str) -> None:
        """Write one line."""
        if self._left > 0:
            self._left -= 1
            line = text if self._left else "the log is full"
            try:
                sys.stderr.write(time.strftime("%Y-%m-%d %H:%M:%S ") + line + "\n")
                sys.stderr.flush()
            except OSError:
                # A full file system is no reason to end.
                pass


class Server:
    """Serves one disk at one listener."""

    def __init__(self, listener: Listener, export: Export, source: Source, limits: Limits) -> None:
        self._listener = listener
        self._export = export
        self._source = source
        self._limits = limits
        self._log = Log()
        self._lock = Lock()
        self._clients = 0
        self._served = 0
        self._idle_since = time.monotonic()

    def run(self, is_stopping: Callable[[], bool]) -> str:
        """Serve until the end; returns its reason. Clients that are connected then are cut off by the end of the
        process.
        """
        self._log(f"serving {self._export.description}")
        while not is_stopping():
            stream = self._listener.accept(self._patience())
            if stream is not None:
                self._welcome(stream)
            elif self._is_idle():
                reason = f"no client for {self._limits.idle_seconds} s"
                self._log(reason)
                return reason
        self._log("told to end")
        return "told to end"

    def _patience(self) -> Optional[float]:
        """How long to wait for the next client; a second while some are here, as nobody tells when they leave."""
        if not self._limits.idle_seconds:
            return None
        with self._lock:
            left = self._idle_since + self._limits.idle_seconds - time.monotonic()
            return 1.0 if self._clients else max(0.0, left) + 0.01

    def _is_idle(self) -> bool:
        with self._lock:
            quiet = time.monotonic() - self._idle_since
            return not self._clients and 0 < self._limits.idle_seconds <= quiet

    def _welcome(self, stream: Stream) -> None:
        with self._lock:
            is_full = self._clients >= self._limits.clients
            if not is_full:
                self._clients += 1
                self._served += 1
        if is_full:
            self._log(f"a client was turned away: there are {self._limits.clients}")
            stream.close()
            return
        number = self._served
        if not Worker(lambda: self._attend(stream, number), f"client-{number}").start():
            self._log("a client was turned away: the host gives no thread for it")
            self._farewell(stream)

    def _attend(self, stream: Stream, number: int) -> None:
        """The life of a client. An error of our own ends its thread, and is in the log."""
        ended = "an error"
        try:
            self._log(f"client {number} came")
            serve_client(stream, self._export, self._source)
            ended = "left"
        except Gone as error:
            ended = f"is gone {error}".rstrip()
        except Stalled:
            ended = "was cut off: it stalled"
        except Malformed as error:
            ended = f"was cut off: {error}"
        finally:
            self._farewell(stream)
            self._log(f"client {number} {ended}")

    def _farewell(self, stream: Stream) -> None:
        stream.close()
        with self._lock:
            self._clients -= 1
            self._idle_since = time.monotonic()

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How far a run is, in a small file beside the job file of Ansible, for the controller; only in a run that is asked."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
import posixpath
import time
from typing import Callable, Dict, Optional

from .._core.errors import DiskError
from .._io.port import Port
from .._io.process import expand_home, process_id, setting, use_umask

UMASK = "VDISK_PROGRESS_UMASK"

LOOKING = "looking"
WRITING = "writing"
FINISHING = "finishing"

_INTERVAL = 0.5
"""Seconds between two writes of the file."""


class Progress:
    """The phase of a run, the bytes done in it, and the file that says so. It is the ``on_progress`` of the executor.

    The file is replaced by a rename, so that a reader never sees half of it. It is not synced: it means nothing after a
    crash. When it cannot be written, the run goes on without it.
    """

    def __init__(self, port: Port, path: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._port = port
        self._path: Optional[str] = path
        self._clock = clock
        self._phase = LOOKING
        self._done = 0
        self._total = 0
        self._subject: Dict[str, object] = {}
        self._since = self._written = clock()
        self._write()

    def subject(self, path: str, number: int, count: int) -> None:
        """The disk at ``path``, the one after ``number`` of ``count``, has its turn."""
        self._subject = {"disk": path, "number": number, "count": count}
        self._phase, self._done, self._total = LOOKING, 0, 0
        self._since = self._clock()
        if self._since - self._written >= _INTERVAL:
            self._write()

    def phase(self, name: str) -> None:
        """A new part of the run begins."""
        self._phase, self._done, self._total = name, 0, 0
        self._since = self._clock()
        self._write()

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` bytes are done in this phase."""
        # After the last byte there is still a sync, and what is written is read back.
        if done >= total > 0 and self._phase == WRITING:
            self.phase(FINISHING)
            return
        self._done, self._total = done, total
        if self._clock() - self._written >= _INTERVAL:
            self._write()

    def close(self) -> None:
        """The run is over: the file goes."""
        path, self._path = self._path, None
        if path is not None:
            self._remove(path)

    def _write(self) -> None:
        if self._path is None:
            return
        self._written = self._clock()
        temporary = f"{self._path}.new"
        try:
            self._port.remove(temporary)
            file = self._port.create(temporary, 0o600)
            try:
                file.pwrite(0, self._content())
            finally:
                file.close()
            self._port.rename(temporary, self._path)
        except DiskError:
            self.close()
            self._remove(temporary)

    def _content(self) -> bytes:
        seconds = round(self._written - self._since, 3)
        counts = {"phase": self._phase, "done": self._done, "total": self._total, "seconds": seconds}
        return json.dumps({"pid": process_id(), **counts, **self._subject}).encode()

    def _remove(self, path: str) -> None:
        try:
            self._port.remove(path)
        except DiskError:
            pass


def start_progress(port: Port, path: str) -> Progress:
    """Begin to say in the file ``path`` how far this run is, as the controller asks for through the environment."""
    mask = setting(UMASK)
    if mask is not None:
        # Ansible's async wrapper sets its own, and new files must be like those of a plain run.
        use_umask(int(mask, 8) & 0o777)
    directory, base = posixpath.split(expand_home(path))
    return Progress(port, posixpath.join(port.real_path(directory), base))

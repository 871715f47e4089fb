# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A port that syncs nothing, for new outputs that a power failure may take: they are thrown away or uploaded at once.

What was there before is never replaced through it: without a sync the host may have the new name before the new bytes,
and neither of the two after a power failure.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Optional

from .port import File, Port


def unsynced(port: Port) -> Port:
    """``port``, but that no file and no directory that is written through it is synced or written back early."""
    found: Any = _Unsynced(port)
    return found


class _Unsynced:
    def __init__(self, port: Port) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def open_write(self, path: str) -> File:
        return _lazy(self._port.open_write(path))

    def create(self, path: str, mode: int = 0o666) -> File:
        return _lazy(self._port.create(path, mode))

    def clone(self, source: File, path: str, mode: int = 0o666) -> Optional[File]:
        file = self._port.clone(source, path, mode)
        return None if file is None else _lazy(file)

    def sync_directory(self, path: str) -> None:
        del path


def _lazy(file: Any) -> File:
    # The same object, so that the host still shares and copies between its own files.
    file.sync = _nothing
    file.start_writeback = _nothing
    found: File = file
    return found


def _nothing(*unused: int) -> None:
    """What was asked for is not done."""

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A few files in memory, read-only, for millions of trials: what readers ask of a port, and a budget for all of it.

The work that is counted is the same on every machine: calls of the port and bytes that were asked for. Whoever asks for
more than the budget allows fails the trial.
"""

from __future__ import annotations

import posixpath
from typing import Any, Dict, Iterator, List, Mapping, Optional, Set, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import NotFound
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import DIRECTORY, FILE, Stat


class FlatFile:
    """An open file of a FlatPort."""

    def __init__(self, port: FlatPort, path: str, content: bytes) -> None:
        self.path = path
        self._port = port
        self._content = content

    def size(self) -> int:
        return len(self._content)

    def pread_into(self, offset: int, buffer: Any) -> int:
        self._port.spend(len(buffer))
        part = self._content[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        self._port.spend(0)
        end = min(end, len(self._content))
        return iter(((start, end),) if start < end else ())

    def will_need(self, offset: int, length: int) -> None:
        pass

    def close(self) -> None:
        self._port.opened.pop(id(self), None)


class FlatPort:
    """``files`` by their absolute paths. ``calls`` and ``asked`` (bytes) are what was spent so far."""

    def __init__(self, files: Mapping[str, bytes], *, most_calls: int, most_bytes: int) -> None:
        self.files = files
        self.opened: Dict[int, FlatFile] = {}
        self.seen: Set[str] = set()
        self.calls = 0
        self.asked = 0
        self._most_calls = most_calls
        self._most_bytes = most_bytes

    def spend(self, length: int) -> None:
        """Count one call that asks for so many bytes."""
        self.calls += 1
        self.asked += length
        assert self.calls <= self._most_calls, f"more than {self._most_calls} calls"
        assert self.asked <= self._most_bytes, f"more than {self._most_bytes} bytes"

    def open_read(self, path: str) -> FlatFile:
        self.spend(0)
        if path not in self.files:
            raise NotFound("There is no such file", path=path)
        self.seen.add(path)
        file = FlatFile(self, path, self.files[path])
        self.opened[id(file)] = file
        return file

    def stat(self, path: str) -> Optional[Stat]:
        self.spend(0)
        content = self.files.get(path)
        if content is not None:
            inode = 2 + list(self.files).index(path)
            return Stat(FILE, len(content), len(content), 1, inode, 0, 0o644, 0, 0)
        below = path.rstrip("/") + "/"
        is_folder = any(name.startswith(below) for name in self.files)
        return Stat(DIRECTORY, 0, 0, 1, 1, 0, 0o755, 0, 0) if is_folder else None

    lstat = stat

    def real_path(self, path: str) -> str:
        self.spend(0)
        return posixpath.normpath(path)

    def list_directory(self, path: str) -> List[str]:
        self.spend(0)
        below = path.rstrip("/") + "/"
        return sorted({name[len(below) :].split("/")[0] for name in self.files if name.startswith(below)})

    def forget(self, _path: str) -> None:
        pass

    def writers(self, _path: str) -> Tuple[Any, ...]:
        return ()

    def holders(self, _paths: Any) -> Tuple[Any, ...]:
        return ()

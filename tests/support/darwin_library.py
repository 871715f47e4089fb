# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Functions of macOS's C library, for hosts that have none of them."""

from __future__ import annotations

import ctypes
import os
from typing import Any, List, Tuple


class DarwinLibrary:
    """Stands in for ``kernel._library``: clones whole files by copying them, on a volume whose file system is called
    ``name``.

    ``refusal`` is the errno that the next clones end with, 0 for none; ``cloned`` lists the arguments of those that
    were made.
    """

    def __init__(self, name: bytes = b"apfs") -> None:
        self.name = name
        self.refusal = 0
        self.cloned: List[Tuple[int, int, bytes, int]] = []

    def fclonefileat(self, source: int, directory: int, path: bytes, flags: int) -> int:
        """What ``fclonefileat`` does: a new file with the content, the mode and the times of its source."""
        if self.refusal:
            ctypes.set_errno(self.refusal)
            return -1
        self.cloned.append((source, directory, path, flags))
        facts = os.fstat(source)
        assert flags & 1, "a link to nothing would be followed"
        try:
            target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
        except OSError as error:
            ctypes.set_errno(error.errno or 0)
            return -1
        try:
            os.ftruncate(target, facts.st_size)
            for offset in range(0, facts.st_size, 1 << 20):
                content = os.pread(source, 1 << 20, offset)
                if content.strip(b"\0"):
                    os.pwrite(target, content, offset)
            os.chmod(target, facts.st_mode & 0o777)
            os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        finally:
            os.close(target)
        return 0

    def __getattr__(self, name: str) -> Any:
        if name != "statfs$INODE64":
            raise AttributeError(name)
        return self._statfs

    def _statfs(self, path: bytes, answer: Any) -> int:
        if not os.path.exists(path):
            ctypes.set_errno(2)
            return -1
        answer[72 : 72 + len(self.name) + 1] = self.name + b"\0"
        return 0

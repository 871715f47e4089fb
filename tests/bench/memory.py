# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Free memory that is there when a measured command wants it.

A virtual machine gives what is free back to its host within a second or two (balloon with page reporting), and whoever
writes next gets it again slower than a disk writes. So a process of its own holds the memory of outputs that were
removed, and while a command runs it lets go of a little more than the command has taken. Both sides of a comparison
meet the same.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Optional

_STEP = 1 << 26
_AHEAD = 6 * _STEP


class Memory:
    """Holds up to ``size`` bytes. A context; without it, or where no memory is given back, nothing is held."""

    def __init__(self, size: int) -> None:
        self._size = size // _STEP * _STEP
        self._held = 0
        self._process: Optional[subprocess.Popen[bytes]] = None

    def remove(self, path: str) -> None:
        """Remove a file or a folder, if it is there, and hold its memory: piece by piece, before the host takes it."""
        if os.path.isdir(path):
            for name in os.listdir(path):
                self.remove(os.path.join(path, name))
            os.rmdir(path)
        elif os.path.lexists(path):
            if self._process is not None:
                for left in range(os.path.getsize(path) // _STEP * _STEP, 0, -_STEP):
                    before = _free()
                    os.truncate(path, left)
                    self._take(min(_free() - before, _STEP))
            os.remove(path)

    def fill(self) -> None:
        """Hold all of it."""
        self._take(self._size - self._held)

    def give(self) -> None:
        """From now on let go of a little more than others take."""
        self._say("give")

    def keep(self) -> None:
        """Hold the rest."""
        self._held = self._say("keep")

    def _take(self, more: int) -> None:
        if more > 0 and self._process is not None:
            self._held = self._say(f"take {min(self._size, self._held + more)}")

    def _say(self, word: str) -> int:
        if self._process is None:
            return self._size
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{word}\n".encode())
        answer = self._process.stdout.readline()
        if not answer:
            raise MemoryError(
                "the process that holds memory for the measurements has ended: choose a smaller --allocated"
            )
        return int(answer)

    def __enter__(self) -> Memory:
        if os.path.isdir("/sys/bus/virtio/drivers/virtio_balloon"):
            command = (sys.executable, __file__, str(self._size))
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        return self

    def __exit__(self, *unused: object) -> None:
        if self._process is not None:
            self._process.communicate()


def _free() -> int:
    """Bytes of free memory (MemFree of /proc/meminfo)."""
    return int(Path("/proc/meminfo").read_text(encoding="ascii").split()[4]) * 1024


def _hold(size: int) -> None:
    """The process that holds: its words come by standard input, the answers are the bytes it holds."""
    import mmap

    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE)
    memory.madvise(mmap.MADV_HUGEPAGE)
    held = 0
    for line in iter(sys.stdin.buffer.readline, b""):
        word, *rest = line.split()
        if word == b"take":
            for start in range(held, int(rest[0]), 4096):
                memory[start] = 1
            held = max(held, int(rest[0]))
        elif word == b"give":
            print(held, flush=True)
            floor = _free() + _AHEAD
            while not select.select([0], [], [], 0.004)[0]:
                while held and _free() < floor:
                    held = max(0, (held - 1) // _STEP * _STEP)
                    memory.madvise(mmap.MADV_DONTNEED, held, _STEP)
            continue
        print(held, flush=True)


if __name__ == "__main__":
    _hold(int(sys.argv[1]))

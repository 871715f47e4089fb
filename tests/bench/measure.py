# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running commands side by side: wall time, CPU time and peak memory of each, interleaved, medians and ratios."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

from ansible_collections.vdisk.parallels.tests.bench.memory import Memory


class Absent(Exception):
    """A comparison lacks what it needs on this machine; the text says what."""


class Different(Exception):
    """Both sides finished, but did not do the same."""


class Command(NamedTuple):
    """One side of a comparison.

    ``prepare`` is not measured; ``syncs`` are files that the measured time syncs after the command.
    """

    arguments: Sequence[str]
    prepare: Callable[[], None]
    syncs: Sequence[str] = ()
    environment: Optional[Dict[str, str]] = None


class Run(NamedTuple):
    """One measurement: seconds, seconds of CPU, bytes of memory at most."""

    wall: float
    cpu: float
    peak: int


def measure(command: Command, memory: Memory) -> Run:
    """Run once. Raises CalledProcessError with what the command said."""
    os.sync()
    command.prepare()
    memory.fill()
    os.sync()
    memory.give()
    try:
        return _timed(command)
    finally:
        memory.keep()


def _timed(command: Command) -> Run:
    started = time.monotonic()
    process = subprocess.Popen(
        command.arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=command.environment
    )
    said = process.stderr.read() if process.stderr is not None else b""
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for path in command.syncs if not process.returncode else ():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    wall = time.monotonic() - started
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command.arguments, stderr=said)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(wall, usage.ru_utime + usage.ru_stime, peak)


class Result(NamedTuple):
    """What came out: medians of both sides, the median and the spread of the ratios of the wall times."""

    ours: Run
    theirs: Run
    ratio: float
    lowest: float
    highest: float


def side_by_side(ours: Command, theirs: Command, *, rounds: int, memory: Memory, seconds: float = math.inf) -> Result:
    """Measure both in turn, the first of them changing from round to round.

    No further round begins after ``seconds``: with preparations, since those count for who waits.
    """
    runs: List[List[Run]] = [[], []]
    started = time.monotonic()
    for number in range(rounds):
        if number and time.monotonic() - started > seconds:
            break
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            runs[side].append(measure((ours, theirs)[side], memory))
    ratios = [one.wall / other.wall for one, other in zip(*runs)]
    return Result(_median(runs[0]), _median(runs[1]), statistics.median(ratios), min(ratios), max(ratios))


def _median(runs: Sequence[Run]) -> Run:
    return Run(*(statistics.median(values) for values in zip(*runs)))  # type: ignore[arg-type]


def forget(*paths: str) -> Callable[[], None]:
    """Drops files from the cache of the kernel. Raises Absent where that cannot be asked."""
    if not hasattr(os, "posix_fadvise"):
        raise Absent("needs posix_fadvise")

    def drop() -> None:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    return drop

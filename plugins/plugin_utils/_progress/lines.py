# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the progress file of a run to lines that people read. Knows nothing of connections."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

WRITING = "writing"
FINISHING = "finishing"
PHASES = ("looking", WRITING, FINISHING)

_QUIET_START = 2.0
"""Seconds: a run that is shorter says nothing."""
_SHORTEST_PAUSE = 1.0
_LONGEST_PAUSE = 10.0
_STEP = 10
"""Percent."""
_LARGEST = 1 << 63


@dataclass(frozen=True)
class State:
    """What the file says: the process, the part of the run, bytes done and in all, seconds since that part began.

    In a run over several disks also which one it is, and how many are done of how many.
    """

    pid: int
    phase: str
    done: int
    total: int
    seconds: float
    disk: str = ""
    number: int = 0
    count: int = 0

    @property
    def percent(self) -> Optional[int]:
        """How much of the phase is done, None when nobody knows."""
        return min(100, 100 * self.done // self.total) if self.total else None


def parse_state(text: str) -> Optional[State]:
    """The state in the text of a progress file; None for anything else, because the node may send what it likes."""
    try:
        content = json.loads(text)
        numbers = [content[key] for key in ("pid", "done", "total", "seconds")]
        phase = content["phase"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if phase not in PHASES or not all(_is_number(number) for number in numbers):
        return None
    pid, done, total, seconds = numbers
    return State(int(pid), phase, int(done), int(total), float(seconds), *_subject(content)) if pid >= 1 else None


def _subject(content: Dict[str, Any]) -> Tuple[str, int, int]:
    disk, number, count = (content.get(key) for key in ("disk", "number", "count"))
    if not isinstance(disk, str) or not _is_number(number) or not _is_number(count):
        return "", 0, 0
    return disk, int(number or 0), int(count or 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _LARGEST


class Lines:
    """Decides when there is something to say: at each 10 percent, at each new part of the run, and after 10 seconds
    of silence.
    """

    def __init__(self, host: str, module: str, path: str) -> None:
        self._head = _printable(f"progress: [{host}] {module} {path}: ")
        self._last = 0.0
        self._told = False
        self._phase = PHASES[0]
        self._step = 0

    def line(self, state: Optional[State], elapsed: float) -> Optional[str]:
        """The line to show ``elapsed`` seconds after the start, if there is one."""
        if state is None or elapsed < _QUIET_START or elapsed - self._last < _SHORTEST_PAUSE:
            return None
        step = (state.percent or 0) // _STEP
        is_news = not self._told or state.phase != self._phase or step != self._step
        if not is_news and elapsed - self._last < _LONGEST_PAUSE:
            return None
        self._last, self._told, self._phase, self._step = elapsed, True, state.phase, step
        if state.count:
            return self._head + f"disk {state.number + 1} of {state.count}, {_printable(state.disk)}: {describe(state)}"
        return self._head + describe(state)


def describe(state: State) -> str:
    """The state in words: what is done, percent, amounts, rate and time left, as far as they are known."""
    if state.phase == FINISHING:
        return f"100 %, finishing, for {duration(state.seconds)}"
    if state.phase != WRITING and not state.total:
        return f"looking at the disk, for {duration(state.seconds)}"
    if state.percent is None or not state.done or not state.seconds:
        return f"{state.percent or 0} %, {state.phase}, for {duration(state.seconds)}"
    rate = state.done / state.seconds
    left = max(0, state.total - state.done) / rate
    return (
        f"{state.percent} %, {state.phase} {size(state.done)} of {size(state.total)}, {size(rate)}/s, "
        f"{duration(left)} left"
    )


def size(count: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds as people read them; the rounding is upwards, so that what is left is never 0 s."""
    whole = min(int(seconds) + 1, 1_000_000_000)
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _printable(text: str) -> str:
    """No line breaks and no control of terminals in what others have named."""
    return "".join(character if character.isprintable() else "?" for character in text)

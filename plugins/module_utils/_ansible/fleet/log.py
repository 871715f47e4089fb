# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of maintenance writes down while it goes on, if it is to."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Container, Optional, Sequence

from ..._ops.maintain.outcome import CHANGED
from ..run import Result

if TYPE_CHECKING:
    from ..._ops.maintain.record import Record


class Log:
    """The record of a run, or nothing in its place."""

    def __init__(self, record: Optional[Record] = None) -> None:
        self._record = record

    @property
    def reached(self) -> Container[str]:
        """The disks that an earlier run has been at, while it has not been at others."""
        return () if self._record is None else self._record.past.reached

    @property
    def earlier(self) -> Optional[Result]:
        """A run that was cut off, as the result shows it."""
        earlier = None if self._record is None else self._record.past.earlier
        return None if earlier is None else earlier._asdict()

    def turn(self, path: str) -> None:
        """A disk has its turn."""
        if self._record is not None:
            self._record.turn(path)

    def done(self, entry: Result) -> None:
        """The turn is over. What was changed is on the medium, and so is that."""
        if self._record is not None:
            self._record.done(entry, durably=entry["outcome"] == CHANGED)

    def end(self, unfinished: Sequence[str]) -> None:
        """All disks had their turn."""
        if self._record is not None:
            self._record.end(unfinished)

    def close(self) -> None:
        """Let the record go."""
        if self._record is not None:
            self._record.close()

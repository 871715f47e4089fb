# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables that were read and found sound a moment ago: the next look at the same files does without reading them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import time
from typing import Callable, Dict, Optional, Tuple

from ..._io.fingerprint import identity
from ..._io.port import Stat
from .bat import RunTable
from .header import HdsHeader

# File systems count time in steps of up to two seconds: after the next write, a newer file may look the same.
_SETTLED_SECONDS = 2


class KnownTables:
    """The sound tables of files that have not been written for a while, each under the identity that its file had
    before it was read. A file that has changed since then has another one.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._tables: Dict[object, Tuple[HdsHeader, RunTable]] = {}

    def add(self, stat: Stat, header: HdsHeader, table: RunTable) -> None:
        """Keep a table whose file was as ``stat`` says before it was read, unless it was written only just now."""
        if self._clock() - stat.mtime_ns / 1e9 >= _SETTLED_SECONDS:
            self._tables[identity(stat)] = header, table

    def find(self, stat: Stat, header: HdsHeader) -> Optional[RunTable]:
        """The table of the file that is as ``stat`` says, if it was kept, and was read by the same header."""
        kept = self._tables.get(identity(stat))
        return kept[1] if kept is not None and kept[0] == header else None

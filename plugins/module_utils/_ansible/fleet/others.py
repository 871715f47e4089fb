# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks of one run: who stands on whom among them, as it is now and not as it was when the run began."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterable, List

from ..._bundle.neighbours import Standing
from ..._core.errors import DiskError
from ..._io.real import OsPort


class Others:
    """Disks in whatever folders; ``standing`` is what was last seen of them, ``unsearched`` what could not be."""

    def __init__(self, disks: Iterable[str] = ()) -> None:
        self.meet(disks)

    def meet(self, disks: Iterable[str]) -> None:
        """The run is for these disks."""
        self._disks = tuple(disks)
        self.unsearched: List[str] = []
        self.standing = self.look()

    def look(self) -> Standing:
        """Who stands on whom, looked at anew."""
        # By a port of its own: what a change of this run has replaced meanwhile is no stranger's.
        standing = Standing(OsPort())
        for disk in self._disks:
            try:
                standing.look_at(disk)
            except DiskError as error:
                text = f"{disk} could not be searched for what it stands on: {error.statement}"
                self.unsearched += [text] if text not in self.unsearched else []
        self.standing = standing
        return standing

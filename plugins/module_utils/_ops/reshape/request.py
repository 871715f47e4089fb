# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task asks of a disk that exists: its size, its shape, its name."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional

from ..._core.records import dataclass

REFUSE, TOP_ONLY, MERGE = "refuse", "top_only", "merge"
KEEP, FIX, GROW = "keep", "fix", "grow"
UPDATE = "update"


@dataclass(frozen=True)
class ReshapeRequest:
    """What a task asks of a disk that exists; None is what it leaves alone.

    ``size`` is rounded up, ``exact`` is not. ``grow_partition`` names the one that GROW is about. ``machine`` is
    UPDATE, KEEP or None: UPDATE where the configuration names the disk.
    """

    size: Optional[int]
    exact: Optional[int]
    kind: Optional[str]
    cluster: Optional[int]
    version: Optional[int]
    split: Optional[int]
    name: Optional[str]
    reserve: bool
    shrink: bool
    snapshots: str
    partition_table: str
    force: bool
    grow_partition: Optional[str] = None
    machine: Optional[str] = None

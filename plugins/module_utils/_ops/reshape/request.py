# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task asks of a disk that exists: its size, its shape, its name."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from typing import Optional

from ..._core.records import dataclass

REFUSE, TOP_ONLY, MERGE = "refuse", "top_only", "merge"
KEEP, FIX = "keep", "fix"


@dataclass(frozen=True)
class ReshapeRequest:
    """What a task asks of a disk that exists; None is what it leaves alone.

    ``size`` is rounded up, ``exact`` is not.
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

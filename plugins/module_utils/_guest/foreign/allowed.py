# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the user allows beyond the one file that is named as a source."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Tuple

from ..._core.records import dataclass


@dataclass(frozen=True)
class Reach:
    """What the user allows besides: ``folders`` (absolute) in which images below may be, the ``format`` of one that an
    overlay does not record, and to join the pieces of a plain image that was cut by size.
    """

    folders: Tuple[str, ...] = ()
    format: Optional[str] = None
    joins: bool = False


NEARBY = Reach()
"""Nothing besides."""

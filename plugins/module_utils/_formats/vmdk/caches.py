# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the extents of an open VMDK keep in memory, together: tables, a grain, and the room for directories."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from array import array

from ..._core.errors import Unsupported
from ..cache import Cache
from .layout import MOST_EXTENTS, MOST_TABLES


class Caches:
    """Shared by all extents of a disk: tables up to 4 MiB, the last inflated grain, the room for directories."""

    def __init__(self) -> None:
        self.tables: Cache[array[int]] = Cache(256)
        self.grain: Cache[bytes] = Cache(1)
        self._tables_left = MOST_TABLES + MOST_EXTENTS

    def reserve(self, tables: int, path: str) -> None:
        """Take the room for a directory, before it is read. Raises Unsupported when a disk has too many tables."""
        self._tables_left -= tables
        if self._tables_left < 0:
            raise Unsupported(
                "The disk has too many grain tables",
                path,
                expected=f"up to {MOST_TABLES}",
                found=f"{-self._tables_left} more",
            )

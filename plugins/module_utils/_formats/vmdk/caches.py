# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the extents of an open VMDK keep in memory, together: tables, a grain, and the room for directories."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from typing import Generic, Hashable, Optional, TypeVar

from ..._core.errors import Unsupported
from .layout import MOST_EXTENTS, MOST_TABLES

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """The values that were used last, for several threads. Two of them may make the same value at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Optional[Value]:
        """The value that was put under ``key``, if it is still there."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep a value, and forget the one that was used longest ago."""
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._most:
                self._values.popitem(last=False)


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
                path=path,
                expected=f"up to {MOST_TABLES}",
                found=f"{-self._tables_left} more",
            )

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where bytes of a guest disk lie in a file."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .._io.port import File


class Place(NamedTuple):
    """``length`` guest bytes from ``start`` on that lie in ``file`` as they are, from byte ``offset`` on."""

    start: int
    length: int
    file: File
    offset: int

    @property
    def end(self) -> int:
        """The guest offset just after them."""
        return self.start + self.length

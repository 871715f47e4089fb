# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The smallest file system there is: a swap area, its first page and pages that are worth nothing."""

from __future__ import annotations

import struct

PAGE = 4096


def header(pages: int) -> bytes:
    """The first page of a swap area with so many pages."""
    raw = bytearray(PAGE)
    struct.pack_into("<III", raw, 1024, 1, pages - 1, 0)
    raw[4086:4096] = b"SWAPSPACE2"
    return bytes(raw)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A disk in memory that keeps only the blocks that were written, so it may be as large as any."""

from __future__ import annotations

from typing import Any, Dict


class BlockDisk:
    """``size`` bytes, zero where nothing was written. Counts the bytes that are read."""

    def __init__(self, size: int, block: int = 4096) -> None:
        self.size = size
        self.block = block
        self.bytes_read = 0
        self._blocks: Dict[int, bytearray] = {}

    def pread_into(self, offset: int, buffer: Any) -> None:
        """Fill ``buffer`` from ``offset``, as guest views do."""
        buffer[:] = self.get(offset, len(buffer))
        self.bytes_read += len(buffer)

    def get(self, offset: int, length: int) -> bytes:
        """What lies at ``offset``."""
        assert offset >= 0 and offset + length <= self.size
        found = bytearray(length)
        for number in range(offset // self.block, -(-(offset + length) // self.block)):
            held = self._blocks.get(number)
            if held is None:
                continue
            low = max(offset, number * self.block)
            high = min(offset + length, (number + 1) * self.block)
            found[low - offset : high - offset] = held[low - number * self.block : high - number * self.block]
        return bytes(found)

    def put(self, offset: int, content: bytes) -> None:
        """Write ``content`` at ``offset``."""
        assert offset >= 0 and offset + len(content) <= self.size
        done = 0
        while done < len(content):
            number, within = divmod(offset + done, self.block)
            part = content[done : done + self.block - within]
            self._blocks.setdefault(number, bytearray(self.block))[within : within + len(part)] = part
            done += len(part)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A guest disk in memory, as the readers of partition tables and file systems see it."""

from __future__ import annotations

from typing import Iterator, Union

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, Extent


class GuestDisk:
    """Bytes that behave as a guest view; a read outside of them is a fault of the reader."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> None:
        assert offset >= 0 and offset + len(buffer) <= self.size, f"{offset} + {len(buffer)} of {self.size}"
        buffer[:] = self.content[offset : offset + len(buffer)]

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        return iter([Extent(start, length, DATA)])

    def close(self) -> None:
        pass

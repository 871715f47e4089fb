# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

"""Putting data into an image by sharing the blocks of the source, on file systems that can (XFS, Btrfs): nothing is written twice.

What the output looks like does not depend on it: the same ranges are stored in the same places, by another call.
"""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from .._io.buffers import new_buffer
from .._io.copy import WINDOW, copy_bytes
from .._io.port import File

_BLOCK = 4096
_LONGEST = 256 << 20

Place = Tuple[int, int, File, int]


class BlockSharing:
    """Stores ranges of ``view`` through ``writer`` as long as the host shares blocks. Neighbours go in one call, so ``flush`` ends the last one."""

    def __init__(self, view: Any, writer: Any) -> None:
        self._view = view
        self._writer = writer
        self._works = hasattr(view, "sources") and hasattr(writer, "place")
        self._proven = False
        # What is to be shared next: source, its offset, target, its offset, length.
        self._pending: Optional[Tuple[File, int, File, int, int]] = None

    def put(self, offset: int, window: memoryview) -> bool:
        """Store ``window``, the view's bytes from guest ``offset`` on; False, with nothing done, when the caller has to."""
        if not self._works:
            return False
        length = len(window)
        sources = tuple(self._view.sources(offset, length)) if offset % _BLOCK == 0 and length % _BLOCK == 0 else ()
        if sum(source[1] for source in sources) != length or any(at % _BLOCK or count % _BLOCK for _guest, count, _file, at in sources):
            return False
        for source, source_offset, target, target_offset, count in _pairs(sources, self._writer.place(offset, length)):
            part = window[:count]
            window = window[count:]
            if not self._works or any(number % _BLOCK for number in (source_offset, target_offset, count)):
                target.pwrite(target_offset, part)
            else:
                self._add(source, source_offset, target, target_offset, count)
        return True

    def _add(self, source: File, source_offset: int, target: File, target_offset: int, length: int) -> None:
        if self._pending is not None:
            file, at, other, there, count = self._pending
            if (file, at + count, other, there + count) == (source, source_offset, target, target_offset) and count < _LONGEST:
                self._pending = (file, at, other, there, count + length)
                return
            self.flush()
        self._pending = (source, source_offset, target, target_offset, length)
        if not self._proven:
            # The first range tells whether the host can do it at all.
            self.flush()
            self._proven = True

    def flush(self) -> None:
        """Share what is pending, or copy it where the host refuses."""
        if self._pending is None:
            return
        source, source_offset, target, target_offset, length = self._pending
        self._pending = None
        if not target.share_from(source, source_offset, target_offset, length):
            self._works = False
            copy_bytes(source, source_offset, target, target_offset, length, buffer=new_buffer(WINDOW))


def _pairs(sources: Tuple[Place, ...], places: Tuple[Place, ...]) -> List[Tuple[File, int, File, int, int]]:
    """Both cut at each other's borders; they cover the same guest range."""
    found = []
    index = 0
    for guest, length, file, offset in sources:
        done = 0
        while done < length:
            start, size, target, target_offset = places[index]
            count = min(length - done, start + size - guest - done)
            found.append((file, offset + done, target, target_offset + guest + done - start, count))
            done += count
            if guest + done == start + size:
                index += 1
    return found

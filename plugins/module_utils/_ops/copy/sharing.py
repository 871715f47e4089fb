# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting data into an image by sharing the blocks of the source, on file systems that can (XFS, Btrfs): nothing is
written twice.
"""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

from array import array
from bisect import bisect_right
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from ..._core.errors import Damaged
from ..._core.extents import DATA
from ..._io.buffers import new_buffer
from ..._io.copy import WINDOW
from ..._io.port import File
from ..._io.sparse import data_parts

BLOCK = 4096
LONGEST = 256 << 20

Place = Tuple[int, int, File, int]


class SharedRanges:
    """Which ranges of new files have the blocks of which ranges of others; each file is filled in ascending order."""

    def __init__(self) -> None:
        # By the paths of source and target: where ranges begin in the target, where in the source, how long they are.
        self._ranges: Dict[Tuple[str, str], Tuple[array[int], array[int], array[int]]] = {}

    def add(self, source: File, source_offset: int, target: File, offset: int, length: int) -> None:
        """The host has let the target have these blocks."""
        columns = self._ranges.setdefault((source.path, target.path), (array("Q"), array("Q"), array("Q")))
        for column, value in zip(columns, (offset, source_offset, length)):
            column.append(value)

    def held(self, source: File, source_offset: int, target: File, offset: int, length: int) -> int:
        """How much of the range of the target, from its start on, has the blocks of that range of the source."""
        columns = self._ranges.get((source.path, target.path))
        if columns is None:
            return 0
        offsets, sources, lengths = columns
        position, end, shift = offset, offset + length, source_offset - offset
        while position < end:
            index = bisect_right(offsets, position) - 1
            if index < 0 or sources[index] - offsets[index] != shift or position >= offsets[index] + lengths[index]:
                break
            position = min(end, offsets[index] + lengths[index])
        return position - offset

    def resolved(self, real_path: Callable[[str], str]) -> SharedRanges:
        """The same with the targets called as those know them who look them up."""
        found = SharedRanges()
        found._ranges = {(source, real_path(target)): columns for (source, target), columns in self._ranges.items()}
        return found


class BlockSharing:
    """Stores ranges of ``view`` through ``writer`` as long as the host shares blocks.

    Neighbours go in one call, so ``flush`` ends the last one.

    What the host has shared is added to ``shared``; ``bytes_read`` counts what had to be copied after all.
    """

    def __init__(self, view: Any, writer: Any, shared: Optional[SharedRanges] = None) -> None:
        self.bytes_read = 0
        self._shared = shared
        self._view = view
        self._writer = writer
        self._buffer: Optional[memoryview] = None
        self._works = hasattr(view, "sources") and hasattr(writer, "place")
        self._proven = False
        # What is to be shared next: source, its offset, target, its offset, length.
        self._pending: Optional[Tuple[File, int, File, int, int]] = None

    def put(self, offset: int, window: memoryview) -> bool:
        """Store ``window``, the view's bytes from guest ``offset`` on; False, with nothing done, when the caller has
        to.
        """
        if not self._works:
            return False
        length = len(window)
        sources = tuple(self._view.sources(offset, length)) if offset % BLOCK == 0 and length % BLOCK == 0 else ()
        if sum(source[1] for source in sources) != length or any(
            at % BLOCK or count % BLOCK for _guest, count, _file, at in sources
        ):
            return False
        for _guest, count, source, source_offset, target, target_offset in common(
            iter(sources), iter(self._writer.place(offset, length))
        ):
            part = window[:count]
            window = window[count:]
            if not self._works or any(number % BLOCK for number in (source_offset, target_offset, count)):
                target.pwrite(target_offset, part)
            else:
                self._add(source, source_offset, target, target_offset, count)
        return True

    def put_range_unread(self, offset: int, length: int) -> int:
        """Store all data of a guest range, its holes left out.

        Returns how many bytes that were; 0, with nothing done, when it must be read.

        That is when some of it lies nowhere as it is, or not on whole blocks.
        """
        places = tuple(self._view.sources(offset, length)) if self._works else ()
        data = (
            sum(extent.length for extent in self._view.extents(offset, length) if extent.kind == DATA) if places else 0
        )
        if sum(place[1] for place in places) != data or any(
            number % BLOCK for guest, count, _file, at in places for number in (guest, count, at)
        ):
            return 0
        for guest, count, file, at in places:
            self.put_unread(guest, count, file, at)
        return data

    def put_unread(self, guest: int, length: int, source: File, source_offset: int) -> None:
        """Store ``length`` bytes of guest ``guest``, which lie in ``source`` as they are.

        All three are multiples of BLOCK.
        """
        place = (guest, length, source, source_offset)
        for _guest, count, _source, start, target, target_offset in common(
            iter((place,)), iter(self._writer.place(guest, length))
        ):
            if self._works and not any(number % BLOCK for number in (start, target_offset, count)):
                self._add(source, start, target, target_offset, count)
            else:
                self._copy(source, start, target, target_offset, count)

    def _copy(self, source: File, source_offset: int, target: File, offset: int, length: int) -> None:
        """Read and write a range, without its zeros: in a new file there are none to hide."""
        if self._buffer is None:
            self._buffer = new_buffer(WINDOW)
        for done in range(0, length, WINDOW):
            window = self._buffer[: length - done]
            got = source.pread_into(source_offset + done, window)
            if got < len(window):
                raise Damaged(
                    f"{source.path} ends too early",
                    path=source.path,
                    offset=source_offset + done + got,
                    expected=f"{len(window) - got} more bytes",
                )
            self.bytes_read += got
            for start, end in data_parts(window, got):
                target.pwrite(offset + done + start, window[start:end])

    def _add(self, source: File, source_offset: int, target: File, target_offset: int, length: int) -> None:
        if self._pending is not None:
            file, at, other, there, count = self._pending
            if (file, at + count, other, there + count) == (
                source,
                source_offset,
                target,
                target_offset,
            ) and count + length <= LONGEST:
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
        if target.share_from(source, source_offset, target_offset, length):
            if self._shared is not None:
                self._shared.add(source, source_offset, target, target_offset, length)
        else:
            self._works = False
            self._copy(source, source_offset, target, target_offset, length)


def common(one: Iterator[Place], other: Iterator[Place]) -> Iterator[Tuple[int, int, File, int, File, int]]:
    """The guest ranges that both have, ascending: ``(guest offset, length, file and offset of one, file and offset
    of the other)``.
    """
    left, right = next(one, None), next(other, None)
    while left is not None and right is not None:
        start, end = max(left[0], right[0]), min(left[0] + left[1], right[0] + right[1])
        if start < end:
            yield start, end - start, left[2], left[3] + start - left[0], right[2], right[3] + start - right[0]
        # Whichever ends first can have nothing more in common.
        if left[0] + left[1] == end:
            left = next(one, None)
        else:
            right = next(other, None)

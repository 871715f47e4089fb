# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting data into an image by sharing the blocks of the source, on file systems that can (XFS, Btrfs): nothing is
written twice.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Tuple

from ..._core.errors import Damaged
from ..._core.extents import DATA
from ..._formats.image import GuestView, Place
from ..._guest.places import BLOCK, LONGEST, SharedRanges, common
from ..._io.buffers import new_buffer
from ..._io.copy import WINDOW
from ..._io.port import File
from ..._io.sparse import data_parts
from .parts_writer import PartsWriter


class BlockSharing:
    """Stores ranges of ``view`` through ``writer`` as long as the host shares blocks.

    Neighbours go in one call, so ``flush`` ends the last one.

    What the host has shared is added to ``shared``; ``bytes_read`` counts what had to be copied after all.
    """

    def __init__(self, view: GuestView, writer: PartsWriter, shared: Optional[SharedRanges] = None) -> None:
        self.bytes_read = 0
        self._shared = shared
        self._view = view
        self._writer = writer
        self._buffer: Optional[memoryview] = None
        self._works = True
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
        places = tuple(self._view.places(offset, length)) if offset % BLOCK == 0 and length % BLOCK == 0 else ()
        if sum(place.length for place in places) != length or any(
            place.offset % BLOCK or place.length % BLOCK for place in places
        ):
            return False
        for _guest, count, source, source_offset, target, target_offset in common(
            places, self._writer.places(offset, length)
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

        That is when some of it has no place, or not on whole blocks.
        """
        places = tuple(self._view.places(offset, length)) if self._works else ()
        data = (
            sum(extent.length for extent in self._view.extents(offset, length) if extent.kind == DATA) if places else 0
        )
        if sum(place.length for place in places) != data or any(
            number % BLOCK for place in places for number in (place.start, place.length, place.offset)
        ):
            return 0
        for place in places:
            self.put_unread(place)
        return data

    def put_unread(self, place: Place) -> None:
        """Store the guest bytes of ``place``, whose three numbers are multiples of BLOCK."""
        targets = self._writer.places(place.start, place.length)
        for _guest, count, source, start, target, target_offset in common((place,), targets):
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
            # The first range shows whether the host can do it at all.
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

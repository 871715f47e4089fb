# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Putting data into an image by sharing the blocks of the source, on file systems that can (XFS, Btrfs), or by the copy
that the server of a network file system makes.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import NamedTuple, Optional

from ..._core.errors import Damaged
from ..._core.extents import DATA
from ..._formats.image import GuestView, Place
from ..._guest.places import BLOCK, LONGEST, SharedRanges, common
from ..._io.buffers import new_buffer
from ..._io.copy import WINDOW, WRITEBACK_STEP
from ..._io.port import File
from ..._io.sparse import data_parts
from .parts_writer import PartsWriter


class _Part(NamedTuple):
    """A range of one file, and where it goes in another."""

    source: File
    source_offset: int
    target: File
    offset: int
    length: int

    def joined(self, other: _Part, longest: int) -> Optional[_Part]:
        """Both as one, when the other follows in both files and they are no longer than ``longest``."""
        length = self.length + other.length
        following = (self.source, self.source_offset + self.length, self.target, self.offset + self.length)
        return self._replace(length=length) if other[:4] == following and length <= longest else None


class BlockSharing:
    """Stores ranges of ``view`` through ``writer`` as long as the host shares blocks, or a server copies them.

    Neighbours go in one call, so ``flush`` ends the last one. What the host has shared is added to ``shared``;
    ``bytes_read`` counts what had to be copied after all.
    """

    def __init__(self, view: GuestView, writer: PartsWriter, shared: Optional[SharedRanges] = None) -> None:
        self.bytes_read = 0
        self._shared = shared
        self.view = view
        self._writer = writer
        self._buffer: Optional[memoryview] = None
        self._works = True
        self._proven = False
        # What the host does in a moment.
        self._longest = LONGEST
        # What is to be shared next.
        self._pending: Optional[_Part] = None

    def write(self, offset: int, window: memoryview) -> None:
        """Store ``window``, the view's bytes from guest ``offset`` on, shared or written."""
        if not self.put(offset, window):
            self._writer.write(offset, window)

    def put(self, offset: int, window: memoryview) -> bool:
        """Share ``window``, the view's bytes from guest ``offset`` on; False, with nothing done, when it cannot be."""
        length = len(window)
        is_whole = self._works and offset % BLOCK == 0 and length % BLOCK == 0
        places = tuple(self.view.places(offset, length)) if is_whole else ()
        misfits = any(place.offset % BLOCK or place.length % BLOCK for place in places)
        if not self._works or misfits or sum(place.length for place in places) != length:
            return False
        for _guest, count, source, start, target, at in common(places, self._writer.places(offset, length)):
            if self._can_share(start, at, count):
                self._add(_Part(source, start, target, at, count))
            else:
                target.pwrite(at, window[:count])
            window = window[count:]
        return True

    def _can_share(self, *numbers: int) -> bool:
        return self._works and not any(number % BLOCK for number in numbers)

    def put_range_unread(self, offset: int, length: int) -> int:
        """Store all data of a guest range, its holes left out, and return how many bytes that were.

        0, with nothing done, when it must be read: some of it has no place, or not on whole blocks.
        """
        places = tuple(self.view.places(offset, length)) if self._works else ()
        if not all(self._can_share(place.start, place.length, place.offset) for place in places):
            return 0
        extents = self.view.extents(offset, length) if places else ()
        data = sum(extent.length for extent in extents if extent.kind == DATA)
        if sum(place.length for place in places) != data:
            return 0
        for place in places:
            self.put_unread(place)
        return data

    def put_unread(self, place: Place) -> None:
        """Store the guest bytes of ``place``, whose three numbers are multiples of BLOCK."""
        targets = self._writer.places(place.start, place.length)
        for _guest, count, source, start, target, at in common((place,), targets):
            part = _Part(source, start, target, at, count)
            if self._can_share(start, at, count):
                self._add(part)
            else:
                self._copy(part)

    def _copy(self, part: _Part) -> None:
        """Read and write a range, without its zeros: in a new file there are none to hide."""
        source, source_offset, target, offset, length = part
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

    def _add(self, part: _Part) -> None:
        joined = self._pending.joined(part, self._longest) if self._pending is not None else None
        if joined is not None:
            self._pending = joined
            return
        self.flush()
        self._pending = part
        if not self._proven:
            # The first range shows whether the host can do it at all.
            self.flush()
            self._proven = True

    def flush(self) -> None:
        """Share what is pending, or copy it where the host refuses."""
        part, self._pending = self._pending, None
        if part is None:
            return
        source, source_offset, target, offset, length = part
        if target.share_from(source, source_offset, offset, length):
            if self._shared is not None:
                self._shared.add(*part)
        elif target.copy_on_server(source, source_offset, offset, length):
            # A copy takes its time, and what is pending is not stored yet.
            self._longest = WRITEBACK_STEP
        else:
            self._works = False
            self._copy(part)

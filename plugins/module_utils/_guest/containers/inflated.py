# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gzip file read at any place: inflated from the nearest of a few points that were noted in a first pass.

::

    packed     |=====|=====|=====|        each point keeps the state of the inflater (about 40 KiB);
    inflated   |---------|--------->      reading on needs no point, going back starts at the last one before
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import threading
import zlib
from bisect import bisect_right
from typing import Any, Iterator, List, Optional, Tuple, Union

from ..._formats.damage import DamagedSource
from ..._formats.mapping import ByteSource

MOST_POINTS = 128
_FIRST_STEP = 4 << 20
_READ = 64 << 10
_GZIP = 31
_MAGIC = b"\x1f\x8b"


class _Stream:
    """Inflating from one place on; ``position`` counts inflated bytes."""

    def __init__(self, file: ByteSource) -> None:
        self.position = 0
        self._file = file
        self._offset = 0
        self._pending = b""
        self._inflater: Any = zlib.decompressobj(_GZIP)
        self._ended = False

    def copy(self, file: ByteSource) -> _Stream:
        """The same state, to go on from again in ``file``."""
        other = _Stream(file)
        other.position, other._offset, other._pending = self.position, self._offset, self._pending
        other._inflater, other._ended = self._inflater.copy(), self._ended
        return other

    def read(self, most: int) -> bytes:
        """Up to ``most`` more bytes, none at the end. Raises Damaged."""
        while not self._ended:
            if not self._pending:
                self._pending = self._more()
            try:
                content: bytes = self._inflater.decompress(self._pending, most)
            except zlib.error as error:
                raise self._damaged("The compressed file cannot be inflated", str(error)) from error
            if self._inflater.eof:
                self._next_member(self._inflater.unused_data)
            else:
                self._pending = self._inflater.unconsumed_tail
            if content:
                self.position += len(content)
                return content
        return b""

    def _more(self) -> bytes:
        buffer = bytearray(_READ)
        got = self._file.pread_into(self._offset, buffer)
        if not got:
            raise self._damaged("The compressed file ends too early", "no more bytes")
        self._offset += got
        return bytes(buffer[:got])

    def _next_member(self, rest: bytes) -> None:
        """Go on with what follows a member; anything but another one is padding."""
        if len(rest) < len(_MAGIC):
            buffer = bytearray(_READ)
            got = self._file.pread_into(self._offset, buffer)
            self._offset += got
            rest += bytes(buffer[:got])
        self._ended = not rest.startswith(_MAGIC)
        self._pending = b"" if self._ended else rest
        self._inflater = self._inflater if self._ended else zlib.decompressobj(_GZIP)

    def _damaged(self, message: str, found: str) -> DamagedSource:
        return DamagedSource(message, self._file.path, self._offset, found=found)


class Index:
    """What is known of a gzip file once it was inflated: its length, and points to go on from."""

    def __init__(self, file: ByteSource) -> None:
        self.size = 0
        self.points: List[_Stream] = [_Stream(file)]
        self._scan(file)

    def _scan(self, file: ByteSource) -> None:
        stream, step = self.points[0].copy(file), _FIRST_STEP
        while stream.read(_READ * 4):
            if stream.position >= self.points[-1].position + step:
                self.points.append(stream.copy(file))
                if len(self.points) > MOST_POINTS:
                    self.points = self.points[::2]
                    step *= 2
        self.size = stream.position


class InflatedFile:
    """What ``file`` holds inflated. Implements ``ByteSource``; threads may share it. Raises Damaged when it is made."""

    def __init__(self, file: ByteSource, index: Optional[Index] = None) -> None:
        self.path = file.path
        self.index = index or Index(file)
        self._file = file
        self._stream = self.index.points[0].copy(file)
        self._lock = threading.Lock()

    def size(self) -> int:
        """The length of the inflated bytes."""
        return self.index.size

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer`` from ``offset``; fewer bytes only at the end. Raises Damaged."""
        view = memoryview(buffer)
        with self._lock:
            self._seek(offset)
            done = 0
            while done < len(view):
                content = self._stream.read(len(view) - done)
                if not content:
                    break
                view[done : done + len(content)] = content
                done += len(content)
            return done

    def _seek(self, offset: int) -> None:
        points = self.index.points
        index = bisect_right([point.position for point in points], offset) - 1
        if not points[index].position <= self._stream.position <= offset:
            self._stream = points[index].copy(self._file)
        while self._stream.position < offset:
            if not self._stream.read(min(_READ * 4, offset - self._stream.position)):
                return

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """All of the range that there is: what is packed has no holes."""
        end = min(end, self.index.size)
        return iter(((start, end),) if start < end else ())

    def close(self) -> None:
        """Release the file."""
        self._file.close()

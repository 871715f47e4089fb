# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files as a plan would leave them, to be read before it is applied: what one change makes possible for the next.

A file is what it is now, with pieces laid over it::

    now           aaaaaaaaaaaaaaaa
    pieces            bb    00        moved here from another file; zeros
    foreseen      aaaabbaaaa00aaaa

A piece is never of a piece: what is moved within files that the plan changes is traced to where it lies now.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union, cast

from .._core.errors import Unsupported
from .._core.plan import CopyRanges, CreateFile, PunchHoles, Resize, Step, WriteBytes
from .._core.ranges import joined
from .._io.buffers import clear
from .._io.port import File, Port


class _Piece(NamedTuple):
    """Bytes ``start`` to ``end`` of a file: ``content``, or what lies at ``offset`` in ``source``, or zeros."""

    start: int
    end: int
    source: Optional[str] = None
    offset: int = 0
    content: Optional[bytes] = None

    def part(self, start: int, end: int) -> _Piece:
        """What of it lies in a range."""
        start, end = max(start, self.start), min(end, self.end)
        cut = start - self.start
        content = None if self.content is None else self.content[cut : end - self.start]
        return _Piece(start, end, self.source, self.offset + cut, content)

    def moved(self, distance: int) -> _Piece:
        """The same bytes elsewhere in a file."""
        return self._replace(start=self.start + distance, end=self.end + distance)


class _Layout:
    """What a file will consist of: pieces that cover it, ascending."""

    def __init__(self, size: int, source: Optional[str] = None) -> None:
        self._pieces: List[_Piece] = []
        self._starts: List[int] = []
        self.put(_Piece(0, size, source))

    @property
    def size(self) -> int:
        """The length of the file."""
        return self._pieces[-1].end if self._pieces else 0

    def between(self, start: int, end: int) -> Iterator[_Piece]:
        """The pieces of a range, without what is past the end."""
        number = max(0, bisect_right(self._starts, start) - 1)
        while number < len(self._pieces) and self._pieces[number].start < end:
            piece = self._pieces[number]
            if piece.end > start:
                yield piece.part(start, end)
            number += 1

    def put(self, piece: _Piece) -> None:
        """Lay a piece over what is there. A gap before it is a hole."""
        if piece.start >= piece.end:
            return
        if piece.start > self.size:
            self.put(_Piece(self.size, piece.start))
        first = max(0, bisect_right(self._starts, piece.start) - 1)
        last = bisect_left(self._starts, piece.end)
        old = self._pieces[first:last]
        kept = [one.part(one.start, piece.start) for one in old if one.start < piece.start]
        rest = [one.part(piece.end, one.end) for one in old if one.end > piece.end]
        new = [*kept, piece, *rest]
        self._pieces[first:last] = new
        self._starts[first:last] = [one.start for one in new]

    def resize(self, size: int) -> None:
        """Cut, or grow with a hole."""
        self._pieces = list(self.between(0, size))
        self._starts = [piece.start for piece in self._pieces]
        self.put(_Piece(self.size, size))


def foreseen(port: Port, steps: Sequence[Step]) -> Port:
    """A port whose ``open_read`` gives the files as ``steps`` would leave them, under the names that they have then.

    All else is as it is now, and nothing is to be written. Raises Unsupported for images that a step would stream.
    """
    layouts: Dict[str, _Layout] = {}
    for step in steps:
        _foresee(port, layouts, step)
    return cast(Port, _ForeseenPort(port, layouts))


def _foresee(port: Port, layouts: Dict[str, _Layout], step: Step) -> None:
    if isinstance(step, CreateFile):
        if step.clone_of is not None:
            raise Unsupported("What is cloned cannot be foreseen", path=step.path)
        layouts[step.path] = _Layout(step.size)
    elif isinstance(step, WriteBytes):
        piece = _Piece(step.offset, step.offset + len(step.content), content=step.content)
        _layout(port, layouts, step.path).put(piece)
    elif isinstance(step, Resize):
        _layout(port, layouts, step.path).resize(step.size)
    elif isinstance(step, PunchHoles):
        for start, end in step.ranges:
            _layout(port, layouts, step.path).put(_Piece(start, end))
    elif isinstance(step, CopyRanges):
        target = _layout(port, layouts, step.path)
        for source, offset, start, length in step.moves:
            for piece in _traced(port, layouts, source, offset, length):
                target.put(piece.moved(start))


def _layout(port: Port, layouts: Dict[str, _Layout], path: str) -> _Layout:
    if path not in layouts:
        stat = port.stat(path)
        layouts[path] = _Layout(0 if stat is None else stat.size, path)
    return layouts[path]


def _traced(port: Port, layouts: Dict[str, _Layout], source: Optional[str], offset: int, length: int) -> List[_Piece]:
    """A range of a file as pieces from 0 on, each of where its bytes lie now."""
    if source is None:
        return [_Piece(0, length)]
    return [piece.moved(-offset) for piece in _layout(port, layouts, source).between(offset, offset + length)]


class _ForeseenPort:
    """The port beneath, but for the content of files."""

    def __init__(self, port: Port, layouts: Dict[str, _Layout]) -> None:
        self._port = port
        self._layouts = layouts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def open_read(self, path: str) -> File:
        """The file as it will be."""
        layout = self._layouts.get(path)
        return self._port.open_read(path) if layout is None else cast(File, _ForeseenFile(self._port, path, layout))


class _ForeseenFile:
    """A file that is read only; the files that its pieces lie in are opened when they are needed."""

    def __init__(self, port: Port, path: str, layout: _Layout) -> None:
        self.path = path
        self._port = port
        self._layout = layout
        self._sources: Dict[str, File] = {}

    def size(self) -> int:
        """The length that it will have."""
        return self._layout.size

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        """Fill ``buffer``; fewer bytes only at the end."""
        view = memoryview(buffer)
        done = 0
        for piece in self._layout.between(offset, offset + len(view)):
            part = view[piece.start - offset : piece.end - offset]
            if piece.content is not None:
                part[:] = piece.content
            elif piece.source is None:
                clear(part)
            else:
                got = self._source(piece.source).pread_into(piece.offset, part)
                clear(part[got:])
            done = piece.end - offset
        return done

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        """What will be no hole."""
        return iter(joined(self._data(start, end)))

    def _data(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        for piece in self._layout.between(start, end):
            if piece.content is not None:
                yield piece.start, piece.end
            elif piece.source is not None:
                distance, length = piece.start - piece.offset, piece.end - piece.start
                for first, last in self._source(piece.source).data_ranges(piece.offset, piece.offset + length):
                    yield first + distance, last + distance

    def will_need(self, offset: int, length: int) -> None:
        """A hint for the files of the pieces."""
        for piece in self._layout.between(offset, offset + length):
            if piece.source is not None:
                self._source(piece.source).will_need(piece.offset, piece.end - piece.start)

    def close(self) -> None:
        """Close the files of the pieces."""
        while self._sources:
            self._sources.popitem()[1].close()

    def _source(self, path: str) -> File:
        if path not in self._sources:
            self._sources[path] = self._port.open_read(path)
        return self._sources[path]

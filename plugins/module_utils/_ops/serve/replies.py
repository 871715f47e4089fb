# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answers to the requests of one client, simple or in chunks.

Short reads are answered from a buffer in one piece. In longer ones the kernel sends what lies in a file as it is,
zeros are told as such where the client understands that, and the rest passes through the buffer.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ..._core.errors import DiskError
from ..._core.extents import ZERO
from ..._formats.image import GuestView
from ..._io.buffers import clear, new_buffer
from ..._io.net.streams import Gone, Stream
from . import protocol as nbd
from .pieces import STORED, ZEROS, GuestMap, Piece

# Longer than this the kernel sends faster than we copy.
_SHORT = 64 << 10
_BUFFER = 256 << 10
_MOST_STATES = 4096
_LONGEST_STATE = (1 << 32) - 4096

_ALLOWED_FLAGS = {nbd.CMD_READ: nbd.FLAG_DF, nbd.CMD_BLOCK_STATUS: nbd.FLAG_REQ_ONE}
_WRITES = (nbd.CMD_WRITE, nbd.CMD_TRIM, nbd.CMD_WRITE_ZEROES)


class Source(NamedTuple):
    """The disk that is served."""

    view: GuestView
    map: GuestMap


class Replies:
    """Answers the requests of a client that has agreed on ``structured`` replies and on ``allocation``."""

    def __init__(self, stream: Stream, source: Source, *, structured: bool, allocation: bool) -> None:
        self._stream = stream
        self._view = source.view
        self._map = source.map
        self._structured = structured
        self._allocation = allocation
        self._buffer = memoryview(b"")
        self._zeros = memoryview(b"")

    def answer(self, request: nbd.Request) -> None:
        """Answer one request. Raises Gone and Stalled, Gone also when a read fails after its reply has begun."""
        error = self._judged(request)
        if error is not None:
            self._refuse(request, *error)
        elif request.type == nbd.CMD_READ:
            self._read(request)
        elif request.type == nbd.CMD_BLOCK_STATUS:
            self._status(request)
        else:
            self._cache(request)

    def _judged(self, request: nbd.Request) -> Optional[Tuple[int, str]]:
        """What is wrong with a request."""
        if request.type in _WRITES:
            return nbd.EPERM, "this export is read-only"
        if request.type not in (nbd.CMD_READ, nbd.CMD_CACHE, nbd.CMD_BLOCK_STATUS):
            return nbd.EINVAL, "this request is not known here"
        if request.flags & ~_ALLOWED_FLAGS.get(request.type, 0) or (request.flags and not self._structured):
            return nbd.EINVAL, "this flag is not known here"
        if request.offset + request.length > self._view.size:
            return nbd.EINVAL, "the range ends after the disk"
        if request.type == nbd.CMD_READ and request.length > nbd.LONGEST_PAYLOAD:
            return nbd.EOVERFLOW, "the range is too long"
        if request.type == nbd.CMD_BLOCK_STATUS and not (self._allocation and request.length):
            return nbd.EINVAL, "no context was agreed on, or the range is empty"
        return None

    def _refuse(self, request: nbd.Request, error: int, text: str) -> None:
        if self._structured:
            self._stream.send((nbd.error_chunk(request.cookie, error, text),))
        else:
            self._stream.send((nbd.simple_reply(request.cookie, error),))

    def _done(self, request: nbd.Request) -> None:
        cookie = request.cookie
        reply = nbd.chunk(cookie, nbd.CHUNK_NONE, 0, done=True) if self._structured else nbd.simple_reply(cookie)
        self._stream.send((reply,))

    def _read(self, request: nbd.Request) -> None:
        pieces = self._pieces(request)
        if pieces is None:
            return
        if not request.length:
            self._done(request)
        elif request.length <= _SHORT and not (self._structured and all(piece.kind == ZEROS for piece in pieces)):
            self._read_short(request, pieces)
        elif not self._structured:
            self._read_simple(request, pieces)
        else:
            self._read_chunks(request, [pieces] if request.flags & nbd.FLAG_DF else list(_runs(pieces)))

    def _pieces(self, request: nbd.Request) -> Optional[List[Piece]]:
        """The pieces of a range; None when they cannot be found, which the client knows then."""
        try:
            return list(self._map.pieces(request.offset, request.offset + request.length))
        except DiskError as error:
            self._refuse(request, nbd.EIO, str(error))
            return None

    def _read_short(self, request: nbd.Request, pieces: List[Piece]) -> None:
        offset, length = request.offset, request.length
        content = self._room()[:length]
        try:
            for piece in pieces:
                self._fill(piece, content[piece.start - offset : piece.end - offset])
        except DiskError as error:
            self._refuse(request, nbd.EIO, str(error))
            return
        if self._structured:
            head = nbd.data_chunk(request.cookie, offset, length, done=True)
        else:
            head = nbd.simple_reply(request.cookie)
        self._stream.send((head, content))

    def _fill(self, piece: Piece, content: memoryview) -> None:
        if piece.kind == ZEROS:
            clear(content)
        elif piece.file is None or piece.file.pread_into(piece.offset, content) != len(content):
            # The image knows what it means that its file ends here.
            self._view.pread_into(piece.start, content)

    def _read_simple(self, request: nbd.Request, pieces: List[Piece]) -> None:
        self._stream.send((nbd.simple_reply(request.cookie),), more=True)
        try:
            for piece in pieces:
                for _position in self._steps(piece, pieces[-1].end):
                    pass
        except DiskError as error:
            # Nothing but the end of the connection tells a client of simple replies.
            raise Gone(str(error)) from error

    def _read_chunks(self, request: nbd.Request, runs: List[List[Piece]]) -> None:
        cookie = request.cookie
        for run in runs:
            start, end = run[0].start, run[-1].end
            if run[0].kind == ZEROS and not request.flags & nbd.FLAG_DF:
                self._stream.send((nbd.hole_chunk(cookie, start, end - start),), more=True)
                continue
            self._stream.send((nbd.data_chunk(cookie, start, end - start),), more=True)
            if not self._sent_run(request, run):
                return
        self._done(request)

    def _sent_run(self, request: nbd.Request, run: List[Piece]) -> bool:
        """Whether a run could be read; if not, its chunk is filled up and the client told."""
        position = run[0].start
        try:
            for piece in run:
                position = piece.start
                for sent in self._steps(piece, run[-1].end + 1):
                    position = sent
        except DiskError as error:
            self._send_zeros(run[-1].end - position, more=True)
            self._stream.send((nbd.error_offset_chunk(request.cookie, nbd.EIO, str(error), position),))
            return False
        return True

    def _steps(self, piece: Piece, last: int) -> Iterator[int]:
        """Send a piece; after each step how far it is sent. What ends before ``last`` has something behind it."""
        if piece.kind == ZEROS:
            self._send_zeros(piece.end - piece.start, more=piece.end < last)
            yield piece.end
            return
        position = piece.start
        if piece.kind == STORED and piece.file is not None:
            position += self._stream.send_file(piece.file, piece.offset, piece.end - piece.start)
            yield position
        while position < piece.end:
            content = self._room()[: piece.end - position]
            self._view.pread_into(position, content)
            position += len(content)
            self._stream.send((content,), more=position < last)
            yield position

    def _send_zeros(self, length: int, *, more: bool) -> None:
        self._zeros = self._zeros or memoryview(bytes(_SHORT))
        while length > 0:
            part = self._zeros[:length]
            length -= len(part)
            self._stream.send((part,), more=more or length > 0)

    def _room(self) -> memoryview:
        self._buffer = self._buffer or new_buffer(_BUFFER)
        return self._buffer

    def _status(self, request: nbd.Request) -> None:
        most = 1 if request.flags & nbd.FLAG_REQ_ONE else _MOST_STATES
        states: List[Tuple[int, int]] = []
        try:
            for extent in self._view.extents(request.offset, min(request.length, _LONGEST_STATE)):
                states.append((extent.length, nbd.STATE_HOLE_ZERO if extent.kind == ZERO else 0))
                if len(states) >= most:
                    break
            self._map.check()
        except DiskError as error:
            self._refuse(request, nbd.EIO, str(error))
            return
        self._stream.send((nbd.status_chunk(request.cookie, states),))

    def _cache(self, request: nbd.Request) -> None:
        """Begin to read what lies in files. A hint: nothing is lost where it is not followed."""
        pieces = self._pieces(request._replace(length=min(request.length, nbd.LONGEST_PAYLOAD)))
        if pieces is None:
            return
        for piece in pieces:
            if piece.file is not None:
                piece.file.will_need(piece.offset, piece.end - piece.start)
        self._done(request)


def _runs(pieces: Iterable[Piece]) -> Iterator[List[Piece]]:
    """Neighbours that are zeros, and neighbours that are not."""
    run: List[Piece] = []
    for piece in pieces:
        if run and (run[-1].kind == ZEROS) != (piece.kind == ZEROS):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run

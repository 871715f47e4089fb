# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One client: the negotiation, then its requests, one after the other, over a stream of bytes.

Whatever a client sends is answered or ends its connection. It costs one buffer, whatever it asks for.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import time
from typing import Optional

from ..._io.net.streams import Gone, Stalled, Stream
from . import protocol as nbd
from .negotiation import END, TRANSMISSION, Export, Negotiation
from .replies import Replies, Source

HANDSHAKE_SECONDS = 30.0
"""How long a client may take to agree."""

STALL_SECONDS = 120.0
"""How long a client may leave a request or a reply unfinished. Between requests it may be silent for ever."""

_BUFFER = 8192


class Incoming:
    """What a client sends, in pieces of a known length."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0

    def take(self, length: int, *, deadline: Optional[float] = None) -> bytes:
        """The next bytes. Raises Gone, and Stalled when they do not come, or not before ``deadline``."""
        if self._end - self._start >= length:
            self._start += length
            return bytes(self._buffer[self._start - length : self._start])
        taken = bytearray()
        while len(taken) < length:
            if self._start == self._end:
                self._receive(deadline)
            step = min(length - len(taken), self._end - self._start)
            taken += self._buffer[self._start : self._start + step]
            self._start += step
        return bytes(taken)

    def _receive(self, deadline: Optional[float]) -> None:
        if deadline is not None and time.monotonic() > deadline:
            raise Stalled
        self._start, self._end = 0, self._stream.receive_into(self._buffer)

    def drop(self, length: int) -> None:
        """Take bytes that nobody wants."""
        while length:
            length -= len(self.take(min(length, _BUFFER)))

    def wait(self) -> None:
        """Until there is something, however long that takes. Raises Gone."""
        while self._start == self._end:
            try:
                self._receive(None)
            except Stalled:
                # Between requests that is the client's good right.
                continue


def serve_client(stream: Stream, export: Export, source: Source) -> None:
    """Serve one client until it leaves. Raises Gone, Stalled, and Malformed for what is not the protocol."""
    incoming = Incoming(stream)
    agreed = _negotiate(stream, incoming, export)
    if agreed is None:
        return
    stream.set_patience(STALL_SECONDS)
    replies = Replies(stream, source, structured=agreed.structured, allocation=agreed.allocation)
    while True:
        incoming.wait()
        request = nbd.parse_request(incoming.take(nbd.REQUEST_BYTES))
        if request.type == nbd.CMD_DISC:
            return
        if request.type == nbd.CMD_WRITE:
            if request.length > nbd.LONGEST_PAYLOAD:
                raise nbd.Malformed(f"a write of {request.length} bytes")
            incoming.drop(request.length)
        replies.answer(request)


def _negotiate(stream: Stream, incoming: Incoming, export: Export) -> Optional[Negotiation]:
    """What was agreed; None when the client wants nothing."""
    deadline = time.monotonic() + HANDSHAKE_SECONDS
    stream.set_patience(HANDSHAKE_SECONDS)
    negotiation = Negotiation(export)
    stream.send((nbd.GREETING,))
    negotiation.greet(incoming.take(4, deadline=deadline))
    while True:
        option = nbd.parse_option(incoming.take(nbd.OPTION_BYTES, deadline=deadline))
        answer = negotiation.answer(option.number, incoming.take(option.length, deadline=deadline))
        try:
            stream.send((answer.content,))
        except Gone:
            # Many a client does not wait for the end of its own farewell.
            if answer.phase == END:
                return None
            raise
        if answer.phase == END:
            return None
        if answer.phase == TRANSMISSION:
            return negotiation

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of NBD that believes nothing: every reply is taken apart and must be one that the protocol allows.

It shares no code with the engine. Numbers are those of doc/proto.md of the NBD project.
"""

from __future__ import annotations

import struct
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.place import Place
from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.streams import Gone

READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
ACK, SERVER, INFO, META = 1, 2, 3, 4
UNSUP, POLICY, INVALID, UNKNOWN = (2**31 + number for number in (1, 2, 3, 6))
EXPORT_NAME, ABORT, LIST, STARTTLS, OPT_INFO, GO, STRUCTURED, LIST_META, SET_META = 1, 2, 3, 5, 6, 7, 8, 9, 10
DF, REQ_ONE = 4, 8
EPERM, EIO, EINVAL, EOVERFLOW = 1, 5, 22, 75
CONTEXT = b"base:allocation"


class Reply(NamedTuple):
    """What came for one request: its error, the data of a read, the states of a range, and the kinds of chunks."""

    cookie: int
    error: int
    content: bytes
    states: Tuple[Tuple[int, int], ...]
    kinds: Tuple[int, ...]
    message: str = ""


def option(number: int, content: bytes = b"") -> bytes:
    """An option as a client sends it."""
    return b"IHAVEOPT" + struct.pack(">II", number, len(content)) + content


def name(text: bytes) -> bytes:
    """A string with its length."""
    return struct.pack(">I", len(text)) + text


def go(export: bytes = b"", *infos: int) -> bytes:
    """The content of the options GO and INFO."""
    return name(export) + struct.pack(f">H{len(infos)}H", len(infos), *infos)


def meta(*queries: bytes, export: bytes = b"") -> bytes:
    """The content of the options that list and set contexts."""
    return name(export) + struct.pack(">I", len(queries)) + b"".join(name(query) for query in queries)


def request(kind: int, offset: int, length: int, flags: int = 0, cookie: int = 7) -> bytes:
    """A request as a client sends it."""
    return struct.pack(">IHHQQI", 0x25609513, flags, kind, cookie, offset, length)


Receive = Callable[[int], bytes]


def option_replies(receive: Receive, number: int) -> List[Tuple[int, bytes]]:
    """All replies to an option, up to the one that ends them."""
    found: List[Tuple[int, bytes]] = []
    while not found or found[-1][0] in (SERVER, INFO, META):
        magic, to, kind, length = struct.unpack(">QIII", receive(20))
        assert (magic, to) == (0x3E889045565A9, number)
        found.append((kind, receive(length)))
    return found


def reply(receive: Receive, *, structured: bool, asked: Dict[int, Tuple[int, int, int]]) -> Reply:
    """The next reply; ``asked`` has kind, offset and length of each request by its cookie."""
    if not structured:
        return _simple(receive, asked)
    kinds: List[int] = []
    states: List[Tuple[int, int]] = []
    content, covered, error, message, cookie, done = bytearray(), bytearray(), 0, "", -1, False
    while not done:
        magic, flags, kind, to, length = struct.unpack(">IHHQI", receive(20))
        assert magic == 0x668E33EF and flags in (0, 1)
        assert to == cookie or cookie < 0
        cookie, done = to, bool(flags)
        command, offset, wanted = asked[cookie]
        kinds.append(kind)
        if kind in (1, 2) and not content and command == READ:
            content, covered = bytearray(wanted), bytearray(wanted)
        body = receive(length)
        if kind == 0:
            assert not length and done
        elif kind in (1, 2):
            at = struct.unpack(">Q", body[:8])[0] - offset
            size = length - 8 if kind == 1 else struct.unpack(">I", body[8:])[0]
            assert size > 0 and at >= 0 and at + size <= wanted and not covered.count(1, at, at + size)
            covered[at : at + size] = b"\1" * size
            if kind == 1:
                content[at : at + size] = body[8:]
        elif kind == 5:
            assert command == BLOCK_STATUS and body[:4] == struct.pack(">I", 1)
            states += struct.iter_unpack(">II", body[4:])
            assert all(size > 0 and state in (0, 3) for size, state in states)
            assert states and sum(size for size, _state in states) <= wanted
        else:
            assert kind in (32769, 32770)
            error, size = struct.unpack(">IH", body[:6])
            message = body[6 : 6 + size].decode()
            assert error and len(body) == 6 + size + (8 if kind == 32770 else 0)
    assert error or command != READ or not covered.count(0), "not every byte came"
    return Reply(cookie, error, bytes(content), tuple(states), tuple(kinds), message)


def _simple(receive: Receive, asked: Dict[int, Tuple[int, int, int]]) -> Reply:
    magic, error, cookie = struct.unpack(">IIQ", receive(16))
    assert magic == 0x67446698
    kind, _offset, length = asked[cookie]
    content = receive(length) if kind == READ and not error else b""
    return Reply(cookie, error, content, (), ())


class Client:
    """One connection to a server, over a socket."""

    def __init__(self, connection: Any) -> None:
        self.socket = connection
        self.structured = False

    def receive(self, length: int) -> bytes:
        """Exactly this many bytes; EOFError when the server has closed."""
        taken = bytearray()
        while len(taken) < length:
            part = self.socket.recv(length - len(taken))
            if not part:
                raise EOFError
            taken += part
        return bytes(taken)

    def greet(self, flags: int = 3) -> None:
        """Exchange the first words."""
        assert self.receive(18) == b"NBDMAGICIHAVEOPT\0\3"
        self.socket.sendall(struct.pack(">I", flags))

    def option(self, number: int, content: bytes = b"") -> List[Tuple[int, bytes]]:
        """Send an option and take its replies."""
        self.socket.sendall(option(number, content))
        replies = option_replies(self.receive, number)
        self.structured = self.structured or (number == STRUCTURED and replies[-1][0] == ACK)
        return replies

    def begin(self, *, structured: bool, context: bool = False) -> int:
        """Agree on what most clients agree on; returns the size of the disk."""
        self.greet()
        if structured:
            assert self.option(STRUCTURED) == [(ACK, b"")]
        if context:
            assert self.option(SET_META, meta(CONTEXT))[-1][0] == ACK
        replies = self.option(GO, go())
        assert replies[-1] == (ACK, b"")
        (told,) = [content for kind, content in replies if kind == INFO and content[:2] == b"\0\0"]
        return int(struct.unpack(">HQH", told)[1])

    def ask(self, kind: int, offset: int, length: int, flags: int = 0, payload: bytes = b"") -> Reply:
        """Send one request and take its reply."""
        self.socket.sendall(request(kind, offset, length, flags) + payload)
        return reply(self.receive, structured=self.structured, asked={7: (kind, offset, length)})

    def read(self, offset: int, length: int, flags: int = 0) -> bytes:
        """What the disk has there."""
        got = self.ask(READ, offset, length, flags)
        assert not got.error, got
        return got.content

    def is_closed(self) -> bool:
        """Whether the server ends the connection without another byte."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


class MemoryStream:
    """A stream whose client has said all it will say; ``sent`` is what it would receive."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        self._position = 0
        self.sent = bytearray()
        self.longest = 0

    def set_patience(self, seconds: float) -> None:
        """A client that says nothing more is gone."""

    def receive_into(self, buffer: Any) -> int:
        part = self._said[self._position : self._position + len(buffer)]
        if not part:
            raise Gone
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def send(self, parts: Sequence[Any], *, more: bool = False) -> None:
        for part in parts:
            self.longest = max(self.longest, len(part))
            self.sent += part

    def send_file(self, file: Any, offset: int, length: int) -> int:
        content = bytearray(length)
        done = int(file.pread_into(offset, content))
        self.sent += content[:done]
        return done

    def close(self) -> None:
        """Nothing to do."""

    def receive(self, length: int) -> bytes:
        """Take bytes that were sent; EOFError when there are no more."""
        if len(self.sent) < length:
            raise EOFError
        taken = bytes(self.sent[:length])
        del self.sent[:length]
        return taken


class TrialView:
    """A guest disk in memory: zeros where ``zeros`` says so, in ``file`` where ``stored`` does, else packed.

    ``broken`` is the first byte that cannot be read, if any.
    """

    def __init__(
        self,
        content: bytes,
        *,
        zeros: Sequence[Tuple[int, int]] = (),
        stored: Sequence[Tuple[int, int]] = (),
        file: Optional[Any] = None,
        broken: Optional[int] = None,
    ) -> None:
        self.size = len(content)
        self.content = content
        self.broken = broken
        self._zeros = zeros
        self._stored = stored
        self._file = file
        self.asked = 0

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        self.asked += 1
        position, end = start, start + length
        for low, high in self._zeros:
            low, high = max(low, start), min(high, end)
            if low < high:
                if low > position:
                    yield Extent(position, low - position, DATA)
                yield Extent(low, high - low, ZERO)
                position = high
        if position < end:
            yield Extent(position, end - position, DATA)

    def places(self, start: int, length: int) -> Iterator[Place]:
        for low, high in self._stored:
            low, high = max(low, start), min(high, start + length)
            if low < high:
                yield Place(low, high - low, self._file, low)  # type: ignore[arg-type]

    def pread_into(self, offset: int, buffer: Any) -> None:
        if self.broken is not None and offset + len(buffer) > self.broken:
            raise Damaged("A cluster cannot be read", "/disk", self.broken)
        buffer[:] = self.content[offset : offset + len(buffer)]

    def close(self) -> None:
        """Nothing to do."""

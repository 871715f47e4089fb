# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One client from its first word to its last; and clients that lie, stall, die, or talk nonsense."""

from __future__ import annotations

import os
import random
import struct
import threading

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.sockets import SocketStream
from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.streams import Gone, Stalled
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import session
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.negotiation import Export
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.pieces import GuestMap
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.protocol import Malformed
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.replies import Source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.session import serve_client
from ansible_collections.vdisk.parallels.tests.support import nbd as client
from ansible_collections.vdisk.parallels.tests.support.images import noise
from ansible_collections.vdisk.parallels.tests.support.nbd import Client, MemoryStream, TrialView
from ansible_collections.vdisk.parallels.tests.support.sockets import two_ends

MIB = 1 << 20
CONTENT = noise(random.Random(3), 2 * MIB) + bytes(MIB)
EXPORT = Export("mac.hdd", "a disk", len(CONTENT))
HELLO = struct.pack(">I", 3)


def source():
    view = TrialView(CONTENT, zeros=[(2 * MIB, 3 * MIB)])
    return Source(view, GuestMap(view))


class Guest:
    """A client of a server in another thread, and what became of the session."""

    def __enter__(self):
        one, other = two_ends()
        self.ended = None
        self.client = Client(other)
        self._stream = SocketStream(one)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def _serve(self):
        try:
            serve_client(self._stream, EXPORT, source())
        except (Gone, Stalled, Malformed) as error:
            self.ended = type(error)
        finally:
            self._stream.close()

    def end(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.ended

    def __exit__(self, *_why):
        self.client.socket.close()
        self.end()


@pytest.mark.parametrize("structured", [False, True])
def test_a_whole_life(structured):
    with Guest() as guest:
        assert guest.client.begin(structured=structured, context=structured) == len(CONTENT)
        assert guest.client.read(0, 3 * MIB) == CONTENT
        assert guest.client.read(MIB + 1, 77) == CONTENT[MIB + 1 : MIB + 78]
        assert guest.client.ask(client.WRITE, 0, 5000, payload=b"x" * 5000).error == client.EPERM
        assert guest.client.read(0, 10) == CONTENT[:10]
        if structured:
            assert guest.client.ask(client.BLOCK_STATUS, 0, 3 * MIB).states == ((2 * MIB, 0), (MIB, 3))
        guest.client.socket.sendall(client.request(client.DISC, 0, 0))
        assert guest.client.is_closed()
        assert guest.end() is None


def test_requests_may_come_in_one_piece_or_in_many():
    with Guest() as guest:
        guest.client.begin(structured=False)
        asked = {cookie: (client.READ, cookie * 4096, 4096) for cookie in range(500)}
        words = b"".join(client.request(kind, at, length, 0, cookie) for cookie, (kind, at, length) in asked.items())
        thread = threading.Thread(target=guest.client.socket.sendall, args=(words,))
        thread.start()
        for cookie, (_kind, offset, length) in asked.items():
            found = client.reply(guest.client.receive, structured=False, asked=asked)
            assert (found.cookie, found.content) == (cookie, CONTENT[offset : offset + length])
        thread.join()
        for byte in client.request(client.READ, 0, 1):
            guest.client.socket.sendall(bytes([byte]))
        assert client.reply(guest.client.receive, structured=False, asked={7: (0, 0, 1)}).content == CONTENT[:1]


def test_a_client_may_leave_without_a_word():
    with Guest() as guest:
        guest.client.begin(structured=True)
        guest.client.socket.close()
        assert guest.end() is Gone


def test_a_client_may_abort_and_not_wait():
    with Guest() as guest:
        guest.client.greet()
        guest.client.socket.sendall(client.option(client.ABORT))
        guest.client.socket.close()
        assert guest.end() is None


@pytest.mark.parametrize(
    "word",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HELLO + b"IHAVEOPS" + bytes(8),
        HELLO + b"IHAVEOPT" + struct.pack(">II", client.GO, 1 << 31),
        HELLO + client.option(client.GO, client.go()) + b"\0" * 28,
        HELLO + client.option(client.GO, client.go()) + client.request(client.WRITE, 0, 1 << 31),
    ],
    ids=["http", "option magic", "option length", "request magic", "write length"],
)
def test_what_is_not_the_protocol_ends_the_connection(word):
    with Guest() as guest:
        guest.client.socket.sendall(word)
        assert guest.end() is Malformed


def test_the_handshake_has_a_deadline(monkeypatch):
    monkeypatch.setattr(session, "HANDSHAKE_SECONDS", 0.05)
    with Guest() as guest:
        assert guest.end() is Stalled


def test_a_client_that_drips_does_not_outlive_the_deadline(monkeypatch):
    """A byte now and then keeps every single wait short."""
    times = iter(range(1000))
    monkeypatch.setattr(session.time, "monotonic", lambda: float(next(times)))
    stream = MemoryStream(HELLO + client.option(client.LIST) * 100)
    stream.receive_into = lambda buffer, take=stream.receive_into: take(buffer[:1])
    with pytest.raises(Stalled):
        serve_client(stream, EXPORT, source())


def test_a_client_that_stops_in_a_request_is_cut_off(monkeypatch):
    monkeypatch.setattr(session, "STALL_SECONDS", 0.05)
    with Guest() as guest:
        guest.client.begin(structured=True)
        guest.client.socket.sendall(client.request(client.READ, 0, 1)[:9])
        assert guest.end() is Stalled


def test_a_client_that_takes_no_replies_is_cut_off(monkeypatch):
    monkeypatch.setattr(session, "STALL_SECONDS", 0.05)
    with Guest() as guest:
        guest.client.begin(structured=False)
        guest.client.socket.sendall(client.request(client.READ, 0, 3 * MIB) * 20)
        assert guest.end() is Stalled


class Scripted(MemoryStream):
    """Says one thing after the other; None is a silence."""

    def __init__(self, *said):
        super().__init__(b"")
        self.left = list(said)

    def receive_into(self, buffer):
        said = self.left.pop(0)
        if said is None:
            raise Stalled
        buffer[: len(said)] = said
        return len(said)


def test_between_requests_a_client_may_be_silent_for_ever():
    last = client.request(client.DISC, 0, 0)
    stream = Scripted(HELLO + client.option(client.GO, client.go()), None, None, None, last)
    serve_client(stream, EXPORT, source())
    assert not stream.left


def test_within_a_request_it_may_not():
    stream = Scripted(HELLO + client.option(client.GO, client.go()), client.request(client.DISC, 0, 0)[:5], None, b"x")
    with pytest.raises(Stalled):
        serve_client(stream, EXPORT, source())


LONG_RUN = 1_000_000 if os.environ.get("VDISK_LONG") else 6_000


def _words(chance):
    """What a client says that knows the protocol and does not always keep to it; the requests among it; and whether it
    takes chunks, None where nobody knows.
    """
    structured = chance.random() < 0.6
    parts = [HELLO]
    is_known = chance.random() < 0.8
    if not is_known:
        parts.append(client.option(chance.randrange(12), noise(chance, chance.choice((0, 4, 40)))))
    if structured:
        parts.append(client.option(client.STRUCTURED))
        if chance.random() < 0.8:
            parts.append(client.option(client.SET_META, client.meta(client.CONTEXT)))
    parts.append(client.option(client.GO, client.go()))
    asked = {}
    for cookie in range(chance.choice((1, 20, 200))):
        kind = chance.choice((0, 0, 0, 1, 3, 4, 5, 6, 7, 7, 8, chance.randrange(65536)))
        kind = client.READ if kind == client.DISC else kind
        offset = chance.choice((0, 1, 4096, chance.randrange(3 * MIB + 10), 3 * MIB, (1 << 64) - 1))
        length = chance.choice((0, 1, 512, 4096, chance.randrange(70_000), (1 << 32) - 1))
        flags = chance.choice((0, 0, 0, client.DF, client.REQ_ONE, chance.randrange(65536)))
        payload = b""
        if kind == client.WRITE:
            length = min(length, 9000)
            payload = noise(chance, length)
        asked[cookie] = (kind, offset, length)
        parts.append(client.request(kind, offset, length, flags, cookie) + payload)
    return b"".join(parts), asked, structured if is_known else None


def _mutated(chance, words):
    """The same words with some bytes changed, cut out or put in."""
    raw = bytearray(words)
    for _turn in range(chance.randrange(1, 6)):
        at = chance.randrange(len(raw) + 1)
        what = chance.randrange(3)
        if what == 0:
            raw[at : at + 1] = noise(chance, 1)
        elif what == 1:
            del raw[at : at + chance.randrange(1, 30)]
        else:
            raw[at:at] = noise(chance, chance.randrange(1, 30))
    return bytes(raw)


def _answers(stream, asked, structured):
    """Every request has one answer, in order, and nothing else is sent."""
    for cookie, (kind, offset, length) in asked.items():
        found = client.reply(stream.receive, structured=structured, asked=asked)
        assert found.cookie == cookie
        if kind == client.READ and not found.error:
            assert found.content == CONTENT[offset : offset + length]
    assert not stream.sent


def _skip_handshake(stream):
    """Up to the end of the last option's replies; whether replies come in chunks is told apart by their magic."""
    assert stream.receive(18) == b"NBDMAGICIHAVEOPT\0\3"
    while stream.sent[:8] == struct.pack(">Q", 0x3E889045565A9):
        _magic, _option, _kind, length = struct.unpack(">QIII", stream.receive(20))
        stream.receive(length)


def test_whatever_a_client_says_is_answered_or_ends_its_connection():
    seed = 20 if LONG_RUN == 6_000 else random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    served = source()
    requests = 0
    while requests < LONG_RUN:
        words, asked, structured = _words(chance)
        requests += len(asked)
        is_honest = chance.random() < 0.5
        stream = MemoryStream(words if is_honest else _mutated(chance, words))
        try:
            serve_client(stream, EXPORT, served)
            ended = None
        except (Gone, Stalled, Malformed) as error:
            ended = type(error)
        except BaseException as error:
            raise AssertionError(f"seed {seed}, after {requests} requests") from error
        if is_honest and structured is not None:
            assert ended is Gone, f"seed {seed}"
            _skip_handshake(stream)
            _answers(stream, asked, structured)

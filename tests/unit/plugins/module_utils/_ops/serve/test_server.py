# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The loop of the server: who is let in, when it ends, and what it writes down."""

from __future__ import annotations

import threading

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.sockets import SocketStream
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import server
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.negotiation import Export
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.pieces import GuestMap
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.replies import Source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.server import Limits, Log, Server
from ansible_collections.vdisk.parallels.tests.support.nbd import Client, TrialView
from ansible_collections.vdisk.parallels.tests.support.sockets import two_ends

CONTENT = b"guest data" * 1000
VIEW = TrialView(CONTENT)


class Visits:
    """A listener whose clients come in a given order; None is a time in which nobody comes."""

    port_number = 0

    def __init__(self, *visits):
        self.left = list(visits)
        self.patience = []

    def accept(self, timeout):
        self.patience.append(timeout)
        visit = self.left.pop(0)
        return visit() if callable(visit) else visit

    def close(self):
        """Nothing to do."""


def new(listener, **limits):
    limits = Limits(limits.get("idle", 0), limits.get("clients", 64))
    return Server(listener, Export("d", "a disk", len(CONTENT)), Source(VIEW, GuestMap(VIEW)), limits)


def test_it_serves_until_it_is_wanted_to_end(capfd):
    one, other = two_ends()
    listener = Visits(SocketStream(one), None)
    assert new(listener).run(lambda: not listener.left) == "told to end"
    client = Client(other)
    assert client.begin(structured=True) == len(CONTENT)
    assert client.read(5, 100) == CONTENT[5:105]
    other.close()
    assert listener.patience == [None, None]
    assert "serving a disk" in capfd.readouterr().err


def test_it_ends_when_nobody_has_come_for_long(monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(server.time, "monotonic", lambda: float(next(clock)))
    listener = Visits(*[None] * 20)
    assert new(listener, idle=10).run(lambda: False) == "no client for 10 s"
    assert all(timeout is not None for timeout in listener.patience)


def test_it_does_not_end_while_a_client_is_there(monkeypatch):
    one, other = two_ends()
    clock = iter(range(0, 100_000, 4))
    monkeypatch.setattr(server.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(server, "serve_client", lambda *_given: other.recv(1))
    listener = Visits(SocketStream(one), *[None] * 20)
    assert new(listener, idle=10).run(lambda: not listener.left) == "told to end"
    assert set(listener.patience[1:]) == {1.0}
    one.close()
    other.close()


def test_clients_too_many_are_turned_away_until_one_leaves(monkeypatch):
    leave, left = threading.Event(), threading.Event()
    monkeypatch.setattr(server, "serve_client", lambda *_given: leave.wait(30))
    ends = [two_ends() for _number in range(3)]

    def last():
        leave.set()
        assert left.wait(30)
        return SocketStream(ends[2][0])

    listener = Visits(SocketStream(ends[0][0]), SocketStream(ends[1][0]), last)
    made = new(listener, clients=1)
    farewell = made._farewell
    monkeypatch.setattr(made, "_farewell", lambda stream: (farewell(stream), left.set()))
    made.run(lambda: not listener.left)
    assert ends[1][1].recv(1) == b""
    assert made._served == 2
    for _one, other in ends:
        other.close()


def test_a_host_without_a_thread_to_spare_turns_clients_away(monkeypatch):
    monkeypatch.setattr(server.Worker, "start", lambda _self: False)
    one, other = two_ends()
    listener = Visits(SocketStream(one))
    made = new(listener)
    made.run(lambda: not listener.left)
    assert other.recv(1) == b""
    assert made._clients == 0
    other.close()


@pytest.mark.parametrize("word", [b"GET / HTTP/1.1\r\n\r\n", b""], ids=["nonsense", "nothing"])
def test_the_end_of_a_client_is_in_the_log(capfd, word):
    one, other = two_ends()
    made = new(Visits())
    if word:
        other.sendall(word)
    else:
        other.close()
    made._clients = 1
    made._attend(SocketStream(one), 7)
    assert ("client 7 was cut off" if word else "client 7 is gone") in capfd.readouterr().err
    other.close()


def test_the_log_has_an_end(capfd, monkeypatch):
    monkeypatch.setattr(server, "_MOST_LINES", 3)
    log = Log()
    for number in range(10):
        log(f"line {number}")
    lines = [line.split(" ", 2)[2] for line in capfd.readouterr().err.splitlines()]
    assert lines == ["line 0", "line 1", "the log is full"]


def test_a_full_file_system_is_no_reason_to_end(monkeypatch):
    class Full:
        def write(self, _text):
            raise OSError(28, "No space left on device")

        def flush(self):
            """Nothing to do."""

    monkeypatch.setattr(server.sys, "stderr", Full())
    Log()("a line")

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sockets of the host: what goes through them, how long they wait, where they can be."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import threading

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    BadRequest,
    Escape,
    IoFailure,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.net import sockets
from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.sockets import (
    LONGEST_SOCKET_PATH,
    SocketStream,
    is_loopback,
    listen_tcp,
    listen_unix,
    refuse_long,
    refuse_taken,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.streams import Gone, Stalled
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.sockets import connected, short_folder, two_ends

MIB = 1 << 20


@pytest.fixture(name="ends")
def ends_fixture():
    one, other = two_ends()
    stream = SocketStream(one)
    yield stream, other
    stream.close()
    other.close()


def taken(other, length):
    got = bytearray()
    while len(got) < length:
        got += other.recv(length - len(got))
    return bytes(got)


def test_all_parts_arrive_in_order_however_long_they_are(ends):
    stream, other = ends
    parts = (b"head", bytes(range(256)) * 20_000, b"", memoryview(b"tail"))
    thread = threading.Thread(target=lambda: stream.send(parts, more=True))
    thread.start()
    assert taken(other, 8 + 256 * 20_000) == b"".join(parts)
    thread.join()


def test_bytes_are_received_as_they_come(ends):
    stream, other = ends
    other.sendall(b"abc")
    buffer = bytearray(10)
    assert stream.receive_into(buffer) == 3
    assert buffer[:3] == b"abc"
    other.close()
    with pytest.raises(Gone):
        stream.receive_into(buffer)


def test_a_file_is_sent_up_to_its_end(ends, tmp_path):
    stream, other = ends
    (tmp_path / "file").write_bytes(b"x" + bytes(range(256)) * 4000)
    file = OsPort().open_read(str(tmp_path / "file"))
    try:
        done = []
        thread = threading.Thread(target=lambda: done.append(stream.send_file(file, 1, 2 * MIB)))
        thread.start()
        assert taken(other, 256 * 4000) == bytes(range(256)) * 4000
        thread.join()
        assert done == [256 * 4000]
        assert stream.send_file(file, 5 * MIB, 10) == 0
    finally:
        file.close()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
def test_what_the_host_cannot_send_is_left_to_the_caller(ends, tmp_path, monkeypatch, number):
    stream, _other = ends
    (tmp_path / "file").write_bytes(b"content")
    file = OsPort().open_read(str(tmp_path / "file"))

    def refuse(*_arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(sockets.os, "sendfile", refuse, raising=False)
    assert stream.send_file(file, 0, 7) == 0
    file.close()


def test_a_file_that_is_none_of_the_host_is_left_to_the_caller(ends):
    port = MemoryPort()
    assert ends[0].send_file(port.create("/file"), 0, 7) == 0


def test_patience_ends(ends):
    stream, _other = ends
    stream.set_patience(0.02)
    with pytest.raises(Stalled):
        stream.receive_into(bytearray(1))
    with pytest.raises(Stalled):
        stream.send((bytes(64 * MIB),))


def test_a_client_that_is_gone_is_gone(ends, tmp_path):
    stream, other = ends
    (tmp_path / "file").write_bytes(bytes(4 * MIB))
    file = OsPort().open_read(str(tmp_path / "file"))
    other.close()
    with pytest.raises(Gone):
        stream.send((bytes(4 * MIB),))
    with pytest.raises(Gone):
        stream.send_file(file, 0, 4 * MIB)
    file.close()


@pytest.fixture(name="folder")
def folder_fixture():
    with short_folder() as folder:
        yield folder


@pytest.fixture(name="stop")
def stop_fixture():
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_a_unix_socket_is_for_its_owner_and_takes_clients(folder, stop):
    listener = listen_unix(f"{folder}/socket", stop[0])
    try:
        assert stat.S_IMODE(os.lstat(f"{folder}/socket").st_mode) == 0o600
        assert listener.port_number == 0
        assert listener.accept(0) is None
        with connected(f"{folder}/socket") as client:
            stream = listener.accept(30)
            stream.send((b"hello",))
            assert client.recv(5) == b"hello"
            stream.close()
        os.write(stop[1], b"x")
        assert listener.accept(None) is None
    finally:
        listener.close()


def test_the_socket_is_in_no_folder_behind_a_link_and_the_process_stays_where_it_is(folder, stop):
    os.mkdir(f"{folder}/victim")
    os.symlink("victim", f"{folder}/link")
    here = os.getcwd()
    with pytest.raises(Escape):
        listen_unix(f"{folder}/link/socket", stop[0])
    assert os.listdir(f"{folder}/victim") == [] and os.getcwd() == here
    listen_unix(f"{folder}/victim/socket", stop[0]).close()
    assert os.getcwd() == here


def test_an_access_control_list_of_the_folder_lets_nobody_in(folder, stop):
    nobody, entry = 0xFFFFFFFF, struct.Struct("<HHI")
    entries = ((1, 7, nobody), (2, 7, 1234), (4, 7, nobody), (16, 7, nobody), (32, 7, nobody))
    given = struct.pack("<I", 2) + b"".join(entry.pack(*one) for one in entries)
    try:
        os.setxattr(folder, "system.posix_acl_default", given)
    except (OSError, AttributeError):
        pytest.skip("the file system has no access control lists")
    listener = listen_unix(f"{folder}/socket", stop[0])
    listener.close()
    assert stat.S_IMODE(os.lstat(f"{folder}/socket").st_mode) == 0o600
    try:
        left = os.getxattr(f"{folder}/socket", "system.posix_acl_access", follow_symlinks=False)
    except OSError:
        # The file system gives sockets no list.
        return
    # With a mask of nothing, the entries of others are worth nothing.
    assert dict(entry.unpack_from(left, at)[:2] for at in range(4, len(left), 8))[16] == 0


def test_a_tcp_socket_takes_clients_at_a_port_of_its_own(stop):
    listener = listen_tcp("127.0.0.1", 0, stop[0])
    try:
        with socket.create_connection(("127.0.0.1", listener.port_number), 30) as client:
            stream = listener.accept(30)
            stream.send((b"hello",), more=True)
            stream.send((b"!",))
            assert client.recv(1)
            stream.close()
        for refuse in (lambda number: listen_tcp("127.0.0.1", number, stop[0]), lambda n: refuse_taken("127.0.0.1", n)):
            with pytest.raises(AlreadyExists):
                refuse(listener.port_number)
    finally:
        listener.close()
    refuse_taken("127.0.0.1", 0)


def test_a_place_that_is_taken_or_missing_is_refused(folder, stop):
    open(f"{folder}/taken", "wb").close()
    with pytest.raises(AlreadyExists):
        listen_unix(f"{folder}/taken", stop[0])
    with pytest.raises(IoFailure):
        listen_unix(f"{folder}/no/where", stop[0])
    assert os.listdir(folder) == ["taken"]


def test_a_path_that_is_too_long_is_refused_before_the_host_does(folder, stop):
    fitting = f"{folder}/".ljust(LONGEST_SOCKET_PATH, "x")
    listen_unix(fitting, stop[0]).close()
    with pytest.raises(BadRequest) as caught:
        listen_unix(fitting + "x", stop[0])
    assert caught.value.found == LONGEST_SOCKET_PATH + 1
    with pytest.raises(BadRequest):
        refuse_long("/tmp/" + "ä" * 60)


@pytest.mark.parametrize(
    ("address", "is_near"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("0.0.0.0", False), ("::", False), ("192.0.2.1", False)],
)
def test_which_addresses_only_this_host_reaches(address, is_near):
    assert is_loopback(address) is is_near


@pytest.mark.parametrize("address", ["", "localhost", "127.0.0.1:80", "::1%lo/x", "1.2.3"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(BadRequest):
        is_loopback(address)

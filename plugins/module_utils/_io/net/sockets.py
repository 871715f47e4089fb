# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sockets of the host behind ``streams``: UNIX sockets and TCP, for a server with a thread for each client."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import stat as modes
import struct
from typing import Optional, Sequence, Union

from ..._core.errors import AlreadyExists, BadRequest, DiskError, IoFailure, StalePlan
from ..failures import HOST_ERRORS, REFUSED, translated
from ..host.names import Names
from ..kernel import release
from ..port import Buffer, File
from ..real import OsFile
from .streams import Gone, Stalled

LONGEST_SOCKET_PATH = 103
"""Bytes that every host takes: Linux 107, macOS 103."""

_BACKLOG = 128
_MORE = getattr(socket, "MSG_MORE", 0)
_LONGEST_SEND = 1 << 30
_QUIET = (errno.EAGAIN, errno.EWOULDBLOCK)


class SocketStream:
    """A connected socket. Implements ``Stream``."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def set_patience(self, seconds: float) -> None:
        """By the kernel's own timeouts: the socket stays a blocking one, so that a read is one system call."""
        limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(socket.SOL_SOCKET, option, limit)

    def receive_into(self, buffer: Union[bytearray, memoryview]) -> int:
        """Wait for bytes and take what there is; at least one."""
        try:
            count = self._socket.recv_into(buffer)
        except OSError as error:
            raise _lost(error) from error
        if not count:
            raise Gone
        return count

    def send(self, parts: Sequence[Buffer], *, more: bool = False) -> None:
        """Send all parts."""
        left = [memoryview(part) for part in parts]
        try:
            while left:
                count = self._socket.sendmsg(left, (), _MORE if more else 0)
                while left and count >= len(left[0]):
                    count -= len(left.pop(0))
                if count:
                    left[0] = left[0][count:]
        except OSError as error:
            raise _lost(error) from error

    def send_file(self, file: File, offset: int, length: int) -> int:
        """Let the kernel send bytes of a file; returns how many it did."""
        if not isinstance(file, OsFile):
            return 0
        done = 0
        here, there = self._socket.fileno(), file._descriptor  # pylint: disable=protected-access
        try:
            while done < length:
                step = os.sendfile(here, there, offset + done, min(length - done, _LONGEST_SEND))
                if not step:
                    break
                done += step
        except OSError as error:
            # A file system without it, or a block that cannot be read: reading it says what is wrong.
            if error.errno not in REFUSED and error.errno != errno.EIO:
                raise _lost(error) from error
        return done

    def close(self) -> None:
        """End the connection; a second call does nothing."""
        self._socket.close()


def _lost(error: OSError) -> Exception:
    return Stalled() if error.errno in _QUIET else Gone(str(error))


class SocketListener:
    """A listening socket. Implements ``Listener``.

    ``stop`` is a descriptor that is readable when it is time to end, or -1.
    """

    def __init__(self, listening: socket.socket, stop: int) -> None:
        self._socket = listening
        self._stop = stop
        self.port_number: int = 0 if listening.family == socket.AF_UNIX else listening.getsockname()[1]
        self._poll = select.poll()
        for descriptor in (listening.fileno(), *((stop,) if stop >= 0 else ())):
            self._poll.register(descriptor, select.POLLIN)

    def accept(self, timeout: Optional[float]) -> Optional[SocketStream]:
        """The next client; None when none has come in time, or when the process is to end."""
        ready = [number for number, _event in self._poll.poll(None if timeout is None else timeout * 1000)]
        if self._stop in ready or self._socket.fileno() not in ready:
            return None
        try:
            connection, _address = self._socket.accept()
        except OSError:
            # It has left again, or there are too many files: the next one may fare better.
            return None
        connection.setblocking(True)
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return SocketStream(connection)

    def close(self) -> None:
        """Take no more clients."""
        self._socket.close()


def listen_unix(path: str, stop: int) -> SocketListener:
    """Listen at a path that nothing has yet, and no link is on the way to; only the owner may connect.

    Raises what ``refuse_long`` does. For a moment the process works in the folder of the path.
    """
    refuse_long(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _bind(listening, path)
        # Who comes before this is refused, so nobody has come while others might have.
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except DiskError:
        listening.close()
        raise
    except HOST_ERRORS as error:
        listening.close()
        raise _not_bound(error, path) from error
    return SocketListener(listening, stop)


def _bind(listening: socket.socket, path: str) -> None:
    names = Names()
    here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    before = os.umask(0o177)
    try:
        folder, name, _path = names.place(path)
        os.fchdir(folder)
        listening.bind(name)
        _close_to_others(folder, name, path)
    finally:
        os.umask(before)
        os.fchdir(here)
        release(here)
        names.close()


def _close_to_others(folder: int, name: str, path: str) -> None:
    """Let only the owner connect: an access control list that the folder gives to new files overrides the umask."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, 0o600, dir_fd=folder, follow_symlinks=False)
        return
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        facts = os.fstat(descriptor)
        if not modes.S_ISSOCK(facts.st_mode) or facts.st_uid != os.geteuid():
            raise StalePlan("Somebody put another file in the place of the socket", path=path, hint="Choose another.")
        if modes.S_IMODE(facts.st_mode) != 0o600:
            os.chmod(f"/proc/self/fd/{descriptor}", 0o600)
    finally:
        release(descriptor)


def listen_tcp(address: str, number: int, stop: int) -> SocketListener:
    """Listen at an IP address; with number 0 the host chooses the port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, number))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except HOST_ERRORS as error:
        listening.close()
        raise _not_bound(error, f"{address} port {number}") from error
    return SocketListener(listening, stop)


def refuse_taken(address: str, number: int) -> None:
    """Raise what ``listen_tcp`` would raise there now."""
    # It listens for a moment: nothing else tells whether that is possible.
    listen_tcp(address, number, -1).close()


def _not_bound(error: BaseException, where: str) -> DiskError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return AlreadyExists(f"Something else is at {where}", path=where, hint="Choose another one, or remove it.")
    failed = translated(error, "listen at", where)
    # A missing folder is no missing disk.
    return failed if isinstance(failed, IoFailure) else IoFailure(failed.message, path=where, found=failed.found)


def refuse_long(path: str) -> None:
    """Raise BadRequest for a path that is too long for a UNIX socket."""
    length = len(os.fsencode(path))
    if length > LONGEST_SOCKET_PATH:
        raise BadRequest(
            f"socket: the path has {length} bytes, and a UNIX socket may have {LONGEST_SOCKET_PATH}",
            path=path,
            expected=f"at most {LONGEST_SOCKET_PATH} bytes",
            found=length,
            hint="Choose a shorter one, such as /run/disk.sock.",
        )


def is_loopback(address: str) -> bool:
    """Whether only this host can reach an IP address. Raises BadRequest for what is no IP address."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError as error:
        hint = "Write an IP address such as 127.0.0.1 or ::1; names are not looked up."
        raise BadRequest(f"address: {address!r} is no IP address", found=address, hint=hint) from error

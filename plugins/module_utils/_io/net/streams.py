# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Connections of the port: what a server needs of sockets. ``sockets`` is the operating system behind it."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Optional, Protocol, Sequence, Union

from ..port import Buffer, File


class Gone(Exception):
    """The other side has closed the connection, or it broke."""


class Stalled(Exception):
    """The other side neither sent nor took a byte for as long as the stream has patience."""


class Stream(Protocol):
    """A connection to one client. Used by one thread at a time."""

    def set_patience(self, seconds: float) -> None:
        """How long to wait for the other side before it counts as Stalled."""

    def receive_into(self, buffer: Union[bytearray, memoryview]) -> int:
        """Wait for bytes and take what there is; at least one. Raises Gone and Stalled."""

    def send(self, parts: Sequence[Buffer], *, more: bool = False) -> None:
        """Send all parts; with ``more`` something follows at once. Raises Gone and Stalled."""

    def send_file(self, file: File, offset: int, length: int) -> int:
        """Let the kernel send bytes of a file.

        Returns how many it did: fewer at the end of the file, and where the host cannot. Raises Gone and Stalled.
        """

    def close(self) -> None:
        """End the connection; a second call does nothing."""


class Listener(Protocol):
    """A place where clients connect."""

    port_number: int
    """The TCP port, 0 for a UNIX socket."""

    def accept(self, timeout: Optional[float]) -> Optional[Stream]:
        """The next client; None when none has come in ``timeout`` seconds, or when the process is to end."""

    def close(self) -> None:
        """Take no more clients."""

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""UNIX sockets, whose paths the kernel limits to 108 bytes (104 on macOS), wherever a test's folder is."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from contextlib import contextmanager
from typing import Iterator, Tuple

MOST_BYTES = 64
"""The longest path of a short folder; what a program appends to it has room up to the limit."""


@contextmanager
def short_folder() -> Iterator[str]:
    """A private folder with a short path, for sockets of other programs; it goes away with the block."""
    folder = tempfile.mkdtemp(prefix="vdisk-", dir=_short_place())
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _short_place() -> str:
    places = [tempfile.gettempdir(), "/tmp", "/var/tmp"]
    fitting = [place for place in places if len(os.fsencode(place)) + 16 <= MOST_BYTES and os.access(place, os.W_OK)]
    return fitting[0]


def make_socket(path: str) -> None:
    """A socket at ``path``, of any length, that nobody listens to.

    It is bound below the current folder, as a name may be longer than a socket's path as well.
    """
    before = os.getcwd()
    os.chdir(os.path.dirname(path))
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(".socket")
        os.rename(".socket", os.path.basename(path))
    finally:
        os.chdir(before)


def connected(path: str) -> socket.socket:
    """A connection to the UNIX socket at ``path``; it waits half a minute at the most."""
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(30)
    made.connect(path)
    return made


def two_ends() -> Tuple[socket.socket, socket.socket]:
    """Two connected sockets; neither waits longer than half a minute."""
    one, other = socket.socketpair(socket.AF_UNIX)
    other.settimeout(30)
    return one, other

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which disk is served, and holding it so that it stays as it is."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath

from ..._bundle.guards import refuse_encrypted
from ..._core.errors import AlreadyExists, IoFailure
from ..._guest.source import Source, open_source
from ..._io.fingerprint import refuse_changed
from ..._io.net.sockets import refuse_long, refuse_taken
from ..._io.port import DIRECTORY, Lock, Port
from ..convert.choose_source import choose_source
from ..convert.request import SourceRequest
from .request import Endpoint


def choose_disk(port: Port, request: SourceRequest) -> Source:
    """The disk to serve. Raises what ``choose_source`` does, and Encrypted."""
    source = choose_source(port, request)
    if source.state is not None:
        refuse_encrypted(source.state)
    return source


def hold(port: Port, source: Source) -> Lock:
    """Hold every file of a disk for reading: whoever changes disks is refused, whoever reads them is not.

    All images are held, not just those of the snapshot, as somebody who writes to one may remove others. Raises InUse
    with who writes, and StalePlan when the disk is no longer what was chosen.
    """
    state = source.state
    if state is None:
        lock = port.lock((), tuple(path for path, _seen in source.fingerprint), for_reading=True)
    else:
        folders = (state.location.directory,) if state.is_bundle else ()
        lock = port.lock(folders, tuple(image.path for image in state.images.values()), for_reading=True)
    try:
        refuse_changed(port, source.fingerprint)
    except BaseException:
        lock.release()
        raise
    return lock


def refuse_unservable(port: Port, source: Source) -> None:
    """Raise what serving the disk would raise now; nothing is held or open afterwards."""
    lock = hold(port, source)
    try:
        open_source(port, source).close()
    finally:
        lock.release()


def refuse_place(port: Port, endpoint: Endpoint) -> None:
    """Raise what listening there would raise now."""
    if endpoint.socket is None:
        refuse_taken(endpoint.address or "", endpoint.port or 0)
        return
    refuse_long(endpoint.socket)
    folder = posixpath.dirname(endpoint.socket)
    stat = port.stat(folder)
    if stat is None or stat.kind != DIRECTORY:
        raise IoFailure("There is no directory for the socket", path=folder, hint="Make it, or choose another one.")
    if port.lstat(endpoint.socket) is not None:
        place = endpoint.socket
        raise AlreadyExists(f"Something else is at {place}", path=place, hint="Choose another one, or remove it.")

# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The servers of this user on this host: each has a folder of its own in the run folder, and holds a lock on it.

::

    /run/vdisk-nbd-0            the run folder, mode 0700; locked while a server starts or is looked for to be ended
      3f2a…/                    one server; locked by it as long as it lives, whatever number its process has
        server.json             what it serves, where, and as which process
        socket                  unless the user has chosen another place
        log
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import hashlib
import json
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ..._core.errors import AlreadyExists, DiskError, InUse, IoFailure
from ..._core.records import dataclass
from ..._io.durable import read_file
from ..._io.net.detached import end_process, start_time
from ..._io.port import DIRECTORY, Lock, Port
from ..._io.process import own_user_id, setting, umask, use_umask
from ..._io.remove import remove_tree
from .request import Endpoint

FACTS, SOCKET, LOG = "server.json", "socket", "log"

_LONGEST_FACTS = 1 << 16
_LOCK_SECONDS = 30.0
_END_SECONDS = 10.0
_STEP = 0.05


@dataclass(frozen=True)
class Served:
    """A server that is running. ``snapshot`` is the GUID of the layer it shows, None for images without any.

    ``started`` is the time of its process in the kernel's words, ``socket_id`` device and inode of its socket.
    """

    folder: str
    pid: int
    started: Optional[str]
    uri: str
    path: str
    snapshot: Optional[str]
    name: Optional[str]
    size: int
    socket: Optional[str]
    socket_id: Optional[List[int]]
    address: Optional[str]
    port: Optional[int]
    idle_timeout: int
    max_clients: int

    @property
    def log(self) -> str:
        """Where it writes what happens."""
        return f"{self.folder}/{LOG}"

    def is_at(self, endpoint: Endpoint) -> bool:
        """Whether it is where it is wanted; port 0 means any of the address."""
        if endpoint.wants_nothing:
            return True
        if endpoint.socket is not None:
            return self.socket == endpoint.socket
        return self.address == endpoint.address and endpoint.port in (0, None, self.port)

    def shows(self, path: str, wanted: Optional[str]) -> bool:
        """Whether it serves this disk, at the snapshot of this name or GUID if one is wanted."""
        return self.path == path and (wanted is None or wanted in (self.snapshot, self.name))


def is_reachable(port: Port, served: Served) -> bool:
    """Whether a server's socket is still where it was; somebody may have tidied up."""
    if served.socket is None:
        return True
    stat = port.lstat(served.socket)
    return stat is not None and [stat.device, stat.inode] == served.socket_id


def run_folder(port: Port) -> str:
    """Where the servers of this user are, whether or not it exists."""
    chosen = setting("VDISK_RUN_FOLDER")
    if chosen is not None:
        return port.real_path(chosen)
    user = own_user_id()
    places = ("/run", "/var/run") if user == 0 else ()
    found = [place for place in places if port.stat(place) is not None]
    return f"{port.real_path((found or ['/tmp'])[0])}/vdisk-nbd-{user}"


def folder_of(run: str, path: str, snapshot: Optional[str], endpoint: Endpoint) -> str:
    """The folder of a server; what is served at two places has two."""
    wanted = json.dumps([path, snapshot, endpoint.socket, endpoint.address, endpoint.port])
    return f"{run}/{hashlib.sha256(wanted.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def running(port: Port, run: str) -> List[Served]:
    """The servers that live. Nothing is changed, whatever is left of others."""
    return [served for _folder, served in _folders(port, run) if served is not None]


def _folders(port: Port, run: str) -> Iterator[Tuple[str, Optional[Served]]]:
    """The folders of servers, with the server where it lives."""
    if port.lstat(run) is None:
        return
    refuse_strange(port, run)
    for name in port.list_directory(run):
        folder = f"{run}/{name}"
        stat = port.lstat(folder)
        if stat is not None and stat.kind == DIRECTORY:
            yield folder, (_read(port, folder) if is_alive(port, folder) else None)


def is_alive(port: Port, folder: str) -> bool:
    """Whether a server holds its folder."""
    try:
        port.lock((folder,), (), for_reading=True).release()
    except InUse:
        return True
    except DiskError:
        return False
    return False


def _read(port: Port, folder: str) -> Optional[Served]:
    try:
        facts: Dict[str, Any] = json.loads(read_file(port, f"{folder}/{FACTS}", limit=_LONGEST_FACTS))
        served = Served(**{**facts, "folder": folder})
        # Numbers below 2 stand for groups of processes and for the host's first.
        return served if isinstance(served.pid, int) and served.pid > 1 else None
    except (DiskError, ValueError, TypeError):
        # It has not written them yet, or they are of another version.
        return None


def write_facts(port: Port, served: Served) -> None:
    """Let others know of a server; its folder is there and locked."""
    facts = {name: getattr(served, name) for name in Served.__annotations__ if name != "folder"}
    # Read whole or not at all, as others look whenever they like.
    file = port.create(f"{served.folder}/{FACTS}.new", 0o600)
    try:
        file.pwrite(0, json.dumps(facts).encode())
    finally:
        file.close()
    port.rename(f"{served.folder}/{FACTS}.new", f"{served.folder}/{FACTS}")


def make_folder(port: Port, path: str) -> None:
    """A folder for this user alone; one that is there must be that."""
    if port.lstat(path) is None:
        before = umask()
        use_umask(0o077)
        try:
            port.make_directory(path)
        except AlreadyExists:
            # Another task has been quicker.
            pass
        finally:
            use_umask(before)
    refuse_strange(port, path)


def refuse_strange(port: Port, path: str) -> None:
    """Raise IoFailure for a run folder that others can reach or have made: they could pose as a server."""
    stat = port.lstat(path)
    if stat is None or stat.kind != DIRECTORY or stat.uid != own_user_id() or stat.mode & 0o077:
        raise IoFailure(
            f"The run folder {path} does not belong to this user alone",
            path=path,
            expected="a directory of this user with mode 0700",
            found=None if stat is None else f"{stat.kind} of user {stat.uid} with mode {stat.mode:04o}",
            hint="Look at who has made it and remove it, or set VDISK_RUN_FOLDER to another one.",
        )


def lock_folder(port: Port, folder: str) -> Lock:
    """Hold a folder: the run folder, so that nobody else starts or ends servers, or that of a server, as its sign of
    life. Raises InUse when another one holds it for half a minute.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            return port.lock((folder,), ())
        except InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(_STEP)


def clear_leftovers(port: Port, run: str) -> List[str]:
    """Remove what servers that died have left; returns their folders. The run folder is locked."""
    dead = [folder for folder, _served in _folders(port, run) if not is_alive(port, folder)]
    for folder in dead:
        remove_server(port, folder, _read(port, folder))
    return dead


def remove_server(port: Port, folder: str, served: Optional[Served]) -> None:
    """Remove the folder of a server and its socket, wherever that is."""
    # Whatever else is there now is somebody else's.
    if served is not None and served.socket is not None and is_reachable(port, served):
        port.remove(served.socket)
    remove_tree(port, folder)


def end_server(port: Port, served: Served) -> None:
    """End a server and remove what is left of it. Raises IoFailure when it does not end."""
    for at_once in (False, True):
        if is_alive(port, served.folder):
            end_process(served.pid, served.started, at_once=at_once)
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            is_there = port.lstat(served.folder) is not None and is_alive(port, served.folder)
            # Its locks on the disk are gone with the process, a moment after its folder.
            if not is_there and start_time(served.pid) != served.started:
                remove_server(port, served.folder, served)
                return
            time.sleep(_STEP)
    raise IoFailure(
        f"The server of {served.path} does not end",
        path=served.path,
        found=f"process {served.pid}",
        hint="Look at its log and at what its process waits for.",
    )

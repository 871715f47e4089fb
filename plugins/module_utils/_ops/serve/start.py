# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Starting a server: the side of who starts it, and the side of the new process.

::

    task    folder - process ............ word of the process - result
    server           lock its folder - hold the disk - open it - listen - let others know - serve - clear up
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import json
from typing import Any, Callable, Dict, Iterator, Tuple, Type

from ..._core.errors import DiskError, IoFailure
from ..._core.records import dataclass
from ..._guest.source import Source, open_source
from ..._io.fingerprint import refuse_changed
from ..._io.net.detached import Stopping, Tell, call_process, print_to, start_detached, start_time
from ..._io.net.sockets import SocketListener, listen_tcp, listen_unix
from ..._io.port import Port
from ..._io.process import process_id
from . import replies
from .choose import hold
from .negotiation import Export
from .pieces import GuestMap
from .registry import LOG, SOCKET, Served, folder_of, lock_folder, make_folder, remove_server, write_facts
from .request import Endpoint, ServeRequest
from .server import Server

PROCESS = "hdd_nbd"
"""What the process is called in the host's lists and in the messages of those that it keeps away."""

_START_SECONDS = 300.0
_ERROR_FIELDS = ("message", "path", "offset", "expected", "found", "hint")


@dataclass(frozen=True)
class Job:
    """A server to be: its folder, and its own access to the host."""

    request: ServeRequest
    folder: str
    new_port: Callable[[], Port]


def start_server(port: Port, request: ServeRequest, run: str, new_port: Callable[[], Port]) -> Served:
    """Start a server and return when it takes clients. The run folder is there and locked.

    Raises what holding and opening the disk and listening raise.
    """
    folder = folder_of(run, request.source.path, request.source.guid, request.endpoint)
    make_folder(port, folder)
    job = Job(request, folder, new_port)
    word = start_detached(lambda tell: _serve(job, tell), patience=_START_SECONDS)
    if not word:
        raise IoFailure(
            "The server ended before it was ready", path=folder, hint=f"Look at {folder}/{LOG}, and run again."
        )
    told: Dict[str, Any] = json.loads(word)
    if "code" in told:
        raise _error(told)
    return Served(**told)


def _serve(job: Job, tell: Tell) -> None:
    """The new process."""
    port = job.new_port()
    try:
        lock_folder(port, job.folder)
        print_to(f"{job.folder}/{LOG}")
        stopping = Stopping()
        server, served = _ready(job, port, stopping)
    except DiskError as error:
        remove_server(port, job.folder, None)
        tell(_word({"code": error.code, **{name: getattr(error, name) for name in _ERROR_FIELDS}}))
        return
    tell(_word({name: getattr(served, name) for name in Served.__annotations__}))
    try:
        server.run(stopping.is_wanted)
    finally:
        remove_server(port, job.folder, served)


def _ready(job: Job, port: Port, stopping: Stopping) -> Tuple[Server, Served]:
    request = job.request
    source = request.source
    call_process(PROCESS)
    hold(port, source)
    view = open_source(port, source)
    _load(source)
    endpoint = request.endpoint
    if endpoint.wants_nothing:
        endpoint = Endpoint(socket=f"{job.folder}/{SOCKET}")
    listener = _listen(endpoint, stopping)
    served = _facts(job, port, endpoint, listener.port_number)
    write_facts(port, served)
    export = Export(_export_name(source), _description(request), source.size)
    guest_map = GuestMap(view, lambda: refuse_changed(port, source.fingerprint))
    return Server(listener, export, replies.Source(view, guest_map), request.limits), served


def _load(source: Source) -> None:
    """Import what is otherwise imported by the first read that needs it: the program's files are gone by then."""
    if source.chain is not None and any(layer.format == "qcow2" for layer in source.chain.layers):
        from ..._formats.qcow2.codec import unpacker

        del unpacker


def _listen(endpoint: Endpoint, stopping: Stopping) -> SocketListener:
    if endpoint.socket is not None:
        return listen_unix(endpoint.socket, stopping.descriptor)
    return listen_tcp(endpoint.address or "", endpoint.port or 0, stopping.descriptor)


def _facts(job: Job, port: Port, endpoint: Endpoint, number: int) -> Served:
    request, pid = job.request, process_id()
    stat = None if endpoint.socket is None else port.lstat(endpoint.socket)
    return Served(
        folder=job.folder,
        pid=pid,
        started=start_time(pid),
        uri=endpoint.uri(number),
        path=request.source.path,
        snapshot=request.source.guid,
        name=request.name,
        size=request.source.size,
        socket=endpoint.socket,
        socket_id=None if stat is None else [stat.device, stat.inode],
        address=endpoint.address,
        port=number if endpoint.socket is None else None,
        idle_timeout=request.limits.idle_seconds,
        max_clients=request.limits.clients,
    )


def _export_name(source: Source) -> str:
    return _printable(source.path.rpartition("/")[2])[:200]


def _description(request: ServeRequest) -> str:
    at = "" if request.name is None else f" at {request.name}"
    return _printable(f"{request.source.path}{at}")[:2000]


def _printable(text: str) -> str:
    """What UTF-8 can say of a path."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _word(facts: Dict[str, Any]) -> bytes:
    return json.dumps(facts, default=str).encode()


def _error(told: Dict[str, Any]) -> DiskError:
    """The error that the process told of."""
    kind = next((kind for kind in _kinds(DiskError) if kind.code == told["code"]), IoFailure)
    error = kind(told["message"])
    for name in _ERROR_FIELDS[1:]:
        setattr(error, name, told[name])
    return error


def _kinds(kind: Type[DiskError]) -> Iterator[Type[DiskError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)

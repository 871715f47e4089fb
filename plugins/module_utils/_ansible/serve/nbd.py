# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_nbd does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from ..._core.errors import BadRequest, NotFound
from ..._io.port import Port
from ..._io.real import OsPort
from ..._ops.serve.registry import (
    LOG,
    SOCKET,
    Served,
    folder_of,
    is_reachable,
    lock_folder,
    make_folder,
    run_folder,
    running,
)
from ..._ops.serve.request import DEFAULT_PORT, Endpoint, ServeRequest
from ..._ops.serve.server import Limits
from ..run import Result, absolute, own_port, titled_diff

_STARTED, _STOPPED = "started", "stopped"


def serve_disk(module: AnsibleModule) -> Result:
    """Make sure that a disk is served, or is not."""
    port = own_port(module)
    path = absolute(port, module.params["path"])
    run = run_folder(port)
    endpoint = _endpoint(port, module.params)
    if module.params["state"] == _STOPPED:
        return _stopped(module, port, run, _wanted(port, module.params, path, run, endpoint))
    return _started(module, port, run, _request(port, module.params, path, endpoint))


def _endpoint(port: Port, params: Mapping[str, Any]) -> Endpoint:
    if params["socket"] is not None:
        from ..._io.net.sockets import refuse_long

        socket = absolute(port, params["socket"], "socket")
        refuse_long(socket)
        return Endpoint(socket=socket)
    if params["address"] is None and params["port"] is None:
        return Endpoint()
    from ..._io.net.sockets import is_loopback

    address = "127.0.0.1" if params["address"] in (None, "localhost") else params["address"]
    number = DEFAULT_PORT if params["port"] is None else params["port"]
    if not 0 <= number <= 65535:
        raise BadRequest("port: there is no such port", found=number, expected="0 to 65535")
    if not is_loopback(address) and not params["allow_remote"]:
        raise BadRequest(
            f"address: other hosts can reach {address}, and there is neither encryption nor a password",
            found=address,
            hint="Use 127.0.0.1 and a tunnel such as ssh -L, or set allow_remote: true in a network that you trust.",
        )
    return Endpoint(address=address, port=number)


def _request(port: Port, params: Mapping[str, Any], path: str, endpoint: Endpoint) -> ServeRequest:
    from ..._ops.convert.request import SourceRequest
    from ..._ops.serve.choose import choose_disk

    for option, least in (("idle_timeout", 0), ("max_clients", 1)):
        if params[option] < least:
            raise BadRequest(f"{option}: the least is {least}", found=params[option])
    wanted = SourceRequest(
        path,
        format=params["src_format"],
        snapshot=params["snapshot"],
        allow_outside=params["allow_outside"],
        backing=params["backing"],
        force=params["force"],
    )
    source = choose_disk(port, wanted)
    limits = Limits(params["idle_timeout"], params["max_clients"])
    return ServeRequest(source, endpoint, limits, params["snapshot"])


def _started(module: AnsibleModule, port: Port, run: str, request: ServeRequest) -> Result:
    found = _serving(port, run, request)
    if found is not None and is_reachable(port, found):
        return _result(found, warnings=_of_running(found, request), is_new=False)
    warnings = _warnings(request)
    if module.check_mode:
        return _predicted(port, run, request, warnings)
    from ..._ops.serve.registry import clear_leftovers, end_server
    from ..._ops.serve.start import start_server

    make_folder(port, run)
    lock = lock_folder(port, run)
    try:
        found = _serving(port, run, request)
        if found is not None and is_reachable(port, found):
            return _result(found, warnings=_of_running(found, request), is_new=False)
        if found is not None:
            end_server(port, found)
        clear_leftovers(port, run)
        served = start_server(port, request, run, OsPort)
    finally:
        lock.release()
    return _result(served, warnings=warnings, is_new=True)


def _serving(port: Port, run: str, request: ServeRequest) -> Optional[Served]:
    """The server that does what is asked for already."""
    source = request.source
    for served in running(port, run):
        if (served.path, served.snapshot) == (source.path, source.guid) and served.is_at(request.endpoint):
            return served
    return None


def _other_limits(served: Served, request: ServeRequest) -> List[str]:
    limits = request.limits
    if (served.idle_timeout, served.max_clients) == (limits.idle_seconds, limits.clients):
        return []
    now = f"idle_timeout {served.idle_timeout} and max_clients {served.max_clients}"
    return [f"The server runs with {now}; to change that, stop it first."]


def _of_running(served: Served, request: ServeRequest) -> List[str]:
    return [*_other_limits(served, request), *_warnings(request)]


def _warnings(request: ServeRequest) -> List[str]:
    found: List[str] = []
    if request.source.state is not None:
        from ..._bundle.guards import warnings_for_readers

        found += warnings_for_readers(request.source.state)
    if request.source.chain is not None:
        found += request.source.chain.warnings
    if request.endpoint.address is not None:
        found.append(
            f"Every user of this host can read the disk at {request.endpoint.uri()}; a socket is for one user."
        )
    return found


def _predicted(port: Port, run: str, request: ServeRequest, warnings: Sequence[str]) -> Result:
    """What would be served. Raises what a run would raise."""
    from ..._io.net.sockets import refuse_long
    from ..._ops.serve.choose import refuse_place, refuse_unservable

    source, endpoint = request.source, request.endpoint
    refuse_unservable(port, source)
    folder = folder_of(run, source.path, source.guid, endpoint)
    if endpoint.wants_nothing:
        endpoint = Endpoint(socket=f"{folder}/{SOCKET}")
        refuse_long(f"{folder}/{SOCKET}")
    else:
        refuse_place(port, endpoint)
    uri = None if endpoint.port == 0 else endpoint.uri()
    facts = {"uri": uri, "pid": None, "size": source.size, "snapshot": source.guid, "log": f"{folder}/{LOG}"}
    return {**facts, "changed": True, "warnings": warnings, "diff": _diff(source.path, None, uri)}


def _result(served: Served, *, warnings: Sequence[str], is_new: bool) -> Result:
    return {
        "uri": served.uri,
        "pid": served.pid,
        "size": served.size,
        "snapshot": served.snapshot,
        "log": served.log,
        "changed": is_new,
        "warnings": warnings,
        "diff": _diff(served.path, None if is_new else served.uri, served.uri),
    }


def _diff(path: str, before: Optional[str], after: Optional[str]) -> Dict[str, Any]:
    return titled_diff(f"{path} (server)", _lines(before), _lines(after))


def _lines(uri: Optional[str]) -> Dict[str, Any]:
    return {"state": _STOPPED} if uri is None else {"state": _STARTED, "uri": uri}


def _wanted(port: Port, params: Mapping[str, Any], path: str, run: str, endpoint: Endpoint) -> Tuple[Served, ...]:
    """The servers to end. The disk itself may be gone."""
    known = running(port, run)
    if not any(served.path == path for served in known):
        path = _disk_of(port, path)
    snapshot = params["snapshot"]
    return tuple(served for served in known if served.shows(path, snapshot) and served.is_at(endpoint))


def _disk_of(port: Port, path: str) -> str:
    """What a server calls the disk at a path, such as its bundle for the descriptor."""
    from ..._bundle.paths import locate
    from ..._core.errors import DiskError

    try:
        location = locate(port, path)
        return location.directory if location.kind == "bundle" else port.real_path(path)
    except NotFound:
        return path
    except DiskError:
        return port.real_path(path)


def _stopped(module: AnsibleModule, port: Port, run: str, wanted: Sequence[Served]) -> Result:
    path = module.params["path"]
    uri = wanted[0].uri if wanted else None
    result: Result = {"changed": bool(wanted), "diff": _diff(path, uri, None)}
    if not wanted or module.check_mode:
        return result
    from ..._ops.serve.registry import end_server

    lock = lock_folder(port, run)
    try:
        for served in wanted:
            end_server(port, served)
    finally:
        lock.release()
    return result

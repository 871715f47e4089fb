# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Servers that a test starts, in a run folder of its own, and that do not outlive it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List
from urllib.parse import parse_qs, urlsplit

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import IoFailure
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import registry
from ansible_collections.vdisk.parallels.tests.support.nbd import Client
from ansible_collections.vdisk.parallels.tests.support.sockets import connected, short_folder

VARIABLE = "VDISK_RUN_FOLDER"


@contextmanager
def run_folder() -> Iterator[str]:
    """A run folder for the servers of a test; those that are left at its end are ended by force."""
    before = os.environ.get(VARIABLE)
    with short_folder() as folder:
        os.environ[VARIABLE] = os.path.realpath(folder) + "/run"
        try:
            yield os.environ[VARIABLE]
        finally:
            for served in _left(os.environ[VARIABLE]):
                os.kill(served.pid, signal.SIGKILL)
                wait_until(lambda folder=served.folder: not registry.is_alive(OsPort(), folder))  # type: ignore[misc]
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before


def _left(folder: str) -> List[registry.Served]:
    try:
        return registry.running(OsPort(), folder)
    except IoFailure:
        # What the test has put there is no run folder.
        return []


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what must come; half a minute is far more than it takes."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def socket_of(result: Dict[str, Any]) -> str:
    """The path of the socket that a result of hdd_nbd names."""
    return parse_qs(urlsplit(result["uri"]).query)["socket"][0]


@contextmanager
def client_of(result: Dict[str, Any]) -> Iterator[Client]:
    """A client of the server that a result of hdd_nbd tells of."""
    with connected(socket_of(result)) as connection:
        yield Client(connection)


def content_of(result: Dict[str, Any]) -> bytes:
    """The whole disk, read from the server."""
    with client_of(result) as client:
        size = client.begin(structured=True)
        assert size == result["size"]
        return b"".join(client.read(start, min(1 << 20, size - start)) for start in range(0, size, 1 << 20))

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The run folder: which servers live, what is left of dead ones, and whom it is trusted from."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import InUse, IoFailure
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._io.process import own_user_id
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve import registry
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.registry import Served, folder_of, run_folder
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.serve.request import Endpoint
from ansible_collections.vdisk.parallels.tests.support.sockets import make_socket, short_folder

PATH = "/vms/mac.hdd"
GUID = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"


@pytest.fixture(name="port")
def port_fixture():
    return OsPort()


@pytest.fixture(name="run")
def run_fixture(port):
    with short_folder() as folder:
        registry.make_folder(port, folder + "/run")
        yield folder + "/run"


def served_in(port, run, name="one", **changes):
    folder = f"{run}/{name}"
    registry.make_folder(port, folder)
    served = Served(
        folder, os.getpid(), None, "nbd://x", PATH, GUID, "before", 512, None, None, "127.0.0.1", 10809, 0, 64
    )
    served = replace(served, **changes)
    registry.write_facts(port, served)
    return served


def test_a_server_lives_as_long_as_it_holds_its_folder(port, run):
    served = served_in(port, run)
    assert registry.running(port, run) == []
    holder = OsPort().lock((served.folder,), ())
    assert registry.running(port, run) == [served]
    assert registry.clear_leftovers(port, run) == []
    holder.release()
    assert registry.running(port, run) == []
    assert registry.clear_leftovers(port, run) == [served.folder]
    assert os.listdir(run) == []


def test_one_that_has_not_written_yet_or_is_of_another_version_is_left_alone(port, run):
    for name, content in {"a": None, "b": "{", "c": '{"pid": 1}', "d": "[]", "e": "x" * 70_000}.items():
        registry.make_folder(port, f"{run}/{name}")
        if content is not None:
            with open(f"{run}/{name}/server.json", "w", encoding="utf-8") as stream:
                stream.write(content)
    held = OsPort().lock(tuple(f"{run}/{name}" for name in "abcde"), ())
    assert registry.running(port, run) == []
    assert registry.clear_leftovers(port, run) == []
    held.release()


@pytest.mark.parametrize("pid", [-1, 0, 1, "1", None, 2.5])
def test_numbers_that_stand_for_more_than_one_process_are_no_servers(port, run, pid):
    """Who can write there can do more; a file that was damaged must not end the processes of a user."""
    served = served_in(port, run, pid=pid)
    holder = OsPort().lock((served.folder,), ())
    assert registry.running(port, run) == []
    holder.release()


def test_without_a_run_folder_nobody_lives(port, run):
    assert registry.running(port, run + "/none") == []


def test_only_the_socket_that_was_the_servers_goes_with_it(port, run):
    path = os.path.dirname(run) + "/socket"
    make_socket(path)
    facts = os.lstat(path)
    served = served_in(port, run, socket=path, socket_id=[facts.st_dev, facts.st_ino])
    assert registry.is_reachable(port, served)
    registry.remove_server(port, served.folder, replace(served, socket_id=[facts.st_dev, facts.st_ino + 1]))
    assert os.path.exists(path) and not os.path.exists(served.folder)
    registry.remove_server(port, served.folder, served)
    assert not os.path.exists(path)
    assert not registry.is_reachable(port, served)


@pytest.mark.parametrize(
    ("endpoint", "is_there"),
    [
        (Endpoint(), True),
        (Endpoint(address="127.0.0.1", port=10809), True),
        (Endpoint(address="127.0.0.1", port=0), True),
        (Endpoint(address="127.0.0.1", port=1), False),
        (Endpoint(address="::1", port=10809), False),
        (Endpoint(socket="/run/x"), False),
    ],
)
def test_where_a_server_is(port, run, endpoint, is_there):
    assert served_in(port, run).is_at(endpoint) is is_there


@pytest.mark.parametrize(
    ("path", "wanted", "is_shown"),
    [(PATH, None, True), (PATH, GUID, True), (PATH, "before", True), (PATH, "after", False), ("/x", None, False)],
)
def test_what_a_server_shows(port, run, path, wanted, is_shown):
    assert served_in(port, run).shows(path, wanted) is is_shown


def test_what_is_served_at_two_places_has_two_folders():
    places = [Endpoint(), Endpoint(socket="/a"), Endpoint(address="::1", port=1), Endpoint(address="::1", port=2)]
    found = {folder_of("/run", path, guid, place) for path in (PATH, "/x") for guid in (GUID, None) for place in places}
    assert len(found) == 16
    assert folder_of("/run", PATH, GUID, Endpoint()) == folder_of("/run", PATH, GUID, Endpoint())
    assert folder_of("/run", "/vms/\udcff.hdd", GUID, Endpoint())


def test_the_run_folder_of_a_user(port, monkeypatch):
    monkeypatch.delenv("VDISK_RUN_FOLDER", raising=False)
    monkeypatch.setattr(registry, "own_user_id", lambda: 1000)
    assert run_folder(port) == os.path.realpath("/tmp") + "/vdisk-nbd-1000"
    monkeypatch.setattr(registry, "own_user_id", lambda: 0)
    assert run_folder(port).endswith("/run/vdisk-nbd-0")
    monkeypatch.setenv("VDISK_RUN_FOLDER", "/else/where")
    assert run_folder(port) == "/else/where"


def test_a_folder_is_made_for_its_owner_alone_whatever_the_mask(port, run):
    before = os.umask(0)
    try:
        registry.make_folder(port, f"{run}/new")
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert os.stat(f"{run}/new").st_mode & 0o777 == 0o700
    registry.make_folder(port, f"{run}/new")


def test_a_folder_that_another_task_has_just_made_serves_both(run):
    class Late(OsPort):
        """Sees the folder only after it was made."""

        def make_directory(self, path):
            os.mkdir(path, 0o700)
            super().make_directory(path)

    registry.make_folder(Late(), f"{run}/new")
    assert os.stat(f"{run}/new").st_mode & 0o777 == 0o700


def test_a_folder_that_is_not_ones_own_is_refused(port, run, monkeypatch):
    os.symlink(run, run + "2")
    os.mkdir(f"{run}/open")
    os.chmod(f"{run}/open", 0o770)
    for path in (run + "2", f"{run}/open"):
        with pytest.raises(IoFailure):
            registry.make_folder(port, path)
    monkeypatch.setattr(registry, "own_user_id", lambda: own_user_id() + 1)
    with pytest.raises(IoFailure):
        registry.running(port, run)


def test_who_wants_a_folder_waits_for_it(port, run, monkeypatch):
    held = OsPort().lock((run,), ())
    times = []

    def sleep(seconds):
        times.append(seconds)
        if len(times) == 3:
            held.release()

    monkeypatch.setattr(registry.time, "sleep", sleep)
    registry.lock_folder(port, run).release()
    assert len(times) == 3


def test_who_waits_for_a_folder_in_vain_is_told(port, run, monkeypatch):
    held = OsPort().lock((run,), ())
    monkeypatch.setattr(registry, "_LOCK_SECONDS", 0)
    with pytest.raises(InUse):
        registry.lock_folder(port, run)
    held.release()


HOLDER = """
import fcntl, os, signal, sys
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
number = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(number, fcntl.LOCK_EX)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["listens", "deaf"])
def test_a_server_is_ended_by_force_when_it_does_not_listen(port, run, monkeypatch, kind):
    served = served_in(port, run)
    command = [sys.executable, "-c", HOLDER, served.folder, kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        if kind == "deaf":
            monkeypatch.setattr(registry, "_END_SECONDS", 0.2)
        begun = registry.start_time(process.pid)
        registry.end_server(port, replace(served, pid=process.pid, started=begun))
    assert process.returncode in (-15, -9)
    assert os.listdir(run) == []


def test_a_process_that_began_at_another_time_is_not_the_server(port, run, monkeypatch):
    """The number has gone to somebody else; that somebody holds the folder is an accident of this test."""
    served = served_in(port, run, pid=os.getpid(), started="1")
    held = OsPort().lock((served.folder,), ())
    monkeypatch.setattr(registry, "_END_SECONDS", 0.05)
    with pytest.raises(IoFailure):
        registry.end_server(port, served)
    held.release()


def test_facts_are_read_whole_or_not_at_all(port, run):
    served = served_in(port, run)
    assert os.listdir(served.folder) == ["server.json"]
    with open(f"{served.folder}/server.json", encoding="utf-8") as stream:
        assert json.load(stream)["path"] == PATH

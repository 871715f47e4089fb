# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A process that outlives who starts it: what it has, what it has not, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._io.net import detached
from ansible_collections.vdisk.parallels.plugins.module_utils._io.net.detached import (
    end_process,
    start_detached,
    start_time,
)
from ansible_collections.vdisk.parallels.tests.support.served import wait_until

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only /proc tells")


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # One that has ended may still be in the list.
    return start_time(pid) is not None or not sys.platform.startswith("linux")


def test_it_is_alone_and_ends_with_its_work(tmp_path):
    open_here = os.open(str(tmp_path), os.O_RDONLY)
    os.set_inheritable(open_here, True)

    def work(tell):
        facts = {
            "pid": os.getpid(),
            "session": os.getsid(0),
            "parent": os.getppid(),
            "folder": os.getcwd(),
            "umask": os.umask(0),
            "output": [os.path.realpath(f"/dev/fd/{number}") for number in (0, 1, 2)],
            "open": sorted(int(name) for name in os.listdir("/dev/fd")),
        }
        tell(json.dumps(facts).encode())

    told = json.loads(start_detached(work, patience=30))
    os.close(open_here)
    assert told["pid"] != os.getpid() and told["session"] not in (os.getsid(0), told["pid"])
    assert (told["folder"], told["umask"]) == ("/", 0o077)
    assert set(told["output"]) == {"/dev/null"}
    assert len([number for number in told["open"] if number > 2]) <= 3
    wait_until(lambda: not is_there(told["pid"]))


def test_a_long_word_is_told_whole():
    assert start_detached(lambda tell: tell(b"x" * 300_000), patience=30) == b"x" * 300_000


def test_one_that_fails_tells_nothing_and_nothing_of_it_comes_back():
    def work(_tell):
        raise SystemExit(3)

    assert start_detached(work, patience=30) == b""


def test_one_that_says_nothing_is_not_waited_for_for_ever(tmp_path):
    def work(_tell):
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(60)

    assert start_detached(work, patience=0.2) == b""
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_it_hears_when_it_is_to_end_and_writes_where_it_should(tmp_path):
    def work(tell):
        stopping = detached.Stopping()
        detached.print_to(str(tmp_path / "log"))
        assert not stopping.is_wanted()
        detached.call_process("a name that is rather long")
        tell(str(os.getpid()).encode())
        while not stopping.is_wanted():
            time.sleep(0.01)
        print("told to end", flush=True)
        os.write(2, b"indeed")

    pid = int(start_detached(work, patience=30))
    if sys.platform.startswith("linux"):
        with open(f"/proc/{pid}/comm", encoding="ascii") as stream:
            assert stream.read() == "a name that is \n"
    end_process(pid, start_time(pid))
    wait_until(lambda: (tmp_path / "log").read_text() == "told to end\nindeed")
    assert os.stat(tmp_path / "log").st_mode & 0o777 == 0o600


@linux
def test_a_process_is_known_by_number_and_start():
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    begun = start_time(process.pid)
    assert begun is not None and begun.isdigit() and begun == start_time(process.pid)
    end_process(process.pid, "another time", at_once=True)
    assert start_time(process.pid) == begun and process.poll() is None
    end_process(process.pid, begun, at_once=True)
    process.wait()
    process.stdin.close()
    assert start_time(process.pid) is None
    end_process(process.pid, begun)


@linux
@pytest.mark.parametrize("missing", ["pidfd_open", "nothing"])
def test_a_number_that_another_process_has_by_now_is_left_alone(missing, monkeypatch):
    monkeypatch.delattr(os, missing, raising=False)
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        begun = start_time(process.pid)
        for started in (None, "1", begun + "0"):
            for at_once in (False, True):
                end_process(process.pid, started, at_once=at_once)
        assert start_time(process.pid) == begun and process.poll() is None
        process.stdin.close()
        assert process.wait(30) == 0


def test_the_output_goes_to_a_new_file_and_through_no_link(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "folder").symlink_to("victim")
    (tmp_path / "link").symlink_to("victim/log")
    for path in ("folder/log", "link"):
        with pytest.raises(DiskError):
            detached.print_to(str(tmp_path / path))
    assert not list((tmp_path / "victim").iterdir())

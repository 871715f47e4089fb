# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible import progress as subject
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.progress import (
    FINISHING,
    LOOKING,
    WRITING,
    Progress,
    start_progress,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.durable import read_file
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.memory_file import RENAME, SYNC, SYNCDIR, WRITE
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/home/me/.ansible_async/run.progress"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def port() -> MemoryPort:
    port = MemoryPort()
    port.plant_file("/home/me/.ansible_async/other", b"{}")
    return port


def content(port: MemoryPort) -> Dict[str, Any]:
    return json.loads(read_file(port, PATH, limit=1000))


def names(port: MemoryPort) -> List[str]:
    return port.list_directory("/home/me/.ansible_async")


def test_the_file_tells_process_phase_bytes_and_seconds(port: MemoryPort) -> None:
    clock = Clock()
    progress = Progress(port, PATH, clock=clock)
    assert content(port) == {"pid": os.getpid(), "phase": LOOKING, "done": 0, "total": 0, "seconds": 0.0}
    clock.now += 7
    progress.phase(WRITING)
    clock.now += 2.5
    progress(10, 40)
    assert content(port) == {"pid": os.getpid(), "phase": WRITING, "done": 10, "total": 40, "seconds": 2.5}
    progress.close()
    assert names(port) == ["other"]


def test_it_is_written_at_most_every_half_second(port: MemoryPort) -> None:
    clock = Clock()
    progress = Progress(port, PATH, clock=clock)
    progress.phase(WRITING)
    seen = set()
    for step in range(100):
        clock.now += 0.1
        progress(step, 1000)
        seen.add(content(port)["done"])
    # 10 seconds, and what the phase began with.
    assert 15 <= len(seen) <= 21


def test_nothing_is_synced_and_a_reader_never_sees_half_a_file(port: MemoryPort) -> None:
    recording = port.record()
    progress = Progress(port, PATH, clock=Clock())
    progress.phase(WRITING)
    progress.close()
    kinds = [effect.kind for effect in recording.effects]
    assert not {SYNC, SYNCDIR} & set(kinds)
    assert kinds.count(RENAME) == kinds.count(WRITE) == 2
    assert {effect.path for effect in recording.effects if effect.kind == WRITE} == {PATH + ".new"}


def test_when_all_is_written_the_rest_is_finishing(port: MemoryPort) -> None:
    clock = Clock()
    progress = Progress(port, PATH, clock=clock)
    progress(5, 5)
    assert content(port)["phase"] == LOOKING
    progress.phase(WRITING)
    progress(0, 0)
    assert content(port)["phase"] == WRITING
    progress(5, 5)
    assert content(port)["phase"] == FINISHING
    clock.now += 1
    progress(6, 5)
    assert content(port)["phase"] == FINISHING


@pytest.mark.parametrize("call", range(1, 9))
def test_a_file_that_cannot_be_written_disturbs_nothing(port: MemoryPort, call: int) -> None:
    port.fail_call(call, "ENOSPC")
    clock = Clock()
    progress = Progress(port, PATH, clock=clock)
    progress.phase(WRITING)
    clock.now += 1
    progress(1, 2)
    progress.close()
    progress.close()
    assert names(port) == ["other"]


def test_without_its_directory_a_run_goes_on() -> None:
    port = MemoryPort()
    progress = Progress(port, "/nowhere/file")
    progress.phase(WRITING)
    progress.close()
    assert port.lstat("/nowhere") is None


def test_the_umask_is_the_one_of_a_plain_run(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VDISK_PROGRESS_UMASK", "0027")
    masks: List[int] = []
    monkeypatch.setattr(subject, "use_umask", masks.append)
    progress = start_progress(OsPort(), "~/file")
    assert masks == [0o027]
    assert os.stat(tmp_path / "file").st_mode & 0o777 == 0o600
    progress.close()
    assert os.listdir(tmp_path) == []


class TestModule:
    """A module that is asked to tell."""

    @pytest.fixture(autouse=True)
    def told(self, tmp_path, monkeypatch) -> List[str]:
        pytest.importorskip("ansible.module_utils.basic")
        monkeypatch.setenv("VDISK_PROGRESS_FILE", str(tmp_path / "file"))
        monkeypatch.delenv("VDISK_PROGRESS_UMASK", raising=False)
        phases: List[str] = []
        write = Progress._write

        def spy(self: Progress) -> None:
            write(self)
            phases.append(json.loads((tmp_path / "file").read_text())["phase"])

        monkeypatch.setattr(Progress, "_write", spy)
        return phases

    def test_tells_while_it_runs_and_leaves_nothing(self, tmp_path, told) -> None:
        from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed

        (tmp_path / "a.raw").write_bytes(b"x" * (1 << 20))
        result = succeed("hdd_convert", src=str(tmp_path / "a.raw"), dest=str(tmp_path / "b.raw"))
        assert result["changed"]
        assert told == [LOOKING, WRITING, FINISHING]
        assert sorted(os.listdir(tmp_path)) == ["a.raw", "b.raw"]

    def test_tells_nothing_of_a_prediction(self, tmp_path, told) -> None:
        from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed

        (tmp_path / "a.raw").write_bytes(b"x" * (1 << 20))
        succeed("hdd_convert", check=True, src=str(tmp_path / "a.raw"), dest=str(tmp_path / "b.raw"))
        assert told == []
        assert os.listdir(tmp_path) == ["a.raw"]

    def test_leaves_nothing_when_it_fails(self, tmp_path, told) -> None:
        from ansible_collections.vdisk.parallels.tests.support.module_runner import run

        ended = run("hdd_compact", path=str(tmp_path / "none.hdd"))
        assert ended.result["error_code"] == "not_found"
        assert told == [LOOKING]
        assert os.listdir(tmp_path) == []


def test_the_disk_whose_turn_it_is_is_told_with_what_follows(tmp_path) -> None:
    path = tmp_path / "progress"
    now = [0.0]
    progress = Progress(OsPort(), str(path), clock=lambda: now[0])
    for number in range(2):
        now[0] += 1.0
        progress.subject(f"/{number}.hdd", number, 2)
        told = json.loads(path.read_text())
        assert (told["disk"], told["number"], told["count"]) == (f"/{number}.hdd", number, 2)
        assert (told["phase"], told["done"]) == (LOOKING, 0)
        progress.phase(WRITING)
        now[0] += 1.0
        progress(5, 10)
        assert json.loads(path.read_text())["done"] == 5
    progress.close()

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect
from pathlib import Path
from typing import List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io import kernel
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File, Port
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._io.unsynced import unsynced
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


def test_no_file_and_no_directory_is_synced_whatever_opens_it() -> None:
    port = MemoryPort()
    port.plant_file("/vm/old", b"old")
    port.kernel_clones = True
    port.record()
    lazy = unsynced(port)
    source = lazy.open_read("/vm/old")
    files = [lazy.create("/vm/new"), lazy.open_write("/vm/old"), lazy.clone(source, "/vm/clone")]
    for file in files:
        assert file is not None
        file.pwrite(0, b"new")
        file.start_writeback(0, 3)
        file.sync()
        file.close()
    lazy.sync_directory("/vm")
    assert {effect.kind for effect in port.effects} == {"create", "write", "truncate"}
    assert [call for call in port.calls if "sync" in call[0]] == []
    assert port.content("/vm/clone") == b"new" and port.content("/vm/new") == b"new"


def test_files_of_the_port_itself_are_synced_as_ever() -> None:
    port = MemoryPort()
    port.plant_file("/vm/old", b"old")
    unsynced(port).open_write("/vm/old").close()
    file = port.open_write("/vm/old")
    file.sync()
    file.close()
    assert ("sync", "/vm/old") in port.calls


def test_a_host_without_clones_is_heard() -> None:
    port = MemoryPort()
    port.plant_file("/vm/old", b"old")
    assert unsynced(port).clone(port.open_read("/vm/old"), "/vm/clone") is None


def test_all_that_opens_files_for_writing_or_syncs_is_covered() -> None:
    """A method that is added to the port, and gives a file to write, must not go past."""
    given = {
        name
        for name, method in inspect.getmembers(Port, inspect.isfunction)
        if "File" in str(method.__annotations__.get("return", ""))
    }
    assert given == {"open_read", "open_write", "create", "clone"}
    syncing = {name for kind in (Port, File) for name, _method in inspect.getmembers(kind) if "sync" in name}
    assert syncing == {"sync_directory", "sync"}


def test_the_host_is_not_asked_to_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: List[str] = []
    monkeypatch.setattr(kernel, "sync", lambda *_arguments, **_options: asked.append("sync"))
    monkeypatch.setattr(kernel, "sync_file_range", lambda *_arguments: asked.append("range") or True)
    for port in (unsynced(OsPort()), OsPort()):
        file = port.create(str(tmp_path / f"file{len(asked)}"))
        file.pwrite(0, b"x" * 100)
        file.start_writeback(0, 100)
        file.sync()
        file.close()
        port.sync_directory(str(tmp_path))
        if len(asked) == 0:
            asked.append("-")
    assert asked in (["-", "range", "sync", "sync"], ["-", "sync", "sync"])

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    Damaged,
    DiskError,
    IoFailure,
    NotFound,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.durable import read_file, replace_file
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


@pytest.fixture(name="port")
def port_fixture():
    port = MemoryPort()
    port.plant_file("/d/x", b"old", mode=0o640)
    return port


def replace(port, content=b"new content"):
    replace_file(port, "/d/x", content, temporary="/d/x.tmp")


def test_the_content_is_replaced_and_nothing_is_left_over(port):
    replace(port)
    assert port.listing() == {"/d": None, "/d/x": b"new content"}


def test_the_steps_come_in_the_durable_order(port):
    recording = port.record()
    replace(port)
    assert [effect.kind for effect in recording.effects] == [
        "create",
        "write",
        "set_attributes",
        "sync",
        "rename",
        "syncdir",
    ]


def test_mode_and_owner_are_kept_and_the_temporary_is_never_more_open(port):
    port.set_attributes("/d/x", mode=0o640, uid=7, gid=8)
    recording = port.record()
    replace(port)
    facts = port.stat("/d/x")
    assert (facts.mode, facts.uid, facts.gid) == (0o640, 7, 8)
    assert recording.effects[0].attributes[0] & 0o077 == 0


def test_a_new_file_is_made_where_none_was(port):
    replace_file(port, "/d/new", b"x", temporary="/d/new.tmp")
    assert port.content("/d/new") == b"x"


def test_an_empty_content_is_a_content(port):
    replace(port, b"")
    assert port.content("/d/x") == b""


def test_something_at_the_temporary_path_is_left_alone(port):
    port.plant_file("/d/x.tmp", b"of somebody")
    with pytest.raises(AlreadyExists):
        replace(port)
    assert port.listing() == {"/d": None, "/d/x": b"old", "/d/x.tmp": b"of somebody"}


@pytest.mark.parametrize("errno_name", ["EIO", "ENOSPC"])
def test_whatever_call_fails_the_file_is_whole_and_the_temporary_gone(port, errno_name):
    for number in range(1, 100):
        attempt = MemoryPort(port.tree.fork())
        attempt.fail_call(number, errno_name, partial=4)
        try:
            replace(attempt)
        except DiskError:
            name = attempt.calls[number - 1][0]
            assert attempt.listing() == {"/d": None, "/d/x": b"new content" if name == "sync_directory" else b"old"}, (
                name
            )
            assert not any(attempt.opened.values())
        else:
            break
    assert number > 6


def test_when_even_the_removal_fails_the_first_error_is_told(port):
    port.fail_call(6, "EIO", sticky=True)
    with pytest.raises(IoFailure) as caught:
        replace(port)
    assert "take_attributes" in caught.value.message


def test_an_interrupt_removes_the_temporary(port, monkeypatch):
    def interrupted(old, new):
        raise KeyboardInterrupt

    monkeypatch.setattr(port, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace(port)
    assert port.listing() == {"/d": None, "/d/x": b"old"}


def test_it_works_on_the_host(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(0o600)
    replace_file(OsPort(), str(path), b"new", temporary=str(path) + ".tmp")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_file_is_read_whole_up_to_the_limit(port):
    assert read_file(port, "/d/x", limit=3) == b"old"
    with pytest.raises(Damaged) as caught:
        read_file(port, "/d/x", limit=2)
    assert (caught.value.path, caught.value.found) == ("/d/x", 3)
    assert not any(port.opened.values())


def test_a_long_file_is_refused_before_it_is_read(port):
    port.open_write("/d/x").truncate(1 << 50)
    with pytest.raises(Damaged):
        read_file(port, "/d/x", limit=1 << 20)


def test_reading_what_is_absent_or_no_file_is_refused(port):
    with pytest.raises(NotFound):
        read_file(port, "/d/none", limit=10)
    with pytest.raises(Damaged):
        read_file(port, "/d", limit=10)

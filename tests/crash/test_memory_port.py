# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the memory port can do beyond a real one: record, fail on demand, run full, be held by others."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import InUse, IoFailure, NoSpace, NotFound
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import OTHER, Holder
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


@pytest.fixture(name="port")
def port_fixture():
    port = MemoryPort()
    port.plant_file("/d/x", b"content")
    return port


def test_every_effect_is_recorded_with_what_it_did(port):
    recording = port.record()
    port.make_directory("/e")
    file = port.create("/e/a")
    file.pwrite(10, b"bytes")
    file.truncate(100)
    file.allocate(50, 100)
    file.sync()
    port.sync_directory("/e")
    port.set_attributes("/e/a", mode=0o600, uid=1, gid=2)
    port.rename("/e/a", "/e/b")
    port.exchange("/e/b", "/d/x")
    port.remove("/e/b")
    port.remove_directory("/e")
    assert [str(effect) for effect in recording.effects] == [
        "mkdir /e",
        "create /e/a",
        "write /e/a 10+5",
        "truncate /e/a 100",
        "allocate /e/a 50+100",
        "sync /e/a",
        "syncdir /e",
        "set_attributes /e/a",
        "rename /e/a -> /e/b",
        "exchange /e/b <> /d/x",
        "unlink /e/b",
        "rmdir /e",
    ]
    assert recording.effects[2].data == b"bytes"
    assert {effect.inode for effect in recording.effects[1:6]} == {file.inode}


def test_reading_planting_and_looking_are_no_effects(port):
    recording = port.record()
    port.open_read("/d/x").pread_into(0, bytearray(10))
    port.stat("/d/x")
    port.list_directory("/d")
    port.plant_file("/d/y", b"")
    port.lock(("/d",), ("/d/x",)).release()
    assert port.content("/d/x") == b"content"
    assert recording.effects == []


def test_what_was_recorded_starts_from_the_tree_of_then(port):
    recording = port.record()
    port.open_write("/d/x").pwrite(0, b"CHANGED")
    assert MemoryPort(recording.initial).content("/d/x") == b"content"
    assert len(port.record().effects) == 0


def test_the_chosen_call_fails_and_no_other(port):
    file = port.open_write("/d/x")
    port.fail_call(2, "EIO")
    file.pwrite(0, b"1")
    with pytest.raises(IoFailure) as caught:
        file.pwrite(1, b"2")
    assert caught.value.found == "EIO"
    file.pwrite(2, b"3")
    assert port.content("/d/x") == b"1o3tent"


def test_a_failing_write_may_leave_a_part(port):
    file = port.open_write("/d/x")
    recording = port.record()
    port.fail_call(1, "ENOSPC", partial=3)
    with pytest.raises(NoSpace):
        file.pwrite(0, b"12345")
    assert port.content("/d/x") == b"123tent"
    assert [effect.data for effect in recording.effects] == [b"123"]


def test_a_lasting_failure_stays(port):
    port.fail_call(2, "EROFS", sticky=True)
    port.stat("/d/x")
    for _attempt in range(3):
        with pytest.raises(IoFailure):
            port.remove("/d/x")


def test_a_failing_call_does_nothing(port):
    for call in (
        lambda: port.create("/d/new"),
        lambda: port.make_directory("/d/new"),
        lambda: port.rename("/d/x", "/d/new"),
        lambda: port.exchange("/d/x", "/d/x"),
        lambda: port.remove("/d/x"),
        lambda: port.set_attributes("/d/x", mode=0, uid=0, gid=0),
        lambda: port.lock((), ("/d/x",)),
    ):
        recording = port.record()
        before = port.tree.key()
        port.fail_call(1)
        with pytest.raises(IoFailure):
            call()
        assert port.tree.key() == before
        assert recording.effects == []
    assert port.held == {}


def test_a_full_disk_takes_no_new_pages_but_overwrites_and_frees(port):
    port.set_free_space(8192)
    assert port.free_space("/") == 8192
    file = port.create("/d/new")
    file.pwrite(0, b"x" * 8192)
    assert port.free_space("/") == 0
    with pytest.raises(NoSpace):
        file.pwrite(8192, b"y")
    with pytest.raises(NoSpace):
        file.allocate(8192, 1)
    file.pwrite(100, b"z")
    file.truncate(4096)
    assert port.free_space("/") == 4096
    port.remove("/d/new")
    assert port.free_space("/") == 4096
    file.close()
    assert port.free_space("/") == 8192


def test_reserved_space_may_be_written_on_a_full_disk(port):
    file = port.create("/d/new")
    file.allocate(0, 8192)
    port.set_free_space(0)
    file.pwrite(0, b"x" * 8192)
    with pytest.raises(NoSpace):
        file.pwrite(8192, b"x")


def test_a_foreign_holder_is_seen_and_keeps_us_out(port):
    port.plant_holder("/d/x", Holder("write", "qemu (pid 1)"))
    assert port.holders(("/d", "/d/x")) == (("/d/x", Holder("write", "qemu (pid 1)")),)
    with pytest.raises(InUse) as caught:
        port.lock(("/d",), ("/d/x",))
    assert "qemu (pid 1)" in caught.value.hint
    port.plant_holder("/d/x")
    port.lock(("/d",), ("/d/x",)).release()


def test_the_switches_turn_calls_off():
    port = MemoryPort(exchanges=False, kernel_copies=False)
    port.plant_file("/a", b"1")
    port.plant_file("/b", b"2")
    assert not port.exchange("/a", "/b")
    assert port.open_write("/a").copy_from(port.open_read("/b"), 0, 0, 1) == 0
    assert port.content("/a") == b"1"


def test_links_are_followed_and_other_things_are_shown(port):
    port.plant_link("/link", "/d/../d")
    port.plant_link("/dangling", "nowhere")
    port.plant_other("/fifo")
    assert port.content("/link/x") == b"content"
    assert port.real_path("/link/x") == "/d/x"
    assert port.stat("/dangling") is None
    assert port.stat("/fifo").kind == OTHER
    with pytest.raises(NotFound):
        port.content("/d/none")


def test_a_sparse_file_of_any_size_costs_nothing(port):
    file = port.create("/d/huge")
    file.truncate(1 << 50)
    file.pwrite(1 << 49, b"x")
    file.allocate(1 << 48, 1 << 40)
    assert list(file.data_ranges(0, 1 << 50)) == [(1 << 49, (1 << 49) + 4096)]
    assert port.stat("/d/huge").allocated == (1 << 40) + 4096

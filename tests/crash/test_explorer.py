# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The crash explorer itself: it finds the classic mistakes, finds nothing in what is right, and stays within its
model.
"""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._io.durable import replace_file
from ansible_collections.vdisk.parallels.tests.support.crash import check_states, crash_states
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

OLD = b"old " * 500
NEW = b"new " * 800


@pytest.fixture(name="port")
def port_fixture():
    port = MemoryPort()
    port.plant_file("/d/x", OLD)
    return port


def put(port, path, content, *, sync=True):
    file = port.create(path)
    file.pwrite(0, content)
    if sync:
        file.sync()
    file.close()


def contents(recording, path="/d/x", **options):
    """Everything that ``path`` may hold after a crash; None for nothing."""
    return {state.listing().get(path) for state in crash_states(recording, **options)}


# The classics


def test_a_durable_replacement_shows_the_old_or_the_new_and_nothing_else(port):
    recording = port.record()
    replace_file(port, "/d/x", NEW, temporary="/d/x.tmp")
    assert contents(recording) == {OLD, NEW}


def test_a_finished_durable_replacement_stays(port):
    replace_file(port, "/d/x", NEW, temporary="/d/x.tmp")
    recording = port.record()
    port.create("/d/later").close()
    assert contents(recording) == {NEW}


def test_what_a_durable_replacement_reports_as_done_is_done(port):
    recording = port.record()
    replace_file(port, "/d/x", NEW, temporary="/d/x.tmp")
    assert contents(recording, since=len(recording.effects)) == {NEW}


def test_a_rename_without_sync_shows_an_empty_and_a_torn_file(port):
    recording = port.record()
    put(port, "/d/x.tmp", NEW, sync=False)
    port.rename("/d/x.tmp", "/d/x")
    port.sync_directory("/d")
    found = contents(recording)
    assert {OLD, NEW, b"", bytes(len(NEW))} < found
    assert any(content not in (OLD, NEW) and any(content) for content in found)


def test_a_sync_after_the_rename_comes_too_late(port):
    recording = port.record()
    file = port.create("/d/x.tmp")
    file.pwrite(0, NEW)
    port.rename("/d/x.tmp", "/d/x")
    file.sync()
    port.sync_directory("/d")
    assert b"" in contents(recording)


def test_without_a_sync_of_the_directory_the_old_name_may_come_back(port):
    recording = port.record()
    put(port, "/d/x.tmp", NEW)
    port.rename("/d/x.tmp", "/d/x")
    assert contents(recording, since=len(recording.effects)) == {OLD, NEW}
    port.sync_directory("/d")
    assert contents(recording, since=len(recording.effects)) == {NEW}


def test_a_table_written_before_its_data_is_synced_points_at_nothing():
    def run(sync_between):
        port = MemoryPort()
        port.plant_file("/image", bytes(8192))
        recording = port.record()
        file = port.open_write("/image")
        file.pwrite(4096, b"data" * 1024)
        if sync_between:
            file.sync()
        file.pwrite(0, b"\x01")
        file.sync()
        return {
            (state.content("/image")[0], state.content("/image")[4096:] == b"data" * 1024)
            for state in crash_states(recording)
        }

    assert (1, False) in run(sync_between=False)
    assert run(sync_between=True) == {(0, False), (0, True), (1, True)}


def test_a_file_removed_before_the_new_descriptor_is_durable_is_missed(port):
    port.plant_file("/d/images/1", b"image")
    recording = port.record()
    put(port, "/d/x.tmp", NEW)
    port.rename("/d/x.tmp", "/d/x")
    port.remove("/d/images/1")
    with pytest.raises(AssertionError):
        check_states(recording, _old_has_its_image)


def test_removing_it_after_the_sync_of_the_directory_is_right(port):
    port.plant_file("/d/images/1", b"image")
    recording = port.record()
    replace_file(port, "/d/x", NEW, temporary="/d/x.tmp")
    port.remove("/d/images/1")
    assert check_states(recording, _old_has_its_image) > 10


def _old_has_its_image(state):
    assert state.content("/d/x") == NEW or "/d/images/1" in state.listing()


# The model


def test_nothing_done_is_one_state(port):
    recording = port.record()
    states = list(crash_states(recording))
    assert len(states) == 1
    assert states[0].listing() == port.listing()


def test_the_last_state_in_which_all_is_kept_is_what_the_process_saw(port):
    recording = port.record()
    port.make_directory("/e")
    put(port, "/e/a", b"1" * 5000, sync=False)
    file = port.open_write("/d/x")
    file.truncate(100)
    file.allocate(0, 10_000)
    port.set_attributes("/d/x", mode=0o600, uid=1, gid=2)
    port.rename("/e/a", "/d/a")
    port.exchange("/d/a", "/d/x")
    port.remove("/d/a")
    port.remove_directory("/e")
    complete = [
        state
        for state in crash_states(recording, since=len(recording.effects))
        if not state.origin.lost and not state.origin.torn
    ]
    assert [state.listing() for state in complete] == [port.listing()]
    assert complete[0].tree.key() == _settled_key(port)


def _settled_key(port):
    tree = port.tree.fork()
    tree.settle()
    return tree.key()


def test_a_created_file_is_lost_with_its_content_even_if_that_was_synced(port):
    recording = port.record()
    put(port, "/d/new", b"content")
    assert contents(recording, "/d/new") == {None, b"", bytes(7), b"content"}
    assert contents(recording, "/d/new", since=len(recording.effects)) == {None, b"content"}
    port.sync_directory("/d")
    assert contents(recording, "/d/new", since=len(recording.effects)) == {b"content"}


def test_a_synced_directory_may_still_be_lost_with_its_parent(port):
    recording = port.record()
    port.make_directory("/e")
    put(port, "/e/a", b"1")
    port.sync_directory("/e")
    last = list(crash_states(recording, since=len(recording.effects)))
    assert {"/e" in state.listing() for state in last} == {True, False}
    assert all(state.content("/e/a") == b"1" for state in last if "/e" in state.listing())


def test_a_sector_is_never_torn():
    port = MemoryPort()
    port.plant_file("/image", b"o" * 2048)
    recording = port.record()
    port.open_write("/image").pwrite(512, b"n" * 1024)
    found = contents(recording, "/image")
    assert all(len(set(content[start : start + 512])) == 1 for content in found for start in range(0, 2048, 512))
    middles = {content[512:1536:512] for content in found}
    assert middles == {b"oo", b"no", b"on", b"nn"}
    assert all(content[:512] + content[1536:] == b"o" * 1024 for content in found)


def test_a_write_inside_a_sector_is_atomic():
    port = MemoryPort()
    port.plant_file("/image", b"o" * 1024)
    recording = port.record()
    port.open_write("/image").pwrite(100, b"n" * 300)
    assert contents(recording, "/image") == {b"o" * 1024, b"o" * 100 + b"n" * 300 + b"o" * 624}


def test_growth_and_bytes_are_kept_apart():
    port = MemoryPort()
    port.plant_file("/image", b"o" * 512)
    recording = port.record()
    port.open_write("/image").pwrite(512, b"n" * 512)
    assert contents(recording, "/image") == {b"o" * 512, b"o" * 512 + b"n" * 512, b"o" * 512 + bytes(512)}


def test_an_append_may_stop_in_the_middle():
    port = MemoryPort()
    port.plant_file("/image", b"")
    recording = port.record()
    port.open_write("/image").pwrite(0, b"n" * 2048)
    assert b"n" * 512 in contents(recording, "/image")


def test_bytes_that_were_cut_off_do_not_come_back_by_growing():
    port = MemoryPort()
    port.plant_file("/image", b"o" * 8192)
    recording = port.record()
    file = port.open_write("/image")
    file.truncate(1000)
    file.sync()
    file.truncate(8192)
    assert contents(recording, "/image") == {b"o" * 8192, b"o" * 1000, b"o" * 1000 + bytes(7192)}


def test_writes_of_different_files_are_lost_independently(port):
    port.plant_file("/d/y", OLD)
    recording = port.record()
    for name in ("x", "y"):
        port.open_write(f"/d/{name}").pwrite(0, b"N")
    assert {(s.content("/d/x")[:1], s.content("/d/y")[:1]) for s in crash_states(recording)} == {
        (b"o", b"o"),
        (b"N", b"o"),
        (b"o", b"N"),
        (b"N", b"N"),
    }


def test_a_sync_of_one_file_says_nothing_about_another(port):
    port.plant_file("/d/y", OLD)
    recording = port.record()
    first, second = port.open_write("/d/x"), port.open_write("/d/y")
    first.pwrite(0, b"N")
    second.pwrite(0, b"N")
    second.sync()
    last = list(crash_states(recording, since=len(recording.effects)))
    assert {s.content("/d/y")[:1] for s in last} == {b"N"}
    assert {s.content("/d/x")[:1] for s in last} == {b"o", b"N"}


def test_names_of_one_directory_keep_their_order_and_those_of_two_do_not():
    port = MemoryPort()
    for name in ("/d/1", "/d/2", "/e/3"):
        port.plant_file(name, b"")
    recording = port.record()
    for name in ("/d/1", "/d/2", "/e/3"):
        port.remove(name)
    found = {
        frozenset(path for path in ("/d/1", "/d/2", "/e/3") if path in state.listing())
        for state in crash_states(recording)
    }
    assert frozenset({"/d/1"}) not in found and frozenset({"/d/1", "/e/3"}) not in found
    assert frozenset({"/d/1", "/d/2"}) in found


def test_a_rename_between_directories_is_atomic_and_one_sync_is_enough():
    for synced in ("/d", "/e"):
        port = MemoryPort()
        port.plant_file("/d/x", b"x")
        port.plant_directory("/e")
        recording = port.record()
        port.rename("/d/x", "/e/x")
        port.sync_directory(synced)
        assert all(("/d/x" in state.listing()) != ("/e/x" in state.listing()) for state in crash_states(recording))
        assert all("/e/x" in state.listing() for state in crash_states(recording, since=2))


def test_emptying_and_removing_a_directory_never_loses_what_was_moved_out():
    port = MemoryPort()
    port.plant_file("/d/e/x", b"x")
    recording = port.record()
    port.rename("/d/e/x", "/x")
    port.remove_directory("/d/e")
    assert all(("/x" in state.listing()) != ("/d/e/x" in state.listing()) for state in crash_states(recording))


def test_moving_into_a_new_directory_never_loses_the_file():
    port = MemoryPort()
    port.plant_file("/d/x", b"x")
    recording = port.record()
    port.make_directory("/e")
    port.rename("/d/x", "/e/x")
    port.sync_directory("/d")
    assert all(("/d/x" in state.listing()) != ("/e/x" in state.listing()) for state in crash_states(recording))


def test_a_directory_that_is_renamed_before_it_is_synced_may_be_empty():
    port = MemoryPort()
    port.make_directory("/new")
    recording = port.record()
    put(port, "/new/a", b"1")
    port.rename("/new", "/final")
    port.sync_directory("/")
    assert {"/final": None} in [state.listing() for state in crash_states(recording)]


def test_an_exchange_happens_as_a_whole():
    port = MemoryPort()
    port.plant_file("/a", b"1")
    port.plant_file("/b", b"2")
    recording = port.record()
    port.exchange("/a", "/b")
    assert [state.listing() for state in crash_states(recording)] == [
        {"/a": b"1", "/b": b"2"},
        {"/a": b"2", "/b": b"1"},
    ]


def test_attributes_are_durable_with_their_own_sync_only(port):
    recording = port.record()
    port.set_attributes("/d/x", mode=0o600, uid=0, gid=0)
    port.sync_directory("/d")
    assert {state.stat("/d/x").mode for state in crash_states(recording, since=2)} == {0o644, 0o600}
    port.open_read("/d/x").sync()
    assert {state.stat("/d/x").mode for state in crash_states(recording, since=3)} == {0o600}


# The machine


def busy_recording(writes=30):
    port = MemoryPort()
    port.plant_file("/d/image", bytes(1 << 20))
    recording = port.record()
    file = port.open_write("/d/image")
    for index in range(writes):
        file.pwrite(index * 37 % 250 * 4096 + 100 * index, bytes([index + 1]) * 6000)
        if index % 10 == 9:
            file.sync()
    replace_file(port, "/d/x", NEW, temporary="/d/x.tmp")
    return recording


def test_states_are_independent_of_each_other_and_of_the_port(port):
    recording = port.record()
    put(port, "/d/y", NEW, sync=False)
    before = port.listing()
    states = list(crash_states(recording))
    listings = [state.listing() for state in states]
    for state in states:
        state.open_write("/d/x").pwrite(0, b"changed")
        state.create("/d/more").pwrite(0, b"more")
    assert port.listing() == before
    assert [state.listing() for state in crash_states(recording)] == listings


def test_a_recovery_may_itself_be_explored(port):
    recording = port.record()
    replace_file(port, "/d/x", NEW, temporary="/d/x.tmp")
    seen = 0
    for state in crash_states(recording):
        again = state.record()
        state.remove("/d/x.tmp")
        replace_file(state, "/d/x", b"recovered", temporary="/d/x.tmp")
        assert contents(again) in ({OLD, b"recovered"}, {NEW, b"recovered"})
        seen += 1
    assert seen > 5


def test_equal_states_come_once():
    states = list(crash_states(busy_recording()))
    keys = {state.tree.key() for state in states}
    assert len(keys) == len(states) > 300


def test_the_same_seed_gives_the_same_states_and_another_seed_others():
    recording = busy_recording()

    def run(seed):
        return [str(state.origin) for state in crash_states(recording, limit=200, seed=seed)]

    assert run(1) == run(1)
    assert run(1) != run(2)


@pytest.mark.parametrize("limit", [1, 10, 200])
def test_a_limit_is_kept_and_spread_over_the_effects(limit):
    recording = busy_recording()
    states = list(crash_states(recording, limit=limit))
    assert 0 < len(states) <= limit
    if limit > 1:
        assert len(states) > limit // 2
        middle = len(recording.effects) // 2
        assert (
            min(len(state.origin.effects) for state in states)
            < middle
            < max(len(state.origin.effects) for state in states)
        )


def test_the_message_of_a_bad_state_tells_how_it_came_about(port):
    recording = port.record()
    put(port, "/d/x.tmp", NEW, sync=False)
    port.rename("/d/x.tmp", "/d/x")

    def check(state):
        if state.content("/d/x") not in (OLD, NEW):
            raise DiskError("broken")

    with pytest.raises(
        AssertionError, match="power failed after effect 3: rename /d/x.tmp -> /d/x\n  lost: content of write /d/x.tmp"
    ) as caught:
        check_states(recording, check)
    assert "broken" in str(caught.value)


def test_thousands_of_states_take_a_second():
    recording = busy_recording(60)
    start = time.process_time()
    count = sum(1 for _state in crash_states(recording))
    # A tenth of what an idle machine does, so that only a change of the order of growth is caught.
    assert count / (time.process_time() - start) > 500
    assert count > 1000


def test_large_writes_are_cheap():
    port = MemoryPort()
    port.plant_file("/image", b"")
    recording = port.record()
    file = port.open_write("/image")
    for index in range(8):
        file.pwrite(index << 20, os.urandom(4096) * 256)
    start = time.process_time()
    count = sum(1 for _state in crash_states(recording))
    assert count > 100
    assert time.process_time() - start < 10

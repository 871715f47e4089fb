# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every port must do alike: the operating system with all it can, with nothing special, and the one in memory."""

from __future__ import annotations

import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    Damaged,
    InUse,
    IoFailure,
    NotFound,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.capabilities import Capabilities
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import DIRECTORY, FILE, SYMLINK
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


class Place:
    """A port and a directory to work in."""

    def __init__(self, port, root, link):
        self.port = port
        self.root = root
        self.link = link

    def path(self, name):
        return f"{self.root}/{name}"

    def write(self, name, content):
        file = self.port.create(self.path(name))
        file.pwrite(0, content)
        file.close()
        return self.path(name)

    def read(self, name):
        file = self.port.open_read(self.path(name))
        content = bytearray(file.size())
        assert file.pread_into(0, content) == len(content)
        file.close()
        return bytes(content)


@pytest.fixture(name="place", params=["host", "bare host", "memory"])
def place_fixture(request, tmp_path):
    if request.param == "memory":
        port = MemoryPort()
        port.plant_directory("/work")
        return Place(port, "/work", port.plant_link)
    root = os.path.realpath(tmp_path)
    return Place(
        OsPort() if request.param == "host" else OsPort(Capabilities()),
        root,
        lambda path, target: os.symlink(target, path),
    )


def test_what_is_written_is_read_and_a_short_read_means_the_end(place):
    file = place.port.create(place.path("a"))
    file.pwrite(5, b"hello")
    file.pwrite(0, memoryview(bytearray(b"12345")))
    buffer = bytearray(b"\xff" * 8)
    assert file.pread_into(6, buffer) == 4
    assert bytes(buffer) == b"ello\xff\xff\xff\xff"
    assert file.pread_into(10, buffer) == 0
    assert file.pread_into(1 << 40, buffer) == 0
    assert place.read("a") == b"12345hello"


def test_an_empty_write_behind_the_end_does_not_grow_the_file(place):
    file = place.port.create(place.path("a"))
    file.pwrite(100, b"")
    assert file.size() == 0


@pytest.mark.parametrize("offset", [-1, 1 << 63, 1 << 80])
def test_an_impossible_offset_is_an_error_of_ours(place, offset):
    file = place.port.create(place.path("a"))
    with pytest.raises(IoFailure):
        file.pwrite(offset, b"x")
    with pytest.raises(IoFailure):
        file.truncate(offset)


def test_truncate_cuts_and_what_comes_back_is_zero(place):
    file = place.port.create(place.path("a"))
    file.pwrite(0, b"x" * 10000)
    file.truncate(5000)
    file.truncate(10000)
    assert place.read("a") == b"x" * 5000 + bytes(5000)


def test_allocate_grows_keeps_content_and_takes_blocks(place):
    file = place.port.create(place.path("a"))
    file.truncate(1 << 20)
    file.pwrite(300_000, b"kept")
    file.allocate(0, 2 << 20)
    file.allocate(0, 0)
    assert file.size() == 2 << 20
    assert place.read("a") == bytes(300_000) + b"kept" + bytes((2 << 20) - 300_004)
    assert place.port.stat(place.path("a")).allocated >= 2 << 20


def test_allocate_in_the_middle_reserves_no_more_than_asked(place):
    file = place.port.create(place.path("a"))
    file.truncate(4 << 20)
    file.allocate(1 << 20, 1 << 20)
    assert file.size() == 4 << 20
    assert (
        1 << 20 <= place.port.stat(place.path("a")).allocated < 2 << 20
        or not getattr(place.port, "capabilities", Capabilities(seek_hole=True)).seek_hole
    )


def test_a_punched_hole_reads_as_zeros_and_the_length_stays(place):
    content = bytes(range(1, 252)) * 400
    path = place.write("a", content)
    file = place.port.open_write(path)
    before = place.port.stat(path).allocated
    done = file.punch_hole(8192, 40_960)
    assert file.punch_hole(0, 0)
    if not done:
        assert place.read("a") == content
        return
    assert place.read("a") == content[:8192] + bytes(40_960) + content[49_152:]
    assert file.size() == len(content)
    assert before - place.port.stat(path).allocated == 40_960
    assert not list(file.data_ranges(8192, 49_152))
    assert file.punch_hole(8192, 40_960)
    file.close()


def test_a_hole_that_does_not_lie_on_blocks_is_zeros_all_the_same(place):
    content = b"x" * 20_000
    file = place.port.open_write(place.write("a", content))
    if file.punch_hole(100, 10_000):
        assert place.read("a") == content[:100] + bytes(10_000) + content[10_100:]
    if file.punch_hole(16_384, 1 << 20):
        assert place.read("a")[16_384:] == bytes(20_000 - 16_384)
    file.close()


def test_a_hole_is_refused_in_a_file_opened_for_reading(place):
    path = place.write("a", b"x" * 8192)
    file = place.port.open_read(path)
    try:
        assert not file.punch_hole(0, 4096)
    except IoFailure:
        pass
    file.close()
    assert place.read("a") == b"x" * 8192


def test_data_ranges_cover_all_data_within_the_range(place):
    file = place.port.create(place.path("a"))
    file.truncate(8 << 20)
    file.pwrite(1 << 20, b"x" * 70_000)
    file.pwrite(5 << 20, b"y" * 70_000)
    file.sync()
    ranges = list(file.data_ranges(1000, 16 << 20))
    assert ranges == sorted(ranges)
    assert all(1000 <= start < end <= 8 << 20 for start, end in ranges)
    for start in (1 << 20, 5 << 20):
        assert any(begin <= start and start + 70_000 <= end for begin, end in ranges)
    assert list(file.data_ranges(9 << 20, 16 << 20)) == []


def test_copy_from_copies_a_prefix_of_what_was_asked_and_tells_how_much(place):
    content = bytes(range(256)) * 64
    place.write("a", content)
    source, target = place.port.open_read(place.path("a")), place.port.create(place.path("b"))
    done = target.copy_from(source, 100, 50, 10_000)
    assert 0 <= done <= 10_000
    assert place.read("b") == ((bytes(50) + content[100 : 100 + done]) if done else b"")
    assert target.copy_from(source, len(content), 0, 100) == 0


def test_a_file_opened_for_reading_cannot_be_written(place):
    place.write("a", b"x")
    file = place.port.open_read(place.path("a"))
    with pytest.raises(IoFailure):
        file.pwrite(0, b"y")


def test_closing_twice_is_fine_and_use_after_closing_fails(place):
    file = place.port.create(place.path("a"))
    file.close()
    file.close()
    with pytest.raises(IoFailure):
        file.pread_into(0, bytearray(1))
    with pytest.raises(IoFailure):
        file.sync()


def test_hints_never_fail_on_an_open_file(place):
    file = place.port.create(place.path("a"))
    file.pwrite(0, b"x" * 100)
    file.start_writeback(0, 1 << 40)
    file.will_need(0, 1 << 40)
    assert place.read("a") == b"x" * 100


def test_absence_is_told_by_its_own_error(place):
    with pytest.raises(NotFound) as caught:
        place.port.open_read(place.path("none"))
    assert caught.value.path == place.path("none")
    assert caught.value.found == "ENOENT"
    for call in (place.port.open_write, place.port.list_directory, place.port.sync_directory, place.port.free_space):
        with pytest.raises(NotFound):
            call(place.path("none"))
    with pytest.raises(NotFound):
        place.port.create(place.path("none/a"))
    with pytest.raises(NotFound):
        place.port.rename(place.path("none"), place.path("b"))
    assert place.port.stat(place.path("none")) is None
    assert place.port.stat(place.path("none/deeper")) is None


def test_a_path_through_a_file_leads_nowhere(place):
    place.write("a", b"")
    assert place.port.stat(place.path("a/b")) is None
    with pytest.raises(NotFound):
        place.port.open_read(place.path("a/b"))
    with pytest.raises(NotFound):
        place.port.create(place.path("a/b"))


def test_create_and_make_directory_refuse_what_exists(place):
    place.write("a", b"")
    place.port.make_directory(place.path("d"))
    for call in (place.port.create, place.port.make_directory):
        for name in ("a", "d"):
            with pytest.raises(AlreadyExists):
                call(place.path(name))


def test_create_does_not_follow_a_dangling_link(place):
    place.link(place.path("link"), place.path("elsewhere"))
    with pytest.raises(AlreadyExists):
        place.port.create(place.path("link"))
    assert place.port.lstat(place.path("elsewhere")) is None


def test_only_regular_files_are_opened(place):
    place.port.make_directory(place.path("d"))
    for call in (place.port.open_read, place.port.open_write):
        with pytest.raises(Damaged) as caught:
            call(place.path("d"))
        assert caught.value.found == DIRECTORY


@pytest.mark.parametrize("name", ["nul\0byte", "\ud800"], ids=["nul", "surrogate"])
def test_an_impossible_name_is_an_error_of_ours(place, name):
    if isinstance(place.port, MemoryPort) and name == "\ud800":
        pytest.skip("names in memory are not encoded")
    with pytest.raises(IoFailure):
        place.port.open_read(place.path(name))
    with pytest.raises(IoFailure):
        place.port.remove(place.path(name))


def test_facts_of_files_directories_and_links(place):
    place.write("a", b"x" * 5000)
    place.port.make_directory(place.path("d"))
    place.link(place.path("link"), place.path("a"))
    facts = place.port.stat(place.path("a"))
    assert (facts.kind, facts.size, facts.mode & 0o600) == (FILE, 5000, 0o600)
    assert place.port.stat(place.path("d")).kind == DIRECTORY
    assert place.port.stat(place.path("link")) == facts
    assert place.port.lstat(place.path("link")).kind == SYMLINK
    assert place.port.lstat(place.path("a")).inode == facts.inode


def test_a_loop_of_links_is_an_error_of_ours(place):
    place.link(place.path("one"), place.path("two"))
    place.link(place.path("two"), place.path("one"))
    with pytest.raises(IoFailure):
        place.port.stat(place.path("one"))


def test_reading_leaves_the_time_of_change_alone_and_writing_moves_it(place):
    place.write("a", b"x" * 5000)
    before = place.port.stat(place.path("a")).mtime_ns
    place.read("a")
    list(place.port.open_write(place.path("a")).data_ranges(0, 5000))
    place.port.holders((place.path("a"),))
    place.port.lock((place.root,), (place.path("a"),)).release()
    assert place.port.stat(place.path("a")).mtime_ns == before


def test_names_are_listed_in_order(place):
    for name in ("b", "c", "a"):
        place.write(name, b"")
    assert place.port.list_directory(place.root) == ["a", "b", "c"]
    with pytest.raises(NotFound):
        place.port.list_directory(place.path("a"))


def test_real_path_resolves_links_and_keeps_what_is_absent(place):
    place.port.make_directory(place.path("d"))
    place.write("d/a", b"")
    place.link(place.path("link"), "d")
    assert place.port.real_path(place.path("link/a")) == place.path("d/a")
    assert place.port.real_path(place.path("link/../d/./a")) == place.path("d/a")
    assert place.port.real_path(place.path("link/none/more")) == place.path("d/none/more")


def test_rename_replaces_files_and_empty_directories_only(place):
    place.write("a", b"new")
    place.write("b", b"old")
    place.port.rename(place.path("a"), place.path("b"))
    assert place.read("b") == b"new"
    assert place.port.stat(place.path("a")) is None
    for name in ("full", "empty", "moved"):
        place.port.make_directory(place.path(name))
    place.write("full/x", b"")
    place.write("moved/y", b"")
    # Linux says ENOTEMPTY on most file systems and EEXIST on XFS; POSIX allows both.
    with pytest.raises((IoFailure, AlreadyExists)):
        place.port.rename(place.path("moved"), place.path("full"))
    with pytest.raises(IoFailure):
        place.port.rename(place.path("b"), place.path("empty"))
    place.port.rename(place.path("moved"), place.path("empty"))
    assert place.port.list_directory(place.path("empty")) == ["y"]
    with pytest.raises(IoFailure):
        place.port.rename(place.path("empty"), place.path("empty/inside"))


def test_an_open_file_survives_its_replacement(place):
    place.write("a", b"new")
    place.write("b", b"old")
    file = place.port.open_read(place.path("b"))
    place.port.rename(place.path("a"), place.path("b"))
    buffer = bytearray(3)
    assert file.pread_into(0, buffer) == 3
    assert bytes(buffer) == b"old"
    file.close()


def test_exchange_swaps_or_does_nothing(place):
    place.write("a", b"1")
    place.write("b", b"2")
    swapped = place.port.exchange(place.path("a"), place.path("b"))
    assert (place.read("a"), place.read("b")) == ((b"2", b"1") if swapped else (b"1", b"2"))
    if swapped:
        with pytest.raises(NotFound):
            place.port.exchange(place.path("a"), place.path("none"))


def test_removing_is_patient_with_absence_but_not_with_the_wrong_kind(place):
    place.write("a", b"")
    place.port.make_directory(place.path("d"))
    place.write("d/x", b"")
    with pytest.raises(IoFailure):
        place.port.remove_directory(place.path("d"))
    with pytest.raises(IoFailure):
        place.port.remove(place.path("d"))
    place.port.remove(place.path("a"))
    place.port.remove(place.path("a"))
    place.port.remove(place.path("d/x"))
    place.port.remove_directory(place.path("d"))
    place.port.remove_directory(place.path("d"))
    assert place.port.list_directory(place.root) == []


def test_attributes_are_set(place):
    place.write("a", b"")
    facts = place.port.stat(place.path("a"))
    place.port.set_attributes(place.path("a"), mode=0o640, uid=facts.uid, gid=facts.gid)
    assert place.port.stat(place.path("a")).mode == 0o640


def test_free_space_is_a_number_of_bytes(place):
    assert place.port.free_space(place.root) > 0


def test_sync_of_files_and_directories_works(place):
    file = place.port.create(place.path("a"))
    file.pwrite(0, b"x")
    file.sync()
    place.port.sync_directory(place.root)
    assert place.read("a") == b"x"


def test_a_lock_is_exclusive_until_it_is_released_and_names_no_holder_to_itself(place):
    image = place.write("a", b"x")
    lock = place.port.lock((place.root,), (image,))
    assert place.port.holders((image, place.root)) == ()
    with pytest.raises(InUse):
        place.port.lock((), (image,))
    with pytest.raises(InUse):
        place.port.lock((place.root,), ())
    lock.release()
    lock.release()
    place.port.lock((place.root,), (image,)).release()


def test_a_lock_is_taken_as_a_whole_or_not_at_all(place):
    one, other = place.write("a", b""), place.write("b", b"")
    held = place.port.lock((), (other,))
    with pytest.raises(InUse) as caught:
        place.port.lock((place.root,), (one, other))
    assert caught.value.path == other
    assert caught.value.hint
    with pytest.raises(NotFound):
        place.port.lock((place.root,), (one, place.path("none")))
    place.port.lock((place.root,), (one,)).release()
    held.release()


def test_the_same_file_may_be_named_twice_in_one_lock(place):
    image = place.write("a", b"")
    place.port.lock((place.root, place.root), (image, f"{place.root}/./a")).release()
    place.port.lock((), (image,)).release()


def test_nobody_holds_what_is_absent(place):
    assert place.port.holders((place.path("none"),)) == ()

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import itertools
import random
import threading

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.first_difference import Search
from ansible_collections.vdisk.parallels.plugins.module_utils._io.copy import WINDOW

TURN = 16


class Disk:
    """Zeros with a few other bytes.

    ``fails`` are offsets at which reading raises; ``waits`` is called before each read.
    """

    def __init__(self, bytes_at=(), fails=(), waits=None):
        self.bytes_at = dict(bytes_at)
        self.fails = dict(fails)
        self.waits = waits
        self.reads = []

    def pread_into(self, offset, buffer):
        if self.waits is not None:
            self.waits(offset)
        self.reads.append((offset, threading.current_thread().name))
        if offset in self.fails:
            raise self.fails[offset]
        buffer[:] = bytes(len(buffer))
        for place, value in self.bytes_at.items():
            if offset <= place < offset + len(buffer):
                buffer[place - offset] = value


def slices(count, length=1000):
    return ((number * length, length) for number in range(count))


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "vdisk-compare"]


@pytest.mark.parametrize("count", [0, 1, TURN - 1, TURN, TURN + 1, 2 * TURN, 100, 1000])
def test_equal_disks_are_read_once_each(count):
    one, other = Disk({5: 1}), Disk({5: 1})
    assert Search(one, other, slices(count)).run() is None
    for disk in (one, other):
        assert sorted(offset for offset, _thread in disk.reads) == [1000 * number for number in range(count)]
    assert not threads()


@pytest.mark.parametrize("seed", range(60))
def test_the_first_difference_is_found_whoever_comes_to_it(seed):
    chance = random.Random(seed)
    places = sorted(chance.sample(range(200_000), chance.randrange(1, 5)))

    def dawdle(offset):
        if chance.random() < 0.02:
            threading.Event().wait(0.001)

    one, other = Disk(dict.fromkeys(places, 1), waits=dawdle), Disk()
    assert Search(one, other, slices(200)).run() == places[0]
    assert not threads()


def test_whole_windows_are_compared_to_their_last_byte():
    one, other = Disk({40 * WINDOW - 1: 9}), Disk()
    assert Search(one, other, slices(40, WINDOW)).run() == 40 * WINDOW - 1


def test_both_threads_are_under_way_at_once():
    meeting = threading.Barrier(2, timeout=30)
    met = []

    def meet(offset):
        if offset >= TURN * 1000 and not met:
            meeting.wait()
            met.append(offset)

    assert Search(Disk(waits=meet), Disk(), slices(10 * TURN)).run() is None
    assert met


def test_a_short_disk_needs_no_thread(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda thread: pytest.fail("a thread for one turn"))
    assert Search(Disk({7: 1}), Disk(), slices(TURN - 1)).run() == 7
    assert Search(Disk({7: 1}), Disk(), slices(1000)).run() == 7


def test_where_no_thread_can_be_started_one_is_enough(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert Search(Disk({150_000: 1}), Disk(), slices(200)).run() == 150_000
    assert Search(Disk(), Disk(), slices(200)).run() is None


@pytest.mark.parametrize(
    "failing, differing, found",
    [(50_000, 20_000, 20_000), (20_000, 50_000, None), (0, 1000, None), (199_000, 198_000, 198_000)],
)
@pytest.mark.parametrize("side", [0, 1])
def test_what_comes_first_in_the_disk_counts(failing, differing, found, side):
    for _again in range(10):
        disks = Disk({differing: 1}), Disk()
        disks[side].fails = {failing: ZeroDivisionError("bad block")}
        search = Search(*disks, slices(200))
        if found is None:
            with pytest.raises(ZeroDivisionError):
                search.run()
        else:
            assert search.run() == found
        assert not threads()


@pytest.mark.parametrize("after", [0, 1, TURN, TURN + 1, 100])
@pytest.mark.parametrize("differing", [500, 90_500])
def test_a_table_that_cannot_be_read_counts_where_it_is(after, differing):
    def hurt():
        yield from itertools.islice(slices(200), after)
        raise ZeroDivisionError("bad table")

    search = Search(Disk({differing: 1}), Disk(), hurt())
    if differing < 1000 * after:
        assert search.run() == differing
    else:
        with pytest.raises(ZeroDivisionError):
            search.run()
    assert not threads()


@pytest.mark.parametrize("place", [3_000, 30_000, 150_000])
def test_an_interruption_counts_before_all(place):
    search = Search(Disk({150_000: 1}, {place: KeyboardInterrupt()}), Disk(), slices(200))
    with pytest.raises(KeyboardInterrupt):
        search.run()
    assert not threads()


def test_nothing_behind_a_difference_of_the_first_turn_is_read():
    one = Disk({5_000: 1})
    assert Search(one, Disk(), slices(10_000)).run() == 5_000
    assert len(one.reads) == 6

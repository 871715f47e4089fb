# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.aside import Aside


def names():
    return [thread.name for thread in threading.enumerate() if thread.name == "vdisk-aside"]


def fail():
    raise ZeroDivisionError


def test_both_are_done_when_it_returns_and_a_thread_does_one_of_them_after_a_few():
    done = []
    with Aside() as aside:
        for number in range(100):
            aside.both(lambda number=number: done.append((number, "mine")), lambda number=number: done.append((number, threading.current_thread().name)))
            assert len(done) == 2 * number + 2
    here = threading.current_thread().name
    assert [name for _number, name in done if name in (here, "vdisk-aside")] == [here] * 8 + ["vdisk-aside"] * 92
    assert {number for number, name in done if name == "mine"} == set(range(100))
    assert not names()


def test_both_are_under_way_at_once():
    meeting = threading.Barrier(2, timeout=30)
    with Aside() as aside:
        for _number in range(8):
            aside.both(int, int)
        aside.both(meeting.wait, meeting.wait)


@pytest.mark.parametrize("before", [0, 20])
@pytest.mark.parametrize("mine, other", [(fail, int), (int, fail), (fail, fail)])
def test_errors_reach_the_caller_and_the_next_pair_is_done(before, mine, other):
    done = []
    with Aside() as aside:
        for _number in range(before):
            aside.both(int, int)
        with pytest.raises(ZeroDivisionError):
            aside.both(mine, other)
        aside.both(lambda: done.append(1), lambda: done.append(2))
    assert sorted(done) == [1, 2]
    assert not names()


def test_where_no_thread_can_be_started_the_caller_does_both(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done = []
    with Aside() as aside:
        for _number in range(40):
            aside.both(lambda: done.append(0), lambda: done.append(1))
    assert done == [0, 1] * 40

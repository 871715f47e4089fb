# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading
from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._io.pipeline import OrderedPool, worker_count

_PATIENCE = 60


def squared(number: int) -> int:
    return number * number


@given(st.integers(1, 12), st.integers(0, 100))
def test_results_come_in_the_order_of_the_tasks(workers: int, count: int) -> None:
    pool = OrderedPool(squared, workers=workers)
    results: List[int] = []
    for number in range(count):
        results.extend(pool.put(number))
    results.extend(pool.drain())
    assert list(pool.drain()) == []
    pool.close()
    assert results == [number * number for number in range(count)]


def test_a_slow_first_task_holds_back_the_others() -> None:
    gate, done = threading.Event(), threading.Semaphore(0)

    def work(number: int) -> int:
        if number == 0:
            assert gate.wait(_PATIENCE)
        else:
            done.release()
        return number

    pool = OrderedPool(work, workers=2)
    early = [result for number in range(6) for result in pool.put(number)]
    for _index in range(5):
        assert done.acquire(timeout=_PATIENCE)
    assert early == []
    gate.set()
    assert list(pool.drain()) == list(range(6))
    pool.close()


def test_no_more_than_a_few_tasks_a_thread_are_pending() -> None:
    gate, started = threading.Event(), threading.Semaphore(0)

    def work(number: int) -> int:
        started.release()
        assert gate.wait(_PATIENCE)
        return number

    pool = OrderedPool(work, workers=2)
    for number in range(8):
        assert list(pool.put(number)) == []
    for _index in range(2):
        assert started.acquire(timeout=_PATIENCE)
    assert not started.acquire(blocking=False)
    ninth: List[int] = []
    waiting = threading.Thread(target=lambda: ninth.extend(pool.put(8)))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    gate.set()
    waiting.join(_PATIENCE)
    assert ninth[:1] == [0]
    assert ninth + list(pool.drain()) == list(range(9))
    pool.close()


def test_results_that_are_there_need_not_wait_for_the_limit() -> None:
    pool = OrderedPool(squared, workers=1)
    results = list(pool.put(3))
    finished = threading.Event()
    for _attempt in range(_PATIENCE * 100):
        if results:
            break
        finished.wait(0.01)
        results.extend(pool.put(3))
    assert results and set(results) == {9}
    pool.close()


def test_a_task_is_handed_over_even_when_nobody_looks_at_the_results() -> None:
    pool = OrderedPool(squared, workers=2)
    for number in range(5):
        pool.put(number)
    assert list(pool.drain()) == [0, 1, 4, 9, 16]
    pool.close()


class Broken(Exception):
    """What a task raises here."""


def fail_at_three(number: int) -> int:
    if number == 3:
        raise Broken(str(number))
    return number


def test_an_exception_comes_where_the_result_would_have_come() -> None:
    pool = OrderedPool(fail_at_three, workers=4)
    results: List[int] = []
    caught = 0
    for number in range(6):
        try:
            for result in pool.put(number):
                results.append(result)
        except Broken:
            caught += 1
            assert results == [0, 1, 2]
    while True:
        try:
            for result in pool.drain():
                results.append(result)
            break
        except Broken:
            caught += 1
            assert results == [0, 1, 2]
    pool.close()
    assert (caught, results) == (1, [0, 1, 2, 4, 5])


def test_closing_forgets_what_has_not_begun_and_waits_for_what_has() -> None:
    gate, begun = threading.Event(), threading.Event()
    worked: List[int] = []

    def work(number: int) -> int:
        begun.set()
        assert gate.wait(_PATIENCE)
        worked.append(number)
        return number

    before = threading.active_count()
    pool = OrderedPool(work, workers=1)
    for number in range(4):
        pool.put(number)
    assert begun.wait(_PATIENCE)
    closing = threading.Thread(target=pool.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    gate.set()
    closing.join(_PATIENCE)
    assert not closing.is_alive()
    assert worked == [0]
    assert list(pool.drain()) == []
    assert threading.active_count() == before


def test_closing_after_an_exception_leaves_no_thread() -> None:
    before = threading.active_count()
    pool = OrderedPool(fail_at_three, workers=3)
    with pytest.raises(Broken):
        for number in range(100):
            for _result in pool.put(number):
                pass
        for _result in pool.drain():
            pass
    pool.close()
    assert threading.active_count() == before


def test_a_closed_pool_takes_no_task_and_may_be_closed_again() -> None:
    pool = OrderedPool(squared, workers=2)
    list(pool.put(1))
    pool.close()
    pool.close()
    with pytest.raises(RuntimeError):
        pool.put(2)


def test_tasks_run_side_by_side() -> None:
    meeting = threading.Barrier(4)

    def work(number: int) -> int:
        meeting.wait(_PATIENCE)
        return number

    pool = OrderedPool(work, workers=4)
    results = [result for number in range(4) for result in pool.put(number)]
    results.extend(pool.drain())
    pool.close()
    assert results == [0, 1, 2, 3]


def test_there_is_at_least_one_worker_and_never_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    for count, expected in ((None, 1), (1, 1), (3, 3), (256, 8)):
        monkeypatch.setattr("os.cpu_count", lambda found=count: found)
        assert worker_count() == expected

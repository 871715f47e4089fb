# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.worker import Worker


def test_the_work_is_done_in_a_thread_of_that_name_and_waited_for():
    names = []
    worker = Worker(lambda: names.append(threading.current_thread().name), "vdisk-test")
    assert not worker.is_started
    worker.join()
    assert worker.start()
    worker.join()
    assert worker.is_started
    assert names == ["vdisk-test"]


def test_a_host_that_refuses_threads_is_told(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    worker = Worker(lambda: None, "vdisk-test")
    assert not worker.start()
    assert not worker.is_started
    worker.join()


def test_a_thread_whose_start_was_interrupted_is_waited_for(monkeypatch):
    start, gate, done = threading.Thread.start, threading.Event(), []

    def interrupted(thread):
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    worker = Worker(lambda: done.append(gate.wait(30)), "vdisk-test")
    with pytest.raises(KeyboardInterrupt):
        worker.start()
    gate.set()
    worker.join()
    assert done == [True]

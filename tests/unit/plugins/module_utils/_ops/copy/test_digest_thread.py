# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.digests import ContentDigest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.digest_thread import DigestThread


class Released(list):
    """What was given back."""

    def __call__(self, window):
        self.append(window)


def is_digesting():
    return any(thread.name == "vdisk-digest" for thread in threading.enumerate())


def test_the_digest_is_that_of_the_same_calls_in_one_thread():
    direct, behind, released = ContentDigest(), ContentDigest(), Released()
    windows = [memoryview(bytes([number % 251]) * 5000) for number in range(300)]
    with DigestThread(behind, released) as digesting:
        for number, window in enumerate(windows):
            parts = [(0, 1000), (2000, 5000)] if number % 7 else []
            digesting.add(number * 5000, window, parts)
            for start, end in parts:
                direct.add(number * 5000 + start, window[start:end])
    assert behind.value(9) == direct.value(9)
    assert sorted(map(id, released)) == sorted(map(id, windows))
    assert not is_digesting()


def test_without_a_digest_windows_come_back_at_once_and_there_is_no_thread():
    released, window = Released(), memoryview(b"x" * 100)
    with DigestThread(None, released) as digesting:
        digesting.add(0, window, [(0, 100)])
        assert released == [window]
        assert not is_digesting()


def test_an_error_of_the_caller_ends_the_thread():
    with pytest.raises(KeyError), DigestThread(ContentDigest(), Released()) as digesting:
        digesting.add(0, memoryview(b"x"), [(0, 1)])
        raise KeyError
    assert not is_digesting()


def test_an_error_of_the_digest_is_told_at_the_end_and_windows_come_back_all_the_same():
    class Broken(ContentDigest):
        def add(self, offset, content):
            raise ZeroDivisionError

    released = Released()
    with pytest.raises(ZeroDivisionError), DigestThread(Broken(), released) as digesting:
        for number in range(10):
            digesting.add(number, memoryview(b"x"), [(0, 1)])
    assert len(released) == 10


def test_where_no_thread_can_be_started_the_caller_digests(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    direct, behind, released = ContentDigest(), ContentDigest(), Released()
    with DigestThread(behind, released) as digesting:
        for number in range(10):
            window = memoryview(bytes([number]) * 100)
            digesting.add(number, window, [(0, 100)])
            direct.add(number, window)
    assert behind.value(1) == direct.value(1)
    assert len(released) == 10

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.digest_thread import DigestThread
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.digests import ContentDigest


def test_the_digest_is_that_of_the_same_calls_in_one_thread():
    direct, behind = ContentDigest(), ContentDigest()
    with DigestThread(behind, 5000) as digesting:
        for number in range(300):
            length = 5000 if number % 7 else 17
            content = bytes([number % 251]) * length
            digesting.buffer[:length] = content
            digesting.add(number * 5000, length)
            direct.add(number * 5000, memoryview(content))
    assert behind.value(9) == direct.value(9)
    assert not any(thread.name == "vdisk-digest" for thread in threading.enumerate())


def test_without_a_digest_there_is_one_buffer_and_no_thread():
    with DigestThread(None, 100) as digesting:
        buffer = digesting.buffer
        digesting.add(0, 100)
        assert digesting.buffer is buffer
        assert not any(thread.name == "vdisk-digest" for thread in threading.enumerate())


def test_an_error_of_the_caller_ends_the_thread():
    with pytest.raises(KeyError), DigestThread(ContentDigest(), 100) as digesting:
        digesting.add(0, 100)
        raise KeyError
    assert not any(thread.name == "vdisk-digest" for thread in threading.enumerate())


def test_an_error_of_the_digest_is_told_at_the_end():
    class Broken(ContentDigest):
        def add(self, offset, content):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), DigestThread(Broken(), 100) as digesting:
        for number in range(10):
            digesting.add(number, 100)


def test_where_no_thread_can_be_started_the_caller_digests(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    direct, behind = ContentDigest(), ContentDigest()
    with DigestThread(behind, 100) as digesting:
        for number in range(10):
            digesting.buffer[:] = bytes([number]) * 100
            digesting.add(number, 100)
            direct.add(number, memoryview(bytes([number]) * 100))
    assert behind.value(1) == direct.value(1)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import threading

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.windows import WINDOW, Windows


class Disk:
    """Each window holds its number; says from which threads it was read."""

    def __init__(self, count, *, fails_at=None):
        self.size = count * WINDOW
        self.fails_at = fails_at
        self.readers = set()

    def extents(self, start, length):
        raise AssertionError("only bytes are read here")

    def pread_into(self, offset, buffer):
        self.readers.add(threading.current_thread().name)
        if offset == self.fails_at:
            raise OSError(5, "broken")
        for start in range(0, len(buffer), WINDOW // 4):
            number = (offset + start) // WINDOW % 251
            buffer[start : start + WINDOW // 4] = bytes([number]) * len(buffer[start : start + WINDOW // 4])


def quarters(count):
    return [(offset, WINDOW // 4) for offset in range(0, count * WINDOW, WINDOW // 4)]


def is_reading():
    return any(thread.name == "vdisk-read" for thread in threading.enumerate())


def taken(windows):
    found = []
    for offset, window in windows:
        found.append((offset, len(window), window[0], window[-1]))
        windows.release(window)
    return found


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 300])
def test_windows_hold_the_disk_in_order_whoever_reads(count):
    disk = Disk(count)
    with Windows(disk, quarters(count)) as windows:
        assert taken(windows) == [(number * WINDOW, WINDOW, number % 251, number % 251) for number in range(count)]
    assert not is_reading()
    assert ("vdisk-read" in disk.readers) == (count > 8)


def test_slices_that_touch_come_together_and_no_window_is_too_long():
    slices = [
        (0, 100),
        (100, 50),
        (200, 10),
        (WINDOW, WINDOW // 2),
        (WINDOW + WINDOW // 2, WINDOW // 2 + 1),
        (3 * WINDOW, WINDOW),
    ]
    with Windows(Disk(5), slices) as windows:
        found = [(offset, length) for offset, length, _first, _last in taken(windows)]
    assert found == [
        (0, 150),
        (200, 10),
        (WINDOW, WINDOW // 2),
        (WINDOW + WINDOW // 2, WINDOW // 2 + 1),
        (3 * WINDOW, WINDOW),
    ]


def test_an_error_of_the_disk_reaches_the_caller_at_its_place():
    seen = []
    with pytest.raises(OSError, match="broken"), Windows(Disk(60, fails_at=40 * WINDOW), quarters(60)) as windows:
        for offset, window in windows:
            seen.append(offset)
            windows.release(window)
    assert seen == [number * WINDOW for number in range(40)]
    assert not is_reading()


def test_an_error_of_the_slices_reaches_the_caller():
    def broken():
        yield from quarters(20)
        raise KeyError("table")

    with pytest.raises(KeyError), Windows(Disk(60), broken()) as windows:
        taken(windows)
    assert not is_reading()


@pytest.mark.parametrize("stop", [0, 8, 20])
def test_a_caller_that_stops_ends_the_thread(stop):
    with pytest.raises(KeyError), Windows(Disk(300), quarters(300)) as windows:
        for number, (_offset, window) in enumerate(windows):
            windows.release(window)
            if number == stop:
                raise KeyError
    assert not is_reading()


def test_a_caller_that_stops_while_it_holds_windows_ends_the_thread():
    with pytest.raises(KeyError), Windows(Disk(300), quarters(300)) as windows:
        held = []
        for number, (_offset, window) in enumerate(windows):
            held.append(window)
            if number < 8:
                windows.release(held.pop())
            if len(held) == 3:
                raise KeyError
    assert not is_reading()


def test_a_signal_while_the_thread_starts_leaves_none_behind(monkeypatch):
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), Windows(Disk(60), quarters(60)) as windows:
        taken(windows)
    assert not is_reading()


def test_where_no_thread_can_be_started_the_caller_reads(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    disk = Disk(60)
    with Windows(disk, quarters(60)) as windows:
        assert len(taken(windows)) == 60
    assert disk.readers == {threading.current_thread().name}


def test_no_more_than_a_few_windows_are_read_ahead():
    disk = Disk(300)
    with Windows(disk, quarters(300)) as windows:
        held = []
        for _offset, window in windows:
            held.append(bytes(window[:1]))
            windows.release(window)
            if len(held) == 10:
                break
        assert len({id(window.obj) for window in _waiting(windows)}) <= 6
    assert 1 << 20 <= WINDOW <= 2 << 20


def _waiting(windows):
    found = []
    while not windows._ready.empty():
        found.append(windows._ready.get()[1])
    return found

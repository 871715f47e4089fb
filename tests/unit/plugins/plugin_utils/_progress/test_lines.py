# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.plugin_utils._progress.lines import (
    Lines,
    State,
    describe,
    duration,
    parse_state,
    size,
)

MIB = 1 << 20
GOOD = {"pid": 7, "phase": "writing", "done": 10 * MIB, "total": 40 * MIB, "seconds": 2.0}


def writing(percent: int) -> State:
    return State(7, "writing", percent * MIB, 100 * MIB, 1.0 + percent)


def test_the_state_is_what_the_file_says() -> None:
    state = parse_state(json.dumps(GOOD))
    assert state == State(7, "writing", 10 * MIB, 40 * MIB, 2.0)
    assert state.percent == 25


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "7", '"x"', "[" * 100_000]
    + [json.dumps({**GOOD, key: value}) for key in GOOD for value in (None, "x", [], {}, -1, True)]
    + [
        json.dumps({**GOOD, "pid": 0}),
        json.dumps({**GOOD, "total": 1e300}),
        json.dumps(GOOD).replace("2.0", "NaN"),
        json.dumps(GOOD).replace("2.0", "Infinity"),
    ]
    + [json.dumps({name: value for name, value in GOOD.items() if name != key}) for key in GOOD],
)
def test_anything_else_is_no_state(text: str) -> None:
    assert parse_state(text) is None


def test_more_than_all_is_all() -> None:
    assert State(1, "writing", 50, 40, 1.0).percent == 100
    assert State(1, "writing", 50, 0, 1.0).percent is None


@pytest.mark.parametrize(
    "state, text",
    [
        (State(1, "looking", 0, 0, 19.4), "looking at the disk, for 20 s"),
        (State(1, "looking", 1 << 30, 4 << 30, 10.0), "25 %, looking 1.0 GiB of 4.0 GiB, 102.4 MiB/s, 31 s left"),
        (State(1, "writing", 0, 4 << 30, 0.2), "0 %, writing, for 1 s"),
        (State(1, "writing", 0, 0, 3.0), "0 %, writing, for 4 s"),
        (State(1, "writing", 1 << 30, 4 << 30, 1.0), "25 %, writing 1.0 GiB of 4.0 GiB, 1.0 GiB/s, 4 s left"),
        (State(1, "writing", 5 << 30, 4 << 30, 1.0), "100 %, writing 5.0 GiB of 4.0 GiB, 5.0 GiB/s, 1 s left"),
        (State(1, "finishing", 0, 0, 3.0), "100 %, finishing, for 4 s"),
    ],
)
def test_a_state_in_words(state: State, text: str) -> None:
    assert describe(state) == text


def test_a_short_run_says_nothing() -> None:
    lines = Lines("h", "hdd_merge", "/a.hdd")
    assert [lines.line(writing(percent), percent / 50) for percent in range(0, 100, 5)] == [None] * 20


def test_one_line_for_each_ten_percent_at_most() -> None:
    lines = Lines("h", "hdd_merge", "/a.hdd")
    told = [lines.line(writing(percent), 2.0 + 1.5 * percent) for percent in range(100)]
    assert [percent for percent, line in enumerate(told) if line] == [
        0,
        7,
        10,
        17,
        20,
        27,
        30,
        37,
        40,
        47,
        50,
        57,
        60,
        67,
        70,
        77,
        80,
        87,
        90,
        97,
    ]
    assert told[10] == "progress: [h] hdd_merge /a.hdd: 10 %, writing 10.0 MiB of 100.0 MiB, 931 KiB/s, 100 s left"


def test_no_more_than_one_line_a_second() -> None:
    lines = Lines("h", "hdd_merge", "/a.hdd")
    told = [lines.line(writing(percent), 2.0 + percent / 20) for percent in range(100)]
    assert len([line for line in told if line]) == 5


def test_silence_ends_after_ten_seconds() -> None:
    lines = Lines("h", "hdd_check", "/a.hdd")
    told = [lines.line(State(1, "looking", 0, 0, float(second)), float(second)) for second in range(35)]
    assert [second for second, line in enumerate(told) if line] == [2, 12, 22, 32]


def test_a_new_phase_is_told() -> None:
    lines = Lines("h", "hdd_check", "/a.hdd")
    assert lines.line(State(1, "looking", 0, 0, 3.0), 3.0)
    assert lines.line(State(1, "writing", 0, 9, 0.1), 4.5)
    assert lines.line(State(1, "writing", 0, 9, 0.1), 6.0) is None
    assert lines.line(State(1, "finishing", 0, 9, 0.1), 7.5)


@pytest.mark.parametrize("state", [None])
def test_nothing_is_told_of_nothing(state: Optional[State]) -> None:
    assert Lines("h", "m", "p").line(state, 100.0) is None


def test_names_cannot_play_tricks_with_the_terminal() -> None:
    line = Lines("h", "hdd_merge", "/a\x1b[2J\n\r\u202e.hdd").line(writing(50), 5.0)
    assert line is not None
    assert line.startswith("progress: [h] hdd_merge /a?[2J???.hdd: 50 %")


@pytest.mark.parametrize(
    "count, text",
    [(0, "0 B"), (1023, "1023 B"), (1 << 20, "1.0 MiB"), (1 << 40, "1.0 TiB"), (1 << 62, "4194304.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "1 s"),
        (0.9, "1 s"),
        (118.5, "119 s"),
        (119, "2 min"),
        (7199, "2 h 0 min"),
        (9000, "2 h 30 min"),
        (1e300, "277777 h 46 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_of_several_disks_the_line_says_which_one_and_how_many_there_are() -> None:
    text = '{"pid": 1, "phase": "looking", "done": 0, "total": 0, "seconds": 1, "disk": "/b\\u001b.hdd", "number": 2%s}'
    state = parse_state(text % ', "count": 9')
    line = Lines("h", "hdd_merge", "/vms").line(state, 5.0)
    assert line == "progress: [h] hdd_merge /vms: disk 3 of 9, /b?.hdd: looking at the disk, for 2 s"
    for odd in ("", ', "count": null', ', "count": -1', ', "count": "9"'):
        without = parse_state(text % odd)
        assert without is not None and (without.disk, without.number, without.count) == ("", 0, 0)

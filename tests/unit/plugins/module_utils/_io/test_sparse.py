# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._io import sparse
from ansible_collections.vdisk.parallels.plugins.module_utils._io.sparse import data_parts, holes, is_zero, seek_ranges

SIZES = [0, 1, 511, 4096, 4097, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 700_000]
KINDS = [
    bytes,
    bytearray,
    memoryview,
    lambda content: memoryview(bytearray(content)),
    lambda content: memoryview(b"x" + content)[1:],
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS, ids=["bytes", "bytearray", "view", "view of bytearray", "part of a view"])
def test_zeros_are_zero_and_one_bit_anywhere_is_seen(size, kind):
    assert is_zero(kind(bytes(size)))
    for position in {0, size // 2, size - 1} if size else ():
        content = bytearray(size)
        content[position] = 1
        assert not is_zero(kind(bytes(content)))


def expected_parts(content, grain):
    """The definition, grain by grain."""
    found = []
    for start in range(0, len(content), grain):
        end = min(start + grain, len(content))
        if any(content[start:end]):
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    grain=st.sampled_from([1, 2, 3, 16, 64]),
    length=st.integers(0, 300),
    marks=st.lists(st.tuples(st.integers(0, 299), st.integers(1, 40)), max_size=6),
    rest=st.integers(0, 20),
)
def test_parts_are_exactly_the_grains_that_hold_something(grain, length, marks, rest):
    content = bytearray(length)
    for start, size in marks:
        content[start : start + size] = b"\x01" * len(content[start : start + size])
    buffer = content + b"\xff" * rest
    expected = expected_parts(content, grain)
    assert list(data_parts(buffer, length, grain)) == expected
    assert list(data_parts(memoryview(buffer), length, grain)) == expected
    assert list(data_parts(memoryview(bytes(buffer) + b"x")[:-1], length, grain)) == expected


@pytest.mark.parametrize("position", [0, 1, 2048, 4095])
def test_a_single_byte_anywhere_in_a_page_makes_it_data(position):
    buffer = bytearray(256 * 1024)
    buffer[17 * 4096 + position] = 1
    assert list(data_parts(buffer, len(buffer))) == [(17 * 4096, 18 * 4096)]


def test_a_buffer_larger_than_a_slice_is_searched_whole():
    buffer = bytearray(1 << 20)
    buffer[700_000] = buffer[-1] = 1
    assert list(data_parts(buffer, len(buffer))) == [(170 * 4096, 171 * 4096), ((1 << 20) - 4096, 1 << 20)]


def test_full_data_is_one_part():
    assert list(data_parts(bytearray(b"x" * 10000), 10000)) == [(0, 10000)]


def test_holes_are_what_parts_leave():
    assert list(holes(iter([(10, 20), (30, 40)]), 5, 50)) == [(5, 10), (20, 30), (40, 50)]
    assert list(holes(iter([(0, 50)]), 0, 50)) == []
    assert list(holes(iter([]), 0, 50)) == [(0, 50)]


def scripted_lseek(answers):
    """A file system that answers from a list; an errno is raised."""
    remaining = iter(answers)

    def lseek(_descriptor, _position, _whence):
        answer = next(remaining)
        if answer < 0:
            raise OSError(-answer, os.strerror(-answer))
        return answer

    return lseek


@pytest.mark.parametrize(
    "answers, expected",
    [
        ([-errno.EINVAL], [(0, 100)]),
        ([-errno.EOPNOTSUPP], [(0, 100)]),
        ([-errno.ENXIO], []),
        ([10, 20, 30, 200], [(10, 20), (30, 100)]),
        ([10, 20, 150], [(10, 20)]),
        ([10, 20, -errno.EINVAL], [(10, 20), (20, 100)]),
        ([10, -errno.ENXIO], []),
        ([10, 10], [(10, 100)]),
    ],
    ids=[
        "no such call",
        "not supported",
        "only a hole",
        "clipped",
        "data behind the range",
        "refused later",
        "cut meanwhile",
        "no progress",
    ],
)
def test_every_answer_of_a_file_system_is_understood(monkeypatch, answers, expected):
    monkeypatch.setattr(sparse.os, "lseek", scripted_lseek(answers))
    assert list(seek_ranges(0, 0, 100)) == expected


def test_a_read_error_while_seeking_is_not_taken_for_data(monkeypatch):
    monkeypatch.setattr(sparse.os, "lseek", scripted_lseek([-errno.EIO]))
    with pytest.raises(OSError):
        list(seek_ranges(0, 0, 100))

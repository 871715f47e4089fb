# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Comparing guest disks by content."""

from __future__ import annotations

from typing import Any, Iterator, List, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, ZERO, Extent, coalesce
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.compare import first_difference
from ansible_collections.vdisk.parallels.plugins.module_utils._io.copy import WINDOW


class View:
    """A disk whose ``holes`` are told as ZERO, and which counts what is read."""

    def __init__(self, content: bytes, holes: Tuple[Tuple[int, int], ...] = ()) -> None:
        self.content = content
        self.size = len(content)
        self.holes = holes
        self.bytes_read = 0

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        zero = bytearray(self.size)
        for low, high in self.holes:
            assert not any(self.content[low:high])
            zero[low:high] = b"\1" * (high - low)
        return coalesce(
            Extent(start + index, 1, ZERO if flag else DATA) for index, flag in enumerate(zero[start : start + length])
        )

    def pread_into(self, offset: int, buffer: Any) -> None:
        memoryview(buffer)[:] = self.content[offset : offset + len(buffer)]
        self.bytes_read += len(buffer)

    def close(self) -> None:
        pass


def naive(one: bytes, other: bytes) -> Optional[int]:
    for index, (a, b) in enumerate(zip(one, other)):
        if a != b:
            return index
    return None if len(one) == len(other) else min(len(one), len(other))


def with_holes(content: bytes, chosen: List[int]) -> View:
    """Some of the runs of zeros are told as such."""
    runs, start = [], None
    for index, byte in enumerate(content + b"\1"):
        if byte == 0 and start is None:
            start = index
        elif byte and start is not None:
            runs.append((start, index))
            start = None
    return View(content, tuple(run for number, run in enumerate(runs) if number in chosen))


CONTENT = st.lists(st.sampled_from([b"\0" * 7, b"a", b"bc", b"\0"]), max_size=12).map(b"".join)


@given(CONTENT, CONTENT, st.lists(st.integers(0, 5)), st.lists(st.integers(0, 5)))
def test_the_first_difference_is_found_however_zeros_are_stored(
    one: bytes, other: bytes, holes: List[int], other_holes: List[int]
) -> None:
    assert first_difference(with_holes(one, holes), with_holes(other, other_holes)) == naive(one, other)
    assert first_difference(with_holes(one, holes), with_holes(one, other_holes)) is None


@pytest.mark.parametrize("place", [0, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 99])
def test_a_difference_is_found_at_any_place_of_a_slice(place: int) -> None:
    size = 2 * WINDOW + 100
    content = bytearray(size)
    content[place] = 1
    one, other = _Whole(bytes(content)), _Whole(bytes(size))
    assert first_difference(one, other) == place
    assert one.bytes_read == other.bytes_read == min(size, (place // WINDOW + 1) * WINDOW)
    assert first_difference(other, one) == place  # pylint: disable=arguments-out-of-order


class _Whole(View):
    def extents(self, start: int, length: int) -> Iterator[Extent]:
        return iter([Extent(start, length, DATA)])


def test_what_is_zero_on_both_sides_is_not_read() -> None:
    one, other = View(bytes(1000), ((0, 1000),)), View(bytes(1000), ((0, 1000),))
    assert first_difference(one, other) is None
    assert one.bytes_read == other.bytes_read == 0


def test_a_shorter_disk_differs_where_it_ends() -> None:
    assert first_difference(_Whole(b"abc"), _Whole(b"abcd")) == 3
    assert first_difference(_Whole(b"abc\0"), _Whole(b"abc")) == 3

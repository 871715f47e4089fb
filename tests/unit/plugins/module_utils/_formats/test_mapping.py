# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent, coalesce
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.mapping import (
    read_runs,
    read_stored,
    run_extents,
    run_places,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PAGE = 4096
Run = Tuple[int, int, int]


@st.composite
def mapped(draw: st.DrawFn) -> Tuple[List[Run], List[bool]]:
    """Runs within 40 pages of a guest in pages of a file, and which of its 60 pages are data."""
    runs, position = [], 0
    free = draw(st.permutations(range(12)))
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=8)):
        if position + gap + length <= 40:
            runs.append(((position + gap) * PAGE, length * PAGE, free[len(runs)] * 5 * PAGE))
            position += gap + length
    return runs, draw(st.lists(st.booleans(), min_size=60, max_size=60))


def scene(is_data: List[bool]) -> MemoryPort:
    port = MemoryPort()
    file = port.create("/d")
    file.truncate(60 * PAGE)
    for number, there in enumerate(is_data):
        if there:
            file.pwrite(number * PAGE, bytes([number + 1]) * PAGE)
    return port


@given(mapped(), st.sampled_from([ZERO, ABSENT]))
def test_an_image_is_made_of_its_runs(image: Tuple[List[Run], List[bool]], missing: str) -> None:
    runs, is_data = image
    port = scene(is_data)
    file = port.open_read("/d")
    model, kinds = bytearray(40 * PAGE), [missing] * 40
    for guest, length, offset in runs:
        model[guest : guest + length] = port.content("/d")[offset : offset + length]
        for page in range(length // PAGE):
            kinds[guest // PAGE + page] = DATA if is_data[offset // PAGE + page] else ZERO
    found = coalesce(run_extents(file, iter(runs), 0, 40 * PAGE, missing))
    assert list(found) == list(coalesce(Extent(page * PAGE, PAGE, kind) for page, kind in enumerate(kinds)))
    buffer = bytearray(b"\xaa" * 40 * PAGE)
    read_runs(file, iter(runs), 0, memoryview(buffer))
    assert buffer == model
    places = list(run_places(file, iter(runs)))
    assert [(place.start, place.length, place.offset) for place in places] == runs
    assert all(place.file is file and place.end == place.start + place.length for place in places)


def test_a_part_of_a_disk_is_read_from_its_offset() -> None:
    file = scene([True] * 60).open_read("/d")
    buffer = bytearray(b"\xaa" * 300)
    read_runs(file, [(1100, 100, PAGE)], 1000, memoryview(buffer))
    assert buffer == bytes(100) + b"\2" * 100 + bytes(100)
    assert list(run_extents(file, [(1100, 100, PAGE)], 1000, 1300, ABSENT)) == [
        Extent(1000, 100, ABSENT),
        Extent(1100, 100, DATA),
        Extent(1200, 100, ABSENT),
    ]


def test_an_empty_run_has_no_place() -> None:
    assert list(run_places(scene([]).open_read("/d"), [(7, 0, 5)])) == []


def test_a_file_that_ends_too_early_is_damaged_where_it_ends() -> None:
    port = MemoryPort()
    port.plant_file("/d", b"x" * 100)
    for attempt in (
        lambda file: read_stored(file, 90, memoryview(bytearray(20))),
        lambda file: read_runs(file, [(0, 20, 90)], 0, memoryview(bytearray(50))),
    ):
        with pytest.raises(Damaged) as caught:
            attempt(port.open_read("/d"))
        assert (caught.value.path, caught.value.offset, caught.value.found) == ("/d", 100, 10)

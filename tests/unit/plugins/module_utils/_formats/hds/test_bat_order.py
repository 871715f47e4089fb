# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
from array import array
from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import bat_order
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat import RunTable
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat_order import (
    in_file_order,
    is_on_grid,
    marked_slots,
    unused_ranges,
)
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.hds.test_bat import header_of, read


def table_of(entries: List[int]) -> RunTable:
    count = len(entries)
    ones = array("I", [1]) * count
    return RunTable(512, 512, array("I", range(count)), ones, array("I", entries), count, 0)


@pytest.mark.parametrize("few", [0, 1 << 16])
@pytest.mark.parametrize("highest", [3, 70_000, (1 << 32) - 1])
def test_runs_are_in_the_order_of_their_entries_and_the_guest_decides_between_equals(
    monkeypatch: pytest.MonkeyPatch, few: int, highest: int
) -> None:
    monkeypatch.setattr(bat_order, "_FEW_RUNS", few)
    drawn = random.Random(highest)
    for least in (0, highest // 2, highest):
        entries = [drawn.randrange(highest + 1) for _number in range(300)]
        wanted = sorted(range(300), key=lambda index: (max(entries[index], least), index))
        assert list(in_file_order(table_of(entries), least)) == wanted
    assert list(in_file_order(table_of([]))) == []


@given(
    st.lists(st.integers(3, 20), unique=True, max_size=10),
    st.lists(st.tuples(st.integers(0, 22 * 2048), st.integers(1, 5000)), max_size=3),
    st.integers(0, 24 * 2048),
    st.sampled_from([1, 2]),
)
def test_unused_ranges_are_the_slots_that_nothing_touches(
    slots: List[int], pins: List[Tuple[int, int]], file_size: int, version: int
) -> None:
    entries = [slot * (4 if version == 1 else 1) for slot in slots]
    header = header_of(entries, version=version, cluster_sectors=4, data_off=12)
    pinned = [(start, start + length) for start, length in pins]
    free = []
    for start in range(header.data_start, file_size, 2048):
        slot_end = start + 2048
        if start // 2048 not in slots and not any(low < slot_end and high > start for low, high in pinned):
            free.append((start, min(slot_end, file_size)))
    result = unused_ranges(read(entries, header), header, file_size=file_size, pinned=pinned)
    split = [(low, min(low + 2048, end)) for start, end in result for low in range(start, end, 2048)]
    assert split == free
    assert all(one[1] < other[0] for one, other in zip(result, result[1:]))


def test_a_partial_tail_is_unused() -> None:
    header = header_of([2048], data_off=2048)
    assert unused_ranges(read([2048], header), header, file_size=2 * MIB + 5) == [(2 * MIB, 2 * MIB + 5)]


def test_a_file_shorter_than_its_header_area_has_nothing_unused() -> None:
    header = header_of([0], data_off=2048)
    assert unused_ranges(read([0], header), header, file_size=512) == []


@given(
    st.lists(st.integers(3, 400), unique=True, max_size=200),
    st.lists(st.tuples(st.integers(0, 500 * 2048), st.integers(1, 9000)), max_size=4),
    st.integers(0, 450 * 2048),
    st.sampled_from([1, 2]),
    st.booleans(),
)
def test_marks_and_sorting_find_the_same_room(
    slots: List[int], pins: List[Tuple[int, int]], file_size: int, version: int, ascending: bool
) -> None:
    entries = [slot * (4 if version == 1 else 1) for slot in (sorted(slots) if ascending else slots)]
    header = header_of(entries, version=version, cluster_sectors=4, data_off=12)
    pinned = [(start, start + length) for start, length in pins]
    table = read(entries, header)
    found = []
    for most in (0, 1 << 20):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bat_order, "_MARKS_PER_RUN", most)
            found.append(unused_ranges(table, header, file_size=file_size, pinned=pinned))
    assert found[0] == found[1]


@pytest.mark.parametrize("version", [1, 2])
def test_slots_are_marked_once_for_each_cluster(version: int) -> None:
    unit = 4 if version == 1 else 1
    for slots in ([3, 9, 4], [5, 6, 7, 3], [8, 3, 4, 8]):
        header = header_of([0] * len(slots), version=version, cluster_sectors=4, data_off=12)
        marks = marked_slots(read([slot * unit for slot in slots], header), header, 10 * 2048)
        assert marks is not None
        assert [3 + index for index, mark in enumerate(marks) if mark] == sorted(set(slots))


def test_a_file_of_few_clusters_far_apart_is_not_marked() -> None:
    header = header_of([0, 0], version=2, cluster_sectors=4, data_off=12)
    table = read([3, 900_000], header)
    assert marked_slots(table, header, table.data_end) is None
    assert unused_ranges(table, header, file_size=table.data_end) == [(4 * 2048, 900_000 * 2048)]


def test_a_table_off_its_grid_is_not_marked() -> None:
    header = header_of([0, 0], cluster_sectors=4, data_off=12)
    assert is_on_grid(read([12, 20], header), header)
    assert not is_on_grid(read([12, 21], header), header)
    assert unused_ranges(read([12, 21], header), header, file_size=30 * 512) == [
        (16 * 512, 21 * 512),
        (25 * 512, 15360),
    ]


@pytest.mark.parametrize("cluster_sectors", [8, 63, 2048])
@pytest.mark.parametrize("data_off", [8192, 8192 + 7])
def test_one_cluster_off_the_grid_is_found_wherever_it_is(cluster_sectors: int, data_off: int) -> None:
    header = header_of([0] * 10000, cluster_sectors=cluster_sectors, data_off=data_off)
    slots = random.Random(1).sample(range(20000), 10000)
    entries = [data_off + slot * cluster_sectors for slot in slots]
    assert is_on_grid(read(entries, header), header)
    for wrong in (0, 4095, 4096, 9999):
        for shift in (1, cluster_sectors // 2 + 1):
            bad = [entry + shift * (at == wrong) for at, entry in enumerate(entries)]
            assert not is_on_grid(read(bad, header), header)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Sequence, Tuple
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import bat_check
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat_check import check_table
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import HdsHeader
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.hds.test_bat import (
    header_of,
    read,
    tables,
)


def test_a_table_without_entries_is_accepted() -> None:
    check([], header_of([]), 0)


def check(entries: Sequence[int], header: HdsHeader, file_size: int) -> None:
    check_table(read(entries, header), header, path="/disk.hds", file_size=file_size)


@pytest.mark.parametrize("version", [1, 2])
def test_a_table_on_the_grid_is_accepted_in_any_order(version: int) -> None:
    unit = 2048 if version == 1 else 1
    check([3 * unit, 0, unit, 2 * unit], header_of([0] * 4, version=version), 4 * MIB)


@pytest.mark.parametrize(
    "entries, file_clusters, cluster",
    [
        pytest.param([2048, 1024], 9, 1, id="below the data area"),
        pytest.param([2048, 4096 + 1], 9, 1, id="off the grid"),
        pytest.param([0, 2048, 0, 4096, 2048], 9, 4, id="shared"),
        pytest.param([2048, 4096, 6144, 0, 4096, 8192], 9, 4, id="shared within runs"),
        pytest.param([4096, 6144, 2048, 4096], 9, 3, id="shared by overlapping runs"),
        pytest.param([2048, 4096, 6144, 8192], 4, 3, id="behind the file"),
        pytest.param([2048, 0xFFFFF800], 9, 1, id="far behind the file"),
    ],
)
def test_a_wrong_entry_is_damage_at_its_offset(entries: List[int], file_clusters: int, cluster: int) -> None:
    with pytest.raises(Damaged) as caught:
        check(entries, header_of(entries, data_off=2048), file_clusters * MIB)
    assert (caught.value.path, caught.value.offset) == ("/disk.hds", 64 + 4 * cluster)


def test_a_grid_may_start_anywhere_in_version_1() -> None:
    check([5, 5 + 63, 5 + 3 * 63], header_of([0] * 3, cluster_sectors=63, data_off=5), (5 + 4 * 63) * 512)
    for entries in ([5, 63], [63, 126]):
        with pytest.raises(Damaged):
            check(entries, header_of([0] * 2, cluster_sectors=63, data_off=5), (5 + 4 * 63) * 512)


def test_only_what_the_guest_sees_of_its_last_cluster_must_be_in_the_file() -> None:
    entries = [4096, 2048 + 4096]
    header = header_of(entries, last_sectors=3, data_off=2048)
    check(entries, header, 3 * MIB + 3 * 512)
    with pytest.raises(Damaged) as caught:
        check(entries, header, 3 * MIB + 3 * 512 - 1)
    assert caught.value.offset == 68


def shuffled(count: int) -> List[int]:
    """Clusters 1 to ``count`` with no two in order, for a version 2 table."""
    return [1 + (index * 7919) % count for index in range(count)]


@pytest.mark.parametrize(
    "count, looked_up", [(997, 0), (9973, 0), (9973, 1 << 16)], ids=["sorted", "by marks", "looked up"]
)
def test_one_shared_cluster_among_many_runs_is_found(
    count: int, looked_up: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bat_check, "_COUNTED_RUNS", looked_up)
    entries = shuffled(count)
    header = header_of(entries, version=2, data_off=2048)
    assert len(read(entries, header)) > 0.9 * count
    check(entries, header, (count + 1) * MIB)
    entries[700] = entries[20]
    with pytest.raises(Damaged) as caught:
        check(entries, header, (count + 1) * MIB)
    assert caught.value.offset == 64 + 4 * 700


@pytest.mark.parametrize("looked_up", [0, 1 << 16])
@given(
    slots=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    version=st.sampled_from([1, 2]),
    file_clusters=st.integers(3, 14),
)
def test_a_table_is_refused_exactly_when_a_naive_look_refuses_it(
    slots: List[int], version: int, file_clusters: int, looked_up: int
) -> None:
    with mock.patch.object(bat_check, "_COUNTED_RUNS", looked_up):
        refused_exactly_when_a_naive_look_refuses(slots, version, file_clusters)


def refused_exactly_when_a_naive_look_refuses(slots: List[int], version: int, file_clusters: int) -> None:
    unit = 4 if version == 1 else 1
    entries = [slot * unit for slot in slots]
    header = header_of(entries, version=version, cluster_sectors=4, data_off=12)
    used = [slot for slot in slots if slot]
    good = len(set(used)) == len(used) and all(3 <= slot < file_clusters for slot in used)
    if good:
        check(entries, header, file_clusters * 2048)
    else:
        with pytest.raises(Damaged):
            check(entries, header, file_clusters * 2048)


@given(tables(), st.integers(0, 1 << 45))
def test_any_table_ends_in_a_verdict_with_a_place(table: Tuple[List[int], int, int], file_size: int) -> None:
    entries, version, cluster_sectors = table
    header = header_of(entries, version=version, cluster_sectors=cluster_sectors)
    try:
        check(entries, header, file_size)
    except Damaged as error:
        assert error.offset is not None
        assert 64 <= error.offset < header.table_end

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tables with other entries, against a plain dictionary."""

from __future__ import annotations

from typing import Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._change.table import (
    clipped,
    closed,
    offset_of_cluster,
    resized,
    with_entries,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat import RunTable, TableBuilder
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import (
    FLAG_EMPTY,
    IN_USE,
    HdsHeader,
    new_header,
)

STEP = 4096
PLACES = st.dictionaries(st.integers(0, 30), st.integers(1, 60), max_size=20)


def table_of(header: HdsHeader, places: Dict[int, int]) -> RunTable:
    builder = TableBuilder(header)
    for cluster in sorted(places):
        builder.add(cluster, 1, places[cluster] * STEP // header.entry_bytes)
    return builder.build()


def places_in(table: RunTable) -> Dict[int, int]:
    return {run.cluster + index: run.offset // STEP + index for run in table.runs() for index in range(run.count)}


@pytest.mark.parametrize("version", [1, 2])
@given(old=PLACES, new=PLACES, count=st.integers(0, 31))
def test_entries_replace_and_add(version: int, old: Dict[int, int], new: Dict[int, int], count: int) -> None:
    header = new_header(size_bytes=31 * STEP, cluster_bytes=STEP, version=version)
    table = table_of(header, old)
    changed = with_entries(table, header, [(cluster, new[cluster] * STEP) for cluster in sorted(new)])
    assert places_in(changed) == {**old, **new}
    assert changed.clusters_used == len({**old, **new})
    short = clipped(table, header, count)
    assert places_in(short) == {cluster: place for cluster, place in old.items() if cluster < count}
    assert [offset_of_cluster(table, cluster) for cluster in range(31)] == [
        old[cluster] * STEP if cluster in old else None for cluster in range(31)
    ]


@pytest.mark.parametrize("version", [1, 2])
def test_a_resized_header_is_that_of_a_closed_image_of_the_size(version: int) -> None:
    header = replace(
        new_header(size_bytes=9 * STEP, cluster_bytes=STEP, version=version), in_use=IN_USE, flags=FLAG_EMPTY, ext_off=8
    )
    for count in (1, 9, 5000):
        wanted = new_header(size_bytes=count * STEP, cluster_bytes=STEP, version=version)
        assert resized(header, count * STEP, 8 * STEP) == replace(wanted, data_off=64, heads=header.heads, in_use=0)
    assert closed(header) == replace(header, in_use=0, flags=0, ext_off=0)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2 import entries as kinds

COPIED, PACKED, ZERO = 1 << 63, 1 << 62, 1
CLUSTER = 512


def tables() -> st.SearchStrategy[List[int]]:
    """Entries in groups: clusters that follow one another, from the first of the file on too, and repeated or single
    ones of every kind.
    """
    flags = st.sampled_from([0, COPIED, ZERO, COPIED | ZERO])
    rising = st.builds(
        lambda first, count, flag: [(first + index) * CLUSTER | flag for index in range(count)],
        st.sampled_from([0, 1, 2, 77]),
        st.integers(1, 9),
        flags,
    )
    value = st.sampled_from(
        [
            0,
            ZERO,
            COPIED,
            COPIED | CLUSTER,
            CLUSTER,
            5 * CLUSTER,
            PACKED | 12345,
            PACKED | 1 << 61 | 3,
            COPIED - 1 & ~PACKED,
        ]
    )
    repeated = st.builds(lambda entry, count: [entry] * count, value, st.sampled_from([1, 2, 3, 600]))
    return st.lists(st.one_of(rising, repeated), max_size=12).map(
        lambda groups: [entry for group in groups for entry in group]
    )


def meaning(entry: int) -> Tuple[str, int]:
    """Kind and host offset of one entry, taken alone."""
    if entry & PACKED:
        return kinds.COMPRESSED, 0
    rest = entry & ~COPIED
    if rest & ZERO:
        return kinds.ZEROED, 0
    return (kinds.STORED, rest & kinds.OFFSET_MASK) if rest else (kinds.UNALLOCATED, 0)


@given(tables(), st.data())
def test_runs_say_of_every_entry_what_it_says_alone(values: List[int], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(values)))
    end = data.draw(st.integers(first, len(values)))
    runs = list(kinds.table_runs(struct.pack(f">{len(values)}Q", *values), first, end, CLUSTER))
    position, found = first * CLUSTER, []
    for run in runs:
        assert run.start == position and run.length > 0 and run.length % CLUSTER == 0
        position += run.length
        for index in range(run.length // CLUSTER):
            found.append((run.kind, run.host + index * CLUSTER if run.kind == kinds.STORED else 0))
        if run.kind in (kinds.STORED, kinds.ZEROED):
            assert run.entry == values[run.start // CLUSTER] & ~COPIED
    assert position == end * CLUSTER
    assert found == [meaning(entry) for entry in values[first:end]]


def test_a_table_in_order_is_few_runs() -> None:
    values = [COPIED | (100 + index) * 65536 for index in range(8192)]
    assert len(list(kinds.table_runs(struct.pack(">8192Q", *values), 0, 8192, 65536))) == 16
    assert len(list(kinds.table_runs(bytes(65536), 0, 8192, 65536))) == 16


@given(st.integers(9, 21), st.data())
def test_the_place_of_a_compressed_cluster_survives_its_entry(bits: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, (1 << bits) - 1))
    offset = data.draw(st.integers(1 << bits, (1 << min(70 - bits, 56)) - length))
    entry = kinds.compressed_entry(offset, length, bits)
    assert entry >> 62 == 1
    found, readable = kinds.compressed_place(entry, bits)
    assert found == offset
    assert readable >= length
    assert (offset + readable) // 512 == (offset + length - 1) // 512 + 1 and (offset + readable) % 512 == 0


def test_the_known_entry_of_a_compressed_cluster() -> None:
    # 64 KiB clusters: 54 bits of offset; three sectors are touched, so two follow the first.
    assert kinds.compressed_entry(0x50000 + 100, 1000, 16) == PACKED | 2 << 54 | 0x50064
    assert kinds.compressed_place(PACKED | 2 << 54 | 0x50064, 16) == (0x50064, 3 * 512 - 100)
    with pytest.raises(BadRequest):
        kinds.compressed_entry((1 << 54) - 10, 11, 16)


@pytest.mark.parametrize(
    "bits, runs",
    [
        (0xFFFFFFFF, [(0, 32, kinds.STORED)]),
        (0xFFFFFFFF << 32, [(0, 32, kinds.ZEROED)]),
        (0, [(0, 32, kinds.UNALLOCATED)]),
        (
            0x0000FF00 | 0xF << 32 | 0xC0000000 << 32,
            [(0, 4, "zeroed"), (4, 4, "unallocated"), (8, 8, "stored"), (16, 14, "unallocated"), (30, 2, "zeroed")],
        ),
        (1 | 1 << 32, [(0, 32, kinds.BROKEN)]),
    ],
)
def test_subclusters(bits: int, runs: List[Tuple[int, int, str]]) -> None:
    table = bytes(16) + struct.pack(">QQ", COPIED | 5 << 16, bits)
    found = list(kinds.extended_runs(table, 1, 2, 65536))
    assert [((run.start - 65536) // 2048, run.length // 2048, run.kind) for run in found] == runs
    assert all(run.host == (5 << 16) + run.start - 65536 for run in found if run.kind == kinds.STORED)


def test_subclusters_without_a_cluster_are_broken() -> None:
    assert [run.kind for run in kinds.extended_runs(struct.pack(">QQ", 0, 4), 0, 1, 65536)] == [kinds.BROKEN]
    assert [run.kind for run in kinds.extended_runs(struct.pack(">QQ", PACKED | 70000, 0), 0, 1, 65536)] == [
        kinds.COMPRESSED
    ]

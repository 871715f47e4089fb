# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from array import array
from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2 import layout

COPIED, PACKED, ZERO = 1 << 63, 1 << 62, 1
CLUSTER = 512


def entries() -> st.SearchStrategy[List[int]]:
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
        return layout.COMPRESSED, 0
    rest = entry & ~COPIED
    if rest & ZERO:
        return layout.ZEROED, 0
    return (layout.STORED, rest & layout.OFFSET_MASK) if rest else (layout.UNALLOCATED, 0)


@given(entries(), st.data())
def test_runs_say_of_every_entry_what_it_says_alone(values: List[int], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(values)))
    end = data.draw(st.integers(first, len(values)))
    runs = list(layout.table_runs(struct.pack(f">{len(values)}Q", *values), first, end, CLUSTER))
    position, found = first * CLUSTER, []
    for run in runs:
        assert run.start == position and run.length > 0 and run.length % CLUSTER == 0
        position += run.length
        for index in range(run.length // CLUSTER):
            found.append((run.kind, run.host + index * CLUSTER if run.kind == layout.STORED else 0))
        if run.kind in (layout.STORED, layout.ZEROED):
            assert run.entry == values[run.start // CLUSTER] & ~COPIED
    assert position == end * CLUSTER
    assert found == [meaning(entry) for entry in values[first:end]]


def test_a_table_in_order_is_few_runs() -> None:
    values = [COPIED | (100 + index) * 65536 for index in range(8192)]
    assert len(list(layout.table_runs(struct.pack(">8192Q", *values), 0, 8192, 65536))) == 16
    assert len(list(layout.table_runs(bytes(65536), 0, 8192, 65536))) == 16


@given(st.integers(9, 21), st.data())
def test_the_place_of_a_compressed_cluster_survives_its_entry(bits: int, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, (1 << bits) - 1))
    offset = data.draw(st.integers(1 << bits, (1 << min(70 - bits, 56)) - length))
    entry = layout.compressed_entry(offset, length, bits)
    assert entry >> 62 == 1
    found, readable = layout.compressed_place(entry, bits)
    assert found == offset
    assert readable >= length
    assert (offset + readable) // 512 == (offset + length - 1) // 512 + 1 and (offset + readable) % 512 == 0


def test_the_known_entry_of_a_compressed_cluster() -> None:
    # 64 KiB clusters: 54 bits of offset; three sectors are touched, so two follow the first.
    assert layout.compressed_entry(0x50000 + 100, 1000, 16) == PACKED | 2 << 54 | 0x50064
    assert layout.compressed_place(PACKED | 2 << 54 | 0x50064, 16) == (0x50064, 3 * 512 - 100)
    with pytest.raises(BadRequest):
        layout.compressed_entry((1 << 54) - 10, 11, 16)


@pytest.mark.parametrize(
    "bits, runs",
    [
        (0xFFFFFFFF, [(0, 32, layout.STORED)]),
        (0xFFFFFFFF << 32, [(0, 32, layout.ZEROED)]),
        (0, [(0, 32, layout.UNALLOCATED)]),
        (
            0x0000FF00 | 0xF << 32 | 0xC0000000 << 32,
            [(0, 4, "zeroed"), (4, 4, "unallocated"), (8, 8, "stored"), (16, 14, "unallocated"), (30, 2, "zeroed")],
        ),
        (1 | 1 << 32, [(0, 32, layout.BROKEN)]),
    ],
)
def test_subclusters(bits: int, runs: List[Tuple[int, int, str]]) -> None:
    table = bytes(16) + struct.pack(">QQ", COPIED | 5 << 16, bits)
    found = list(layout.extended_runs(table, 1, 2, 65536))
    assert [((run.start - 65536) // 2048, run.length // 2048, run.kind) for run in found] == runs
    assert all(run.host == (5 << 16) + run.start - 65536 for run in found if run.kind == layout.STORED)


def test_subclusters_without_a_cluster_are_broken() -> None:
    assert [run.kind for run in layout.extended_runs(struct.pack(">QQ", 0, 4), 0, 1, 65536)] == [layout.BROKEN]
    assert [run.kind for run in layout.extended_runs(struct.pack(">QQ", PACKED | 70000, 0), 0, 1, 65536)] == [
        layout.COMPRESSED
    ]


@pytest.mark.parametrize("count", [0, 1, 1000, (1 << 19) + 5])
def test_sorting_in_parts_is_sorting(count: int) -> None:
    values = array("I", ((index * 7919) % 1000003 for index in range(count)))
    assert list(layout.sorted_entries(values)) == sorted(values)


def test_the_bytes_of_a_header() -> None:
    header = layout.Qcow2Header(
        3,
        16,
        1 << 30,
        0x10000,
        2,
        0x50000,
        0x10000,
        incompatible=8,
        compression="zstd",
        backing_name="b\u00e4.qcow2",
        backing_format="raw",
    )
    name = "b\u00e4.qcow2".encode()
    expected = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 112 + 16 + 8, len(name), 16, 1 << 30, 0, 2, 0x10000, 0x50000, 1, 0, 0
    )
    expected += struct.pack(">QQQII8s", 8, 0, 0, 4, 112, b"\1") + struct.pack(">II8sQ", 0xE2792ACA, 3, b"raw", 0) + name
    assert layout.pack_header(header) == expected
    assert layout.parse_header(expected.ljust(65536, b"\0"), path="x", file_size=1 << 20) == header


def test_a_name_that_does_not_fit_is_a_bad_request() -> None:
    header = layout.Qcow2Header(
        2, 9, 512, 512, 1, 1024, 512, backing_name="x" * (512 - 72 - 16 - 8), backing_format="qcow2"
    )
    raw = layout.pack_header(header)
    assert len(raw) == 512
    assert layout.parse_header(raw, path="x", file_size=4096) == header
    for bits, length in ((9, 512 - 72 - 16 - 7), (16, 1024)):
        with pytest.raises(BadRequest):
            layout.pack_header(
                layout.Qcow2Header(2, bits, 512, 512, 1, 1024, 512, backing_name="x" * length, backing_format="qcow2")
            )

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
import struct
from array import array
from typing import Dict, Iterator, List, Sequence, Tuple, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import bat as hds_bat
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import HdsHeader, new_header


class TableFile:
    """A file that holds a header's worth of junk and a table; pieces of ``hole_bytes`` zeros are holes."""

    path = "/disk.hds"

    def __init__(self, entries: Sequence[int], hole_bytes: int = 0) -> None:
        self.content = b"\xff" * 64 + struct.pack(f"<{len(entries)}I", *entries)
        self.hole_bytes = hole_bytes
        self.bytes_read = 0

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        piece = self.content[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        self.bytes_read += len(piece)
        return len(piece)

    def data_ranges(self, start: int, end: int) -> Iterator[Tuple[int, int]]:
        if not self.hole_bytes:
            yield start, end
            return
        for block in range(0, len(self.content), self.hole_bytes):
            low, high = max(start, block), min(end, block + self.hole_bytes)
            if low < high and any(self.content[block : block + self.hole_bytes]):
                yield low, high


def header_of(
    entries: Sequence[int], *, version: int = 1, cluster_sectors: int = 2048, data_off: int = 0, last_sectors: int = 0
) -> HdsHeader:
    """A header whose guest size needs exactly ``entries``; ``last_sectors`` shortens the last cluster to that
    length.
    """
    size = len(entries) * cluster_sectors - (cluster_sectors - last_sectors if last_sectors else 0)
    start = data_off or -(-(64 + 4 * len(entries)) // (512 * cluster_sectors)) * cluster_sectors
    return HdsHeader(version, 16, 0, cluster_sectors, len(entries), size, 0, start, 0, 0)


def naive_runs(entries: Sequence[int], header: HdsHeader) -> List[hds_bat.Run]:
    runs: List[hds_bat.Run] = []
    for cluster, entry in enumerate(entries):
        if not entry:
            continue
        offset = entry * header.entry_bytes
        if runs:
            last = runs[-1]
            if last.cluster + last.count == cluster and last.offset + last.count * header.cluster_bytes == offset:
                runs[-1] = last._replace(count=last.count + 1)
                continue
        runs.append(hds_bat.Run(cluster, 1, offset))
    return runs


def read(entries: Sequence[int], header: HdsHeader, hole_bytes: int = 0) -> hds_bat.RunTable:
    return hds_bat.read_table(TableFile(entries, hole_bytes), header)  # type: ignore[arg-type]


@st.composite
def tables(draw: st.DrawFn) -> Tuple[List[int], int, int]:
    """Entries made of stretches that stress the search for runs, with version and cluster size."""
    version = draw(st.sampled_from([1, 2]))
    cluster_sectors = draw(st.sampled_from([1, 63, 2048, (1 << 22) - 1]))
    step = cluster_sectors if version == 1 else 1
    entries: List[int] = []
    starts = st.one_of(
        st.sampled_from([0, step, 1, (1 << 31) - step, (1 << 32) - step, (1 << 32) - 3 * step]),
        st.integers(0, (1 << 32) - 1),
    )
    for _index in range(draw(st.integers(0, 6))):
        length = draw(st.one_of(st.integers(1, 5), st.integers(1, 2100)))
        start = draw(starts)
        kind = draw(st.sampled_from(["zeros", "run", "same", "scattered", "continue", "sparse"]))
        if kind == "zeros":
            entries += [0] * length
        elif kind == "same":
            entries += [start] * length
        elif kind == "sparse":
            # Clusters in the order of the guest, few of which are neighbours.
            held = draw(st.lists(st.sampled_from([False, False, False, True]), min_size=5, max_size=40))
            held = [held[index % len(held)] for index in range(length)]
            entries += [(start + sum(held[:index]) * step) % (1 << 32) if held[index] else 0 for index in range(length)]
        elif kind == "scattered":
            entries += [(start * (index * 7919 + 1)) % (1 << 32) for index in range(length)]
        else:
            if kind == "continue" and entries:
                start = entries[-1] + step
            entries += [(start + index * step) % (1 << 32) for index in range(length)]
    return entries, version, cluster_sectors


@given(tables(), st.sampled_from([0, 511, 1000, 4098]))
def test_runs_are_those_of_a_naive_loop(table: Tuple[List[int], int, int], hole_bytes: int) -> None:
    entries, version, cluster_sectors = table
    header = header_of(entries, version=version, cluster_sectors=cluster_sectors)
    result = read(entries, header, hole_bytes)
    expected = naive_runs(entries, header)
    assert list(result.runs()) == expected
    assert len(result) == len(expected)
    assert result.clusters_used == sum(run.count for run in expected)
    assert result.data_end == max(
        [run.offset + run.count * header.cluster_bytes for run in expected], default=header.data_start
    )


@given(tables(), st.integers(0, 9000), st.one_of(st.none(), st.integers(0, 9000)))
def test_a_range_of_runs_is_the_whole_clipped(table: Tuple[List[int], int, int], first: int, end: int | None) -> None:
    entries, version, cluster_sectors = table
    header = header_of(entries, version=version, cluster_sectors=cluster_sectors)
    stop = len(entries) if end is None else end
    kept = [entry if first <= cluster < stop else 0 for cluster, entry in enumerate(entries)]
    assert list(read(entries, header).runs(first, end)) == naive_runs(kept, header)


@pytest.mark.parametrize("at_once", [1, 2, 4096])
@given(tables(), st.integers(0, 9000), st.integers(0, 9000))
def test_allocated_ranges_are_the_clusters_with_an_entry(
    at_once: int, table: Tuple[List[int], int, int], first: int, end: int
) -> None:
    entries, version, cluster_sectors = table
    wanted = {cluster for cluster, entry in enumerate(entries) if entry and first <= cluster < end}
    found = read(entries, header_of(entries, version=version, cluster_sectors=cluster_sectors))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hds_bat, "_RUNS_AT_ONCE", at_once)
        ranges = list(found.allocated_ranges(first, end))
    assert all(start < stop for start, stop in ranges)
    assert all(one[1] <= other[0] for one, other in zip(ranges, ranges[1:]))
    assert {cluster for start, stop in ranges for cluster in range(start, stop)} == wanted
    assert first >= end or found.has_any(first, end) == bool(wanted)
    touched = len(list(found.runs(first, end)))
    assert touched <= found.count_runs(first, end) <= touched + 1 or first >= end


@given(tables())
def test_the_pieces_of_a_table_are_the_table(table: Tuple[List[int], int, int]) -> None:
    entries, version, cluster_sectors = table
    header = header_of(entries, version=version, cluster_sectors=cluster_sectors)
    packed = bytearray(4 * len(entries))
    for offset, piece in hds_bat.table_pieces(read(entries, header), header):
        packed[offset - 64 : offset - 64 + len(piece)] = piece
    assert bytes(packed) == struct.pack(f"<{len(entries)}I", *entries)


def test_pieces_are_bounded_and_those_without_an_entry_are_left_out() -> None:
    entries = [0] * 300_000
    entries[70_000], entries[299_999] = 10 * 2048, 11 * 2048
    header = header_of(entries)
    pieces = list(hds_bat.table_pieces(read(entries, header), header))
    assert [(offset, len(piece)) for offset, piece in pieces] == [
        (64 + 4 * 65536, 4 * 65536),
        (64 + 4 * 262144, 4 * (300_000 - 262_144)),
    ]


def test_pieces_leave_out_what_lies_behind_a_shorter_table() -> None:
    entries = [2048, 4096, 6144, 0, 8192]
    table = read(entries, header_of(entries))
    (piece,) = hds_bat.table_pieces(table, header_of(entries[:2]))
    assert piece == (64, struct.pack("<2I", 2048, 4096))


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "with zeros"])
def test_a_run_goes_on_where_the_table_is_read_in_pieces(sparse: bool) -> None:
    entries = [2 * index + 1 for index in range(1020)] + list(range(5000, 9000))
    if sparse:
        entries[3] = entries[1019] = 0
    header = header_of(entries, version=2)
    assert list(read(entries, header).runs()) == naive_runs(entries, header)
    assert list(read(entries, header).runs(1020)) == [hds_bat.Run(1020, 4000, 5000 * MIB)]


def test_surplus_entries_behind_the_guest_size_are_ignored() -> None:
    entries = [2048, 0, 4096, 6144, 8192]
    header = HdsHeader(1, 16, 0, 2048, 5, 3 * 2048, 0, 2048, 0, 0)
    assert list(read(entries, header).runs()) == [hds_bat.Run(0, 1, MIB), hds_bat.Run(2, 1, 2 * MIB)]


def test_a_file_that_ends_within_its_table_is_damaged() -> None:
    with pytest.raises(Damaged) as caught:
        read([2048] * 10, header_of([0] * 20))
    assert caught.value.offset == 64 + 40


def test_holes_of_the_table_are_not_read() -> None:
    entries = [0] * 1_000_000
    entries[500_000] = 8192
    file = TableFile(entries, hole_bytes=4096)
    table = hds_bat.read_table(file, header_of(entries))  # type: ignore[arg-type]
    assert list(table.runs()) == [hds_bat.Run(500_000, 1, 8192 * 512)]
    assert file.bytes_read <= 2 * 4096


def test_a_table_without_entries_is_empty() -> None:
    table = read([], header_of([]))
    assert (len(table), table.clusters_used, list(table.runs())) == (0, 0, [])


# -- packing


@pytest.mark.parametrize("version, expected", [(1, (0, 2048, 6144)), (2, (0, 1, 3))])
def test_offsets_become_entries_in_the_unit_of_the_version(version: int, expected: Tuple[int, ...]) -> None:
    header = header_of([0] * 3, version=version)
    assert hds_bat.pack_entries(header, [0, MIB, 3 * MIB]) == struct.pack("<3I", *expected)


@pytest.mark.parametrize("version, offset", [(1, 513), (1, 512 << 32), (2, 512), (2, MIB << 32), (1, -512)])
def test_an_offset_that_no_entry_can_express_is_unsupported(version: int, offset: int) -> None:
    with pytest.raises(Unsupported):
        hds_bat.pack_entries(header_of([0], version=version), [offset])


@given(tables())
def test_packed_entries_of_all_runs_are_the_table(table: Tuple[List[int], int, int]) -> None:
    entries, version, cluster_sectors = table
    header = header_of(entries, version=version, cluster_sectors=cluster_sectors)
    offsets: Dict[int, int] = {}
    for run in read(entries, header).runs():
        offsets.update((run.cluster + index, run.offset + index * header.cluster_bytes) for index in range(run.count))
    packed = hds_bat.pack_entries(header, [offsets.get(cluster, 0) for cluster in range(len(entries))])
    assert packed == struct.pack(f"<{len(entries)}I", *entries)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("cluster_bytes", [63 * 512, 504 * 512, MIB])
def test_sequential_entries_are_one_run_over_the_whole_disk(version: int, cluster_bytes: int) -> None:
    header = new_header(size_bytes=40 * cluster_bytes, cluster_bytes=cluster_bytes, version=version)
    packed = hds_bat.sequential_entries(header, 0, 17) + hds_bat.sequential_entries(header, 17, 23)
    table = read(struct.unpack("<40I", packed), header)
    assert list(table.runs()) == [hds_bat.Run(0, 40, header.data_start)]
    assert table.data_end == header.data_start + 40 * cluster_bytes


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("continued", [0, 0.04, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_scattered_clusters_of_which_some_continue_one_another(seed: int, continued: float, version: int) -> None:
    chance = random.Random(seed)
    header = header_of([0] * 9000, version=version)
    entries, slots = [0] * 9000, list(range(1, 9001))
    chance.shuffle(slots)
    for cluster in range(len(entries)):
        if cluster and entries[cluster - 1] and chance.random() < continued:
            # Three in a row come of two such steps.
            entries[cluster] = entries[cluster - 1] + header.entry_step
        elif chance.random() < 0.05:
            entries[cluster] = slots.pop() * header.entry_step
    table = read(entries, header)
    runs = naive_runs(entries, header)
    assert list(table.runs()) == runs
    assert table.data_end == max(run.offset + run.count * header.cluster_bytes for run in runs)
    assert table.clusters_used == sum(map(bool, entries))


MANY = [1, 2] * 5000


@pytest.mark.parametrize(
    "counts",
    [[1, 1, 1], [1, 2, 1, 255], [1, 256], [257, 1, 2], [512, 1], [1, 65536], [1 << 24, 1, 1 << 31], [], MANY],
)
def test_runs_of_more_than_one_cluster_are_told_from_the_others(counts: List[int]) -> None:
    told = hds_bat.long_runs(array("I", counts))
    assert list(told) == [at for at, count in enumerate(counts) if count > 1]

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import List, Tuple, Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image_ids import NO_IDS, ImageIds
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.layout import VdiHeader
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vdi.map import VdiMap

FREE = 0xFFFFFFFF
ZERO = 0xFFFFFFFE
BLOCK = 4096
MAP = 512


class MapFile:
    """A file of which only the map can be read; counts what was read."""

    path = "/disk.vdi"

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.read = 0

    def pread_into(self, offset: int, buffer: Union[bytearray, memoryview]) -> int:
        part = self.raw[offset - MAP : offset - MAP + len(buffer)]
        buffer[: len(part)] = part
        self.read += len(part)
        return len(part)


def new_map(
    entries: List[int],
    *,
    size: int = 0,
    extra: int = 0,
    room: int = 1 << 40,
    short: int = 0,
    ids: ImageIds = NO_IDS,
) -> Tuple[VdiMap, MapFile]:
    raw = struct.pack(f"<{len(entries)}I", *entries)
    file = MapFile(raw[: len(raw) - short])
    data = MAP + -(-len(raw) // 512) * 512
    header = VdiHeader("dynamic", size or len(entries) * BLOCK, BLOCK, extra, len(entries), 0, MAP, data, 0, ids)
    return VdiMap(file, header, file_size=data + room), file  # type: ignore[arg-type]


def flat(table: VdiMap, first: int, end: int) -> List[Tuple[int, int]]:
    runs = list(table.runs(first, end))
    assert all(count > 0 for _block, count, _ordinal in runs)
    return [(block + index, ordinal + index) for block, count, ordinal in runs for index in range(count)]


@st.composite
def tables(draw: st.DrawFn) -> List[int]:
    """Maps that are longer than a part of a piece: free, zero and stored stretches, these in ascending or in any
    order.
    """
    entries: List[int] = []
    ordinals = 0
    for _index in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["free", "zero", "run", "mixed"]))
        length = draw(st.sampled_from([1, 2, 3, 500, 1023, 1024, 1025, 3000]))
        if kind == "run":
            entries.extend(range(ordinals, ordinals + length))
            ordinals += length
        elif kind == "mixed":
            entries.extend(
                (FREE, ZERO, ordinals + index, ordinals + length * 2 - index)[index % 4] for index in range(length)
            )
            ordinals += length * 2 + 1
        else:
            entries.extend([FREE if kind == "free" else ZERO] * length)
    highest = max((entry for entry in entries if entry < ZERO), default=-1)
    return entries + [FREE] * max(0, highest + 1 - len(entries))


@given(tables(), st.data())
def test_runs_are_the_entries(entries: List[int], data: st.DataObject) -> None:
    expected = [(block, entry) for block, entry in enumerate(entries) if entry < ZERO]
    table, _file = new_map(entries)
    assert flat(table, 0, len(entries)) == expected
    for _index in range(3):
        first = data.draw(st.integers(0, len(entries)))
        end = data.draw(st.integers(first, len(entries)))
        assert flat(table, first, end) == [pair for pair in expected if first <= pair[0] < end]


def hiding(table: VdiMap, first: int, end: int) -> List[Tuple[int, int]]:
    runs = list(table.runs(first, end))
    assert all(count > 0 for _block, count, _ordinal in runs)
    return [
        (block + index, ordinal + (index if ordinal < ZERO else 0))
        for block, count, ordinal in runs
        for index in range(count)
    ]


@given(tables(), st.data())
def test_with_a_parent_zeros_are_runs_too(entries: List[int], data: st.DataObject) -> None:
    expected = [(block, entry) for block, entry in enumerate(entries) if entry != FREE]
    table, _file = new_map(entries, ids=ImageIds(None, None, "{parent}", None))
    assert hiding(table, 0, len(entries)) == expected
    for _index in range(3):
        first = data.draw(st.integers(0, len(entries)))
        end = data.draw(st.integers(first, len(entries)))
        assert hiding(table, first, end) == [pair for pair in expected if first <= pair[0] < end]


def test_sequential_blocks_are_one_run_within_a_piece() -> None:
    table, _file = new_map(list(range(40_000)))
    assert list(table.runs(0, 40_000)) == [(0, 16384, 0), (16384, 16384, 16384), (32768, 40_000 - 32768, 32768)]
    assert list(table.runs(5, 6)) == [(5, 1, 5)]


def test_only_the_pieces_that_are_asked_for_are_read_and_only_once() -> None:
    table, file = new_map([FREE] * 100_000)
    assert list(table.runs(20_000, 20_001)) == []
    assert file.read == 65536
    assert list(table.runs(17_000, 32_768)) == []
    assert file.read == 65536
    assert list(table.runs(0, 100_000)) == []
    assert file.read == 400_000


def test_pieces_that_were_forgotten_are_read_again_and_are_no_duplicates() -> None:
    count = 70 * 16384
    table, file = new_map(list(range(count)))
    for _round in range(2):
        assert sum(length for _block, length, _ordinal in table.runs(0, count)) == count
    assert file.read == 2 * 4 * count


@pytest.mark.parametrize("twin", [0, 1, 1023, 1024, 16383, 16384, 69_999])
@pytest.mark.parametrize("block", [3, 16385, 70_003])
def test_a_block_that_two_have_is_refused(block: int, twin: int) -> None:
    entries = [*range(70_000), FREE, FREE, FREE, FREE]
    entries[block] = entries[twin]
    table, _file = new_map(entries)
    with pytest.raises(Damaged) as caught:
        list(table.runs(0, len(entries)))
    assert caught.value.offset == MAP + 4 * max(block, twin)
    assert caught.value.path == "/disk.vdi"


@pytest.mark.parametrize("shift", range(9))
def test_runs_that_share_their_last_block_are_refused(shift: int) -> None:
    table, _file = new_map([*range(shift, shift + 20), FREE, *range(shift + 19, shift + 30), *[FREE] * 20])
    with pytest.raises(Damaged) as caught:
        list(table.runs(0, 60))
    assert (caught.value.offset, caught.value.found) == (MAP + 4 * 21, shift + 19)


@pytest.mark.parametrize("entry", [10, 11, 0x7FFFFFFF, 0xFFFFFFFD])
def test_an_entry_beyond_the_blocks_of_the_image_is_refused(entry: int) -> None:
    table, _file = new_map([FREE, entry, *[FREE] * 8])
    with pytest.raises(Damaged) as caught:
        list(table.runs(0, 10))
    assert (caught.value.offset, caught.value.found) == (MAP + 4, entry)


def test_a_run_that_leaves_the_image_is_refused_where_it_leaves_it() -> None:
    table, _file = new_map([FREE, 7, 8, 9, 10, 11, FREE, FREE, FREE, FREE])
    with pytest.raises(Damaged) as caught:
        list(table.runs(0, 10))
    assert (caught.value.offset, caught.value.found) == (MAP + 4 * 4, 10)


@pytest.mark.parametrize("extra", [0, 512])
def test_a_run_that_leaves_the_file_is_refused_where_it_leaves_it(extra: int) -> None:
    stride = BLOCK + extra
    entries = [FREE, 0, 1, 2, 3, FREE]
    fits, _file = new_map(entries, extra=extra, room=4 * stride)
    assert flat(fits, 0, 6) == [(1, 0), (2, 1), (3, 2), (4, 3)]
    for room, block in (
        (4 * stride - 1, 4),
        (3 * stride, 4),
        (3 * stride - 1, 3),
        (stride, 2),
        (stride - 1, 1),
        (0, 1),
    ):
        table, _file = new_map(entries, extra=extra, room=room)
        with pytest.raises(Damaged) as caught:
            list(table.runs(0, 6))
        assert caught.value.offset == MAP + 4 * block


def test_of_the_last_block_only_what_the_guest_sees_must_be_there() -> None:
    entries, size = [1, FREE, 0], 2 * BLOCK + 512
    table, _file = new_map(entries, size=size, room=2 * BLOCK)
    assert flat(table, 0, 3) == [(0, 1), (2, 0)]
    table, _file = new_map([FREE, 0, 1], size=size, room=BLOCK + 512)
    assert flat(table, 0, 3) == [(1, 0), (2, 1)]
    table, _file = new_map([FREE, 0, 1], size=size, room=BLOCK + 511)
    with pytest.raises(Damaged):
        flat(table, 0, 3)


def test_a_map_that_is_cut_while_it_is_open_is_damaged() -> None:
    table, _file = new_map([FREE] * 20_000, short=4)
    assert flat(table, 0, 100) == []
    with pytest.raises(Damaged) as caught:
        flat(table, 0, 20_000)
    assert caught.value.offset == MAP + 4 * 19_999


def test_entries_behind_the_guest_size_are_not_looked_at() -> None:
    table, _file = new_map([0, 1, 1, 77], size=2 * BLOCK)
    assert flat(table, 0, 2) == [(0, 0), (1, 1)]

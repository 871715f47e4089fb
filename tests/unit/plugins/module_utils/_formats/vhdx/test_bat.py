# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Dict, List, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx import bat as vhdx_bat
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.bat import BlockTable, PieceCache, Run
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.layout import Region, VhdxDisk
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

PORT = OsPort()
MIB = 1 << 20
AT = MIB
NAMES = {"relative_path": "base"}


class Table:
    """A file that holds nothing but a table at 1 MiB."""

    def __init__(
        self,
        path: Path,
        *,
        blocks: int,
        block: int = MIB,
        entries: Optional[Dict[int, int]] = None,
        length: int = 1 << 40,
        differencing: bool = False,
    ) -> None:
        self.disk = VhdxDisk(blocks * block, block, 512, 512, "", False, NAMES if differencing else None)
        chunk = self.disk.chunk_blocks
        with open(path, "wb") as stream:
            for index, entry in (entries or {}).items():
                stream.seek(AT + 8 * index)
                stream.write(struct.pack("<Q", entry))
            stream.truncate(length)
        self.indexes = [block + block // chunk for block in range(min(blocks, 20000))]
        self.file = PORT.open_read(str(path))
        self.table = BlockTable(self.file, self.disk, Region(AT, 600 * MIB))


def naive(table: Table, entries: Dict[int, int]) -> List[Run]:
    """One entry after the other."""
    found: List[Run] = []
    for block, index in enumerate(table.indexes):
        entry = entries.get(index, 0)
        state, offset = entry & 7, entry & ~0xFFFFF if entry & 7 >= 6 else 0
        last = found[-1] if found else None
        if (
            last is not None
            and last.state == state
            and (state < 6 or last.offset + last.count * table.disk.block_bytes == offset)
        ):
            found[-1] = Run(last.block, last.count + 1, state, last.offset)
        else:
            found.append(Run(block, 1, state, offset))
    return found


@st.composite
def tables(draw: st.DrawFn) -> Dict[int, int]:
    """Stretches of states and places by block; a place continues the one before it or not."""
    entries, block, place = {}, 0, 700
    for state, count, jump in draw(
        st.lists(
            st.tuples(st.sampled_from([0, 1, 2, 3, 6, 6]), st.sampled_from([1, 2, 7, 600, 5000, 8200]), st.booleans()),
            max_size=8,
        )
    ):
        place += 3 * jump
        for number in range(block, min(block + count, 20000)):
            entries[number] = (place << 20 if state == 6 else 0) | state
            place += state == 6
        block += count
    return entries


@settings(max_examples=30)
@given(tables(), st.booleans(), st.integers(0, 19999), st.integers(0, 9000))
def test_runs_are_what_the_entries_say(
    tmp_path_factory: pytest.TempPathFactory, by_block: Dict[int, int], differencing: bool, first: int, count: int
) -> None:
    entries = {block + block // 4096: entry for block, entry in by_block.items()}
    # What stands between two chunks is no payload.
    entries.update({4096: 800000 << 20 | 6, 2 * 4097 - 1: 810000 << 20 | 6})
    table = Table(tmp_path_factory.mktemp("table") / "file", blocks=20000, entries=entries, differencing=differencing)
    runs = naive(table, entries)
    assert list(table.table.runs()) == runs
    end = min(first + count, 20000)
    expected = []
    for run in runs:
        begin, stop = max(first, run.block), min(end, run.block + run.count)
        if begin < stop:
            expected.append(
                Run(begin, stop - begin, run.state, run.offset + (begin - run.block) * MIB if run.state >= 6 else 0)
            )
    assert list(table.table.runs(first, end)) == expected
    table.table.check(taken=[Region(AT, 600 * MIB)])
    table.file.close()


@pytest.mark.parametrize("block", [1, 2, 32, 256])
def test_bits_of_a_chunk_stand_behind_its_blocks(tmp_path: Path, block: int) -> None:
    """The number of blocks to a chunk of 4 GiB follows the size of a block."""
    chunk = 4096 // block
    bits = {0: 5 << 40, 2: (5 << 40) + MIB}
    entries = {(number + 1) * chunk + number: place | 6 for number, place in bits.items()}
    partial = 2 * chunk + 3
    entries[partial + partial // chunk] = 6 << 40 | 7
    path = tmp_path / "file"
    table = Table(path, blocks=3 * chunk, block=block * MIB, entries=entries, length=7 << 40, differencing=True)
    with open(path, "r+b") as stream:
        stream.seek(bits[2] + 3 * block * 256 + 5)
        stream.write(b"bits")
    table.table.check(taken=[])
    assert [run for run in table.table.runs() if run.state] == [Run(partial, 1, 7, 6 << 40)]
    assert table.table.sector_bits(partial, 5, 9) == b"bits"
    table.file.close()


REFUSED = {
    "twice": {0: 700 << 20 | 6, 5: 700 << 20 | 6},
    "overlapping": {0: 700 << 20 | 6, 1: 702 << 20 | 6, 2: 704 << 20 | 6, 5: 703 << 20 | 6},
    "in a table": {3: 601 << 20 | 6, 9: 600 << 20 | 6},
    "behind the file": {3: 1 << 40 | 6},
    "over the end of the file": {3: (1 << 40) - MIB | 6},
    "in the headers": {3: 6},
    "state 4": {3: 700 << 20 | 4},
    "state 5": {3: 5},
    "reserved bits": {3: 700 << 20 | 1 << 19 | 6},
    "in part": {3: 700 << 20 | 7},
}


@pytest.mark.parametrize("most_sorted", [1 << 18, 1])
@pytest.mark.parametrize("name", list(REFUSED))
def test_impossible_tables_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most_sorted: int
) -> None:
    monkeypatch.setattr(vhdx_bat, "_SORTED_RUNS", most_sorted)
    entries = {3: 800 << 20 | 6, 7: 900 << 20 | 6, **REFUSED[name]}
    table = Table(tmp_path / "file", blocks=100, block=2 * MIB, entries=entries)
    with pytest.raises(Damaged) as caught:
        table.table.check(taken=[Region(AT, 600 * MIB)])
    assert caught.value.path == str(tmp_path / "file")
    assert caught.value.offset is not None
    table.file.close()


@pytest.mark.parametrize("most_sorted", [1 << 18, 1])
def test_the_last_block_may_be_cut_where_the_disk_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_sorted: int
) -> None:
    monkeypatch.setattr(vhdx_bat, "_SORTED_RUNS", most_sorted)
    table = Table(tmp_path / "file", blocks=1, entries={0: 700 << 20 | 6, 1: 702 << 20 | 6})
    disk = VhdxDisk(MIB + 512, MIB, 512, 512, "", False)
    for length, fits in (((702 << 20) + 512, True), ((702 << 20) + 511, False)):
        os.truncate(tmp_path / "file", length)
        cut = BlockTable(table.file, disk, Region(AT, MIB))
        if fits:
            cut.check(taken=[])
        else:
            with pytest.raises(Damaged):
                cut.check(taken=[])
    table.file.close()


def test_a_file_too_long_and_too_scattered_is_not_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vhdx_bat, "_SORTED_RUNS", 1)
    monkeypatch.setattr(vhdx_bat, "_MARKED_UNITS", 1 << 19)
    table = Table(tmp_path / "file", blocks=100, entries={0: 700 << 20 | 6, 5: 800 << 20 | 6})
    with pytest.raises(Unsupported):
        table.table.check(taken=[])
    table.file.close()


def test_pieces_are_kept_but_not_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = b"".join(struct.pack("<I", number) for number in range(3 * MIB // 4))
    path.write_bytes(content)
    file = PORT.open_read(str(path))
    reads: List[int] = []

    class Counting:
        path, size, data_ranges, close = file.path, file.size, file.data_ranges, file.close

        def pread_into(self, offset: int, buffer: bytearray) -> int:
            reads.append(offset)
            return file.pread_into(offset, buffer)

    cache = PieceCache(Counting())  # type: ignore[arg-type]
    for offset, length in ((0, 8), (65530, 12), (100, 200_000), (0, 3 * MIB), (0, 8), (0, 9)):
        assert cache.read(offset, length) == content[offset : offset + length]
    assert reads == [number << 16 for number in [0, 1, 2, 3, *range(4, 48), 0]]
    with pytest.raises(Damaged):
        cache.read(3 * MIB - 4, 5)
    file.close()


def test_a_table_that_ends_with_the_file_is_damaged(tmp_path: Path) -> None:
    table = Table(tmp_path / "file", blocks=20000, length=AT + 100)
    with pytest.raises(Damaged):
        list(table.table.runs(10, 20))
    table.file.close()

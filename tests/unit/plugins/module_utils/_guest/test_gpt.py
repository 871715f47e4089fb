# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backup of a GUID partition table at another end of the disk, judged by code that shares nothing with it."""

from __future__ import annotations

import struct
from typing import Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.gpt import (
    backup_ranges,
    is_in_place,
    move_backup,
    read_gpt,
)
from ansible_collections.vdisk.parallels.tests.support import gpt

SECTOR = 512


class Disk:
    """A guest disk in memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)

    def pread_into(self, offset, buffer):
        assert offset >= 0 and offset + len(buffer) <= self.size
        buffer[:] = self.content[offset : offset + len(buffer)]

    def extents(self, start, length):
        return iter([Extent(start, length, DATA)])

    def close(self):
        pass


def moved(disk: bytes, size: int) -> bytes:
    """The disk at another size with everything written."""
    table = read_gpt(Disk(disk))
    assert table is not None
    move = move_backup(table, size)
    assert move is not None
    content = bytearray(disk[:size].ljust(size, b"\0"))
    for offset, written in (*move.before, move.commit, *move.after):
        assert offset + len(written) <= size
        content[offset : offset + len(written)] = written
    return bytes(content)


@given(
    sizes=st.tuples(st.integers(200, 400), st.integers(200, 4000)),
    entries=st.sampled_from([4, 5, 128]),
    width=st.sampled_from([128, 256]),
    partition=st.tuples(st.integers(70, 80), st.integers(81, 120)),
)
def test_a_table_fits_the_new_end_and_keeps_its_partitions(
    sizes: Tuple[int, int], entries: int, width: int, partition: Tuple[int, int]
) -> None:
    disk = gpt.with_gpt(bytes(sizes[0] * SECTOR), [partition], entries=entries, width=width)
    after = moved(disk, sizes[1] * SECTOR)
    assert gpt.judge(after) == [partition] and gpt.protected(after) == sizes[1] - 1
    table = read_gpt(Disk(after))
    assert table is not None and is_in_place(table, len(after)) and table.last_used == partition[1]
    # The end is where the backup begins, and not before.
    assert backup_ranges(Disk(after))[1] == (len(after) - SECTOR, len(after))


def test_what_lies_between_is_not_touched() -> None:
    disk = gpt.with_gpt(bytes(range(256)) * 200, [(40, 60)])
    assert moved(disk, 300 * SECTOR)[40 * SECTOR : 61 * SECTOR] == disk[40 * SECTOR : 61 * SECTOR]


def test_a_hybrid_boot_record_stays() -> None:
    disk = gpt.with_gpt(bytes(200 * SECTOR), [(40, 60)], hybrid=True)
    after = moved(disk, 300 * SECTOR)
    assert after[:SECTOR] == disk[:SECTOR] and gpt.judge(after) == [(40, 60)]


def test_a_partition_in_the_place_of_the_backup_is_told() -> None:
    table = read_gpt(Disk(gpt.with_gpt(bytes(300 * SECTOR), [(40, 200)])))
    assert table is not None
    assert move_backup(table, 201 * SECTOR) is None
    assert move_backup(table, (201 + 32) * SECTOR) is None
    assert move_backup(table, (201 + 33) * SECTOR) is not None
    assert move_backup(table, SECTOR) is None and move_backup(table, 0) is None


@pytest.mark.parametrize("offset", [446 + 4, 510, *range(SECTOR, SECTOR + 92, 3), 2 * SECTOR + 40])
def test_a_table_with_any_fault_is_none(offset: int) -> None:
    disk = bytearray(gpt.with_gpt(bytes(300 * SECTOR), [(40, 200)]))
    disk[offset] ^= 0x40
    assert read_gpt(Disk(bytes(disk))) is None


@pytest.mark.parametrize("size", [0, 1, 2, 3, 100])
def test_a_disk_without_a_table_has_none(size: int) -> None:
    assert read_gpt(Disk(bytes(size * SECTOR))) is None
    assert backup_ranges(Disk(bytes(size * SECTOR))) == ()


@pytest.mark.parametrize(
    "field", [(72, "<Q", 1 << 63), (80, "<I", 1 << 31), (84, "<I", 0), (84, "<I", 1 << 31), (12, "<I", 1 << 30)]
)
def test_absurd_fields_with_a_right_checksum_are_no_table(field: Tuple[int, str, int]) -> None:
    import zlib

    disk = bytearray(gpt.with_gpt(bytes(300 * SECTOR), [(40, 200)]))
    struct.pack_into(field[1], disk, SECTOR + field[0], field[2])
    header = bytearray(disk[SECTOR : SECTOR + 92])
    header[16:20] = bytes(4)
    struct.pack_into("<I", disk, SECTOR + 16, zlib.crc32(header))
    assert read_gpt(Disk(bytes(disk))) is None

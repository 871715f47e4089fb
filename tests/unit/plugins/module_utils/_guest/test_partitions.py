# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, Optional, Sequence, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.partitions import read_partitions
from ansible_collections.vdisk.parallels.tests.support.gpt import with_gpt

SECTOR = 512
SIZE = 200 * SECTOR
Entry = Tuple[int, int, int]


class Disk:
    """A guest disk in memory."""

    def __init__(self, content: bytes) -> None:
        self.size = len(content)
        self._content = content

    def pread_into(self, offset: int, buffer: Any) -> None:
        assert offset >= 0 and offset + len(buffer) <= self.size
        buffer[:] = self._content[offset : offset + len(buffer)]


def table_of(content: bytes) -> Optional[Any]:
    return read_partitions(Disk(content))  # type: ignore[arg-type]


def record(entries: Sequence[Entry], *, status: int = 0) -> bytes:
    """A boot record with these partitions: type, first sector, number of sectors."""
    packed = b"".join(
        struct.pack("<B3sB3sII", status, bytes(3), kind, bytes(3), start, length) for kind, start, length in entries
    )
    return bytes(446) + packed.ljust(64, b"\0") + b"\x55\xaa"


def with_records(*records: Tuple[int, bytes], size: int = SIZE) -> bytes:
    content = bytearray(size)
    for sector, raw in records:
        content[sector * SECTOR : sector * SECTOR + len(raw)] = raw
    return bytes(content)


def places(table: Any) -> Any:
    return [(one["number"], one["type"], one["start"] // SECTOR, one["size"] // SECTOR) for one in table["entries"]]


def test_a_boot_record_names_its_partitions() -> None:
    table = table_of(with_records((0, record([(0x07, 2, 50), (0, 0, 0), (0x83, 60, 40)]))))
    assert table["scheme"] == "mbr"
    assert places(table) == [(1, "0x07", 2, 50), (3, "0x83", 60, 40)]


def test_logical_partitions_are_found_along_their_chain() -> None:
    table = table_of(
        with_records(
            (0, record([(0x0F, 20, 100)])),
            (20, record([(0x83, 2, 10), (0x05, 40, 30)])),
            (60, record([(0x82, 1, 20)])),
        )
    )
    assert places(table) == [(1, "0x0f", 20, 100), (5, "0x83", 22, 10), (6, "0x82", 61, 20)]


def test_a_chain_that_runs_in_a_circle_ends() -> None:
    table = table_of(
        with_records(
            (0, record([(0x05, 20, 100)])),
            (20, record([(0x83, 2, 10), (0x05, 40, 9)])),
            (60, record([(0x83, 1, 1), (0x05, 40, 9)])),
        )
    )
    assert 2 < len(table["entries"]) < 200


@pytest.mark.parametrize(
    "content",
    [
        bytes(SIZE),
        record([(0x83, 2, 10)])[:SECTOR],
        with_records((0, record([(0x83, 2, 10)], status=7))),
        with_records((0, record([]))),
        with_records((0, record([(0xEE, 1, 199)]))),
    ],
    ids=["nothing", "too-short", "status", "empty", "protective-alone"],
)
def test_what_makes_no_sense_is_no_table(content: bytes) -> None:
    assert table_of(content) is None


def test_a_guid_partition_table_names_its_partitions() -> None:
    table = table_of(with_gpt(bytes(SIZE), [(40, 59), (60, 60)]))
    assert (table["scheme"], table["backup_header_at_end"]) == ("gpt", True)
    assert [(one["number"], one["start"], one["size"]) for one in table["entries"]] == [
        (1, 40 * SECTOR, 20 * SECTOR),
        (2, 60 * SECTOR, SECTOR),
    ]
    assert table["entries"][0]["type"] == "03020100-0504-0706-0809-0a0b0c0d0e0f"


def test_a_backup_that_is_not_at_the_end_is_reported() -> None:
    assert table_of(with_gpt(bytes(SIZE), [(40, 59)]) + bytes(SECTOR))["backup_header_at_end"] is False


@pytest.mark.parametrize("offset", [0, 16, 24, 40, 90], ids=lambda offset: f"byte-{offset}")
def test_a_damaged_header_is_no_table(offset: int) -> None:
    content = bytearray(with_gpt(bytes(SIZE), [(40, 59)]))
    content[SECTOR + offset] ^= 0x55
    assert table_of(bytes(content)) is None


@given(st.data())
def test_no_bytes_make_it_read_beyond_the_disk(data: st.DataObject) -> None:
    content = bytearray(with_gpt(bytes(SIZE), [(40, 59)], hybrid=data.draw(st.booleans())))
    for offset in data.draw(st.lists(st.one_of(st.integers(446, 511), st.integers(512, 700)), max_size=6)):
        content[offset] = data.draw(st.integers(0, 255))
    found = table_of(bytes(content))
    assert found is None or found["scheme"] in ("gpt", "mbr")

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Tuple, Type

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    BadRequest,
    Damaged,
    DiskError,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB, SECTOR, TIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk import layout
from ansible_collections.vdisk.parallels.tests.support import vmdk_files


def fields_of(raw: bytes) -> dict:
    return {name: vmdk_files.get(raw, name) for name in vmdk_files.FIELDS}


def test_the_header_of_a_sparse_disk_is_what_the_products_ask_for() -> None:
    raw = layout.pack_sparse_header(
        layout.hosted_header(capacity=40 * MIB // SECTOR, grain_sectors=128, descriptor_sectors=20)
    )
    assert len(raw) == 512
    assert fields_of(raw) == {
        "magic": b"KDMV",
        "version": 1,
        "flags": 3,
        "capacity": 81920,
        "grain": 128,
        "descriptor_offset": 1,
        "descriptor_size": 20,
        "entries": 512,
        "rgd": 21,
        "gd": 30,
        "overhead": 128,
        "unclean": 0,
        "newlines": b"\n \r\n",
        "compression": 0,
    }
    assert raw[79:] == bytes(433)


def test_a_piece_without_descriptor_has_its_tables_in_front() -> None:
    raw = layout.pack_sparse_header(layout.hosted_header(capacity=4192256, grain_sectors=128, descriptor_sectors=0))
    found = fields_of(raw)
    assert (found["descriptor_offset"], found["descriptor_size"], found["rgd"], found["gd"]) == (
        0,
        0,
        1,
        1 + 1 + 64 * 4,
    )
    assert found["overhead"] == 640


def test_the_header_of_a_stream_is_what_the_products_ask_for() -> None:
    found = fields_of(layout.pack_sparse_header(layout.stream_header(capacity=81923, grain_sectors=128)))
    assert (found["version"], found["flags"], found["capacity"], found["grain"]) == (3, 0x30001, 81923, 128)
    assert (found["rgd"], found["gd"], found["overhead"], found["compression"]) == (0, 0xFFFFFFFFFFFFFFFF, 128, 1)
    assert (found["descriptor_offset"], found["descriptor_size"], found["newlines"], found["unclean"]) == (
        1,
        20,
        b"\n \r\n",
        0,
    )


@pytest.mark.parametrize(
    "header",
    [
        layout.hosted_header(capacity=1, grain_sectors=8, descriptor_sectors=0),
        layout.hosted_header(capacity=4_000_000_000, grain_sectors=128, descriptor_sectors=20),
        layout.stream_header(capacity=1 << 35, grain_sectors=128),
        layout.SparseHeader(2, 7, 77, 16, 3, 9, 256, 5, 6, 7, is_unclean=True),
    ],
    ids=["tiny", "large", "stream", "odd"],
)
def test_a_packed_header_is_parsed_to_itself(header: layout.SparseHeader) -> None:
    assert layout.parse_sparse_header(layout.pack_sparse_header(header), path="/d") == header


BAD_FIELDS = [
    ("magic", b"KDMX", Damaged, 0),
    ("version", 0, Unsupported, 4),
    ("version", 4, Unsupported, 4),
    ("flags", 1 | 1 << 18, Unsupported, 8),
    ("flags", 1 | 1 << 31, Unsupported, 8),
    ("flags", 1 | 1 << 16, Damaged, 77),
    ("capacity", 0, Damaged, 12),
    ("capacity", (1 << 44) + 1, Damaged, 12),
    ("capacity", 0xFFFFFFFFFFFFFFFF, Damaged, 12),
    ("grain", 0, Damaged, 20),
    ("grain", 4, Damaged, 20),
    ("grain", 96, Damaged, 20),
    ("grain", 1 << 22, Damaged, 20),
    ("grain", 1 << 63, Damaged, 20),
    ("descriptor_offset", 0, Damaged, 28),
    ("descriptor_offset", 1 << 60, Damaged, 28),
    ("descriptor_size", 2049, Damaged, 28),
    ("descriptor_size", 1 << 62, Damaged, 28),
    ("entries", 0, Damaged, 44),
    ("entries", 511, Damaged, 44),
    ("entries", 1024, Damaged, 44),
    ("newlines", b"\n \n\n", Damaged, 73),
    ("compression", 1, Damaged, 77),
    ("compression", 2, Unsupported, 77),
]


@pytest.mark.parametrize(
    "field, value, error, offset", BAD_FIELDS, ids=lambda value: value.__name__ if isinstance(value, type) else None
)
def test_a_field_out_of_its_limits_is_refused_at_its_place(
    field: str, value: object, error: Type[DiskError], offset: int
) -> None:
    raw = vmdk_files.sparse(capacity=100, grains={}, descriptor=b"x").raw[:512]
    layout.parse_sparse_header(bytes(raw), path="/d")
    vmdk_files.put(raw, field, value)
    with pytest.raises(DiskError) as caught:
        layout.parse_sparse_header(bytes(raw), path="/d", offset=1024)
    assert (caught.value.code, caught.value.path, caught.value.offset) == (error.code, "/d", 1024 + offset)


def test_changed_line_ends_mean_nothing_without_their_flag() -> None:
    raw = vmdk_files.sparse(capacity=100, grains={}).raw[:512]
    vmdk_files.put(raw, "newlines", b"abcd")
    vmdk_files.put(raw, "flags", 0)
    assert layout.parse_sparse_header(bytes(raw), path="/d").flags == 0


@pytest.mark.parametrize(
    "flags, grain, offset", [(1 | 1 << 16, 128, 8), (0x30001, 8192, 20)], ids=["no-markers", "large-grains"]
)
def test_compressed_extents_that_cannot_be_read_are_unsupported(flags: int, grain: int, offset: int) -> None:
    raw = vmdk_files.stream(capacity=100, grains={}, descriptor=b"").raw[:512]
    vmdk_files.put(raw, "flags", flags)
    vmdk_files.put(raw, "grain", grain)
    with pytest.raises(Unsupported) as caught:
        layout.parse_sparse_header(bytes(raw), path="/d")
    assert caught.value.offset == offset


@pytest.mark.parametrize("length", [0, 4, 511])
def test_a_short_header_is_damaged(length: int) -> None:
    raw = bytes(vmdk_files.sparse(capacity=100, grains={}).raw[:length])
    with pytest.raises(Damaged):
        layout.parse_sparse_header(raw, path="/d")
    with pytest.raises(Damaged):
        layout.parse_cowd_header(raw, path="/d")


@pytest.mark.parametrize(
    "offset, value, error",
    [
        (0, 7, Damaged),
        (4, 2, Unsupported),
        (12, 0, Damaged),
        (16, 0, Damaged),
        (16, 3, Damaged),
        (16, 1 << 22, Damaged),
        (24, 1, Damaged),
    ],
)
def test_a_bad_cowd_header_is_refused_at_its_place(offset: int, value: int, error: Type[DiskError]) -> None:
    raw = vmdk_files.cowd(capacity=8193, grains={}).raw[:512]
    assert layout.parse_cowd_header(bytes(raw), path="/d") == layout.CowdHeader(8193, 1, 4)
    struct.pack_into("<I", raw, offset, value)
    with pytest.raises(error) as caught:
        layout.parse_cowd_header(bytes(raw), path="/d")
    assert caught.value.offset == offset


@pytest.mark.parametrize("grain_sectors", [8, 128, 4096])
def test_a_sparse_extent_ends_where_its_entries_do(grain_sectors: int) -> None:
    low, high = 1, 1 << 33
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle, grain_sectors):
            low = middle
        else:
            high = middle
    header = layout.hosted_header(capacity=low, grain_sectors=grain_sectors, descriptor_sectors=20)
    end = header.data_sector + -(-low // grain_sectors) * grain_sectors
    assert end <= 1 << 32 and not fits(2 * TIB // SECTOR, grain_sectors)
    # What was refused would really have been too much, give or take one more table.
    assert end + 4096 * grain_sectors > 1 << 32


def fits(capacity: int, grain_sectors: int) -> bool:
    try:
        layout.hosted_header(capacity=capacity, grain_sectors=grain_sectors, descriptor_sectors=20)
    except BadRequest:
        return False
    return True


def test_a_stream_of_too_many_tables_is_a_bad_request() -> None:
    assert layout.stream_header(capacity=1 << 36, grain_sectors=128).tables == 1 << 20
    with pytest.raises(BadRequest):
        layout.stream_header(capacity=(1 << 36) + 1, grain_sectors=128)


@pytest.mark.parametrize("sectors, kind", [(0, 0), (4, 1), (9, 2), (1, 3)])
def test_markers(sectors: int, kind: int) -> None:
    raw = layout.pack_marker(sectors, kind)
    assert raw == vmdk_files.marker(sectors, kind)
    assert layout.parse_marker(raw) == layout.Marker(sectors, kind)
    assert layout.parse_marker(vmdk_files.record(sectors, b"xyz")) is None
    assert layout.parse_marker(raw[:-1]) is None


def test_the_numbers_of_tables_and_directories() -> None:
    pairs: Tuple[Tuple[int, int], ...] = ((1, 1), (65536, 1), (65537, 2))
    assert [
        layout.hosted_header(capacity=capacity, grain_sectors=128, descriptor_sectors=0).tables
        for capacity, _tables in pairs
    ] == [1, 1, 2]
    assert [layout.directory_sectors(tables) for tables in (1, 128, 129)] == [1, 1, 2]

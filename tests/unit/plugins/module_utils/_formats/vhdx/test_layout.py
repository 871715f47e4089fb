# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, Damaged, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx import layout
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.layout import Region, VhdxDisk, VhdxHeader
from ansible_collections.vdisk.parallels.tests.support import vhdx_images as built

MIB = 1 << 20
DATA_ID = "{" + built.DATA_ID + "}"
PAIRS = {"parent_linkage": DATA_ID, "relative_path": ".\\Grundlage für später.vhdx"}


def test_guids_have_three_fields_the_other_way_round() -> None:
    raw = bytes(range(16))
    assert layout.unpack_guid(raw) == "{03020100-0504-0706-0809-0a0b0c0d0e0f}"
    assert layout.pack_guid("{03020100-0504-0706-0809-0A0B0C0D0E0F}") == raw


def test_a_header_is_packed_as_the_format_wants() -> None:
    header = VhdxHeader(7, layout.unpack_guid(bytes(16)), DATA_ID, "{" + built.LOG_ID + "}", 0, MIB, MIB)
    raw = layout.pack_header(header)
    assert raw == built.header(7, log_id=built.LOG_ID)
    assert layout.choose_header([raw, b""], path="x") == header


def test_regions_are_packed_as_the_format_wants() -> None:
    raw = layout.pack_regions(bat=Region(3 * MIB, MIB), metadata=Region(2 * MIB, MIB))
    assert raw == built.regions([(built.BAT, 3 * MIB, MIB, 1), (built.METADATA, 2 * MIB, MIB, 1)])
    assert layout.parse_regions([b"", raw], path="x") == {layout.BAT: (3 * MIB, MIB), layout.METADATA: (2 * MIB, MIB)}


@pytest.mark.parametrize("count", [2048, 0xFFFFFFFF])
def test_too_many_regions_are_refused(count: int) -> None:
    raw = built.sealed((b"regi" + bytes(4) + struct.pack("<II", count, 0)).ljust(65536, b"\0"))
    with pytest.raises(Damaged):
        layout.parse_regions([raw, raw], path="x")


@pytest.mark.parametrize("pairs", [None, PAIRS], ids=["alone", "overlay"])
@pytest.mark.parametrize("is_fixed", [False, True])
def test_metadata_is_packed_as_the_format_wants(pairs: Dict[str, str], is_fixed: bool) -> None:
    disk = VhdxDisk(9 * MIB, 2 * MIB, 512, 4096, layout.unpack_guid(bytes(range(16))), is_fixed, pairs)
    table, values = layout.pack_metadata(disk)
    theirs = built.metadata(built.items(9 * MIB, block=2 * MIB, sectors=(512, 4096), flags=int(is_fixed), pairs=pairs))
    assert table.ljust(65536, b"\0") + values == theirs
    items = layout.parse_items(theirs[:65536], Region(2 * MIB, MIB), path="x")
    assert (
        layout.parse_disk(
            {name: theirs[item.offset : item.offset + item.length] for name, item in items.items()}, path="x"
        )
        == disk
    )


def _item(place: int, value: bytes) -> bytes:
    raw = built.metadata(built.items(9 * MIB))[:65536]
    return raw[: 32 + place] + value + raw[32 + place + len(value) :]


@pytest.mark.parametrize(
    "place, value",
    [(16, 65535), (16, MIB - 7), (16, 0xFFFFFFFF), (20, MIB + 1), (20, 0xFFFFFFFF), (20, 0)],
    ids=["in-the-table", "over-the-end", "far-away", "too-long", "absurd", "empty"],
)
def test_items_outside_their_region_are_refused(place: int, value: int) -> None:
    with pytest.raises(Damaged):
        layout.parse_items(_item(place, struct.pack("<I", value)), Region(2 * MIB, MIB), path="x")


def test_too_many_items_are_refused() -> None:
    raw = b"metadata" + struct.pack("<HH", 0, 2048) + bytes(65524)
    with pytest.raises(Damaged):
        layout.parse_items(raw, Region(2 * MIB, MIB), path="x")


@pytest.mark.parametrize(
    "blocks, differencing, entries",
    [
        (1, False, 1),
        (4096, False, 4096),
        (4097, False, 4098),
        (8193, False, 8195),
        (1, True, 4097),
        (4096, True, 4097),
        (4097, True, 8194),
    ],
)
def test_the_table_has_entries_for_sector_bits(blocks: int, differencing: bool, entries: int) -> None:
    disk = VhdxDisk(blocks * MIB - 512, MIB, 512, 512, DATA_ID, False, PAIRS if differencing else None)
    assert (disk.blocks, disk.chunk_blocks, disk.table_entries) == (blocks, 4096, entries)


def test_a_locator_is_packed_as_the_format_wants() -> None:
    assert layout.pack_locator(PAIRS) == built.locator(PAIRS)
    assert layout.parse_locator(built.locator(PAIRS), path="x") == PAIRS


def _locator(place: int, layout_of: str, value: int) -> bytes:
    raw = bytearray(built.locator(PAIRS))
    struct.pack_into(layout_of, raw, place, value)
    return bytes(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        built.locator(PAIRS)[:19],
        built.locator(PAIRS)[:43],
        built.locator(PAIRS)[:-1],
        _locator(18, "<H", 0xFFFF),
        _locator(20, "<I", 0xFFFFFFFF),
        _locator(20, "<I", 3),
        _locator(24, "<I", 0xFFFFFFFF),
        _locator(28, "<H", 0xFFFF),
        _locator(28, "<H", 27),
        _locator(44, "<H", 0xD800),
        _locator(32, "<I", struct.unpack_from("<I", built.locator(PAIRS), 20)[0]),
    ],
)
def test_damaged_locators_are_refused(raw: bytes) -> None:
    with pytest.raises(Damaged):
        layout.parse_locator(raw, path="x")


def test_texts_that_lie_over_each_other_are_refused_before_they_take_room() -> None:
    """65535 pairs, each as long as can be."""
    raw = (
        built.guid(built.LOCATOR_TYPE)
        + struct.pack("<HH", 0, 65535)
        + struct.pack("<IIHH", 20, 20, 65534, 65534) * 65535
    )
    with pytest.raises(Damaged):
        layout.parse_locator(raw, path="x")


def test_a_locator_of_another_kind_is_not_supported() -> None:
    with pytest.raises(Unsupported):
        layout.parse_locator(built.locator(PAIRS, kind=built.BAT), path="x")


@pytest.mark.parametrize("name", ["x" * 32768, "\ud800"], ids=["long", "surrogate"])
def test_a_name_that_does_not_fit_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        layout.pack_locator({"relative_path": name})

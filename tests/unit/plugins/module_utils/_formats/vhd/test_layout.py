# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import GIB, MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd import layout as vhd_layout
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.layout import (
    DIFFERENCING,
    DYNAMIC,
    FIXED,
    DynamicHeader,
    Footer,
    Locator,
    check_header,
    decode_name,
    geometry_of,
    guid_text,
    pack_footer,
    pack_header,
    parse_footer,
    parse_header,
    piece_name,
    runs_of_set_bits,
    unique_id,
    vhd_time,
)

IDENTITY = "{11111111-2222-3333-4444-555555555555}"
FOOTER = Footer(
    disk_type=DYNAMIC,
    current_size=100 * MIB,
    original_size=90 * MIB,
    data_offset=512,
    unique_id=bytes(range(16)),
    timestamp=0x01020304,
    geometry=(1003, 12, 17),
    features=3,
    creator_application=b"vpc ",
    creator_version=0x00050003,
    creator_system=b"Mac ",
    saved_state=True,
)
HEADER = DynamicHeader(
    table_offset=2048,
    entries=50,
    block_bytes=2 * MIB,
    parent_id=bytes(range(16, 32)),
    parent_timestamp=77,
    parent_name="base.vhd".encode("utf-16-be").ljust(512, b"\0"),
    locators=(Locator(b"W2ru", 20, 1536), Locator(b"W2ku", 600, 4096)),
)


@pytest.mark.parametrize(
    "mebibytes, expected",
    [
        (1, (30, 4, 17)),
        (10, (301, 4, 17)),
        (100, (1003, 12, 17)),
        (128, (963, 16, 17)),
        (512, (1040, 16, 63)),
        (1024, (2080, 16, 63)),
        (30720, (62415, 16, 63)),
        (32256, (16191, 16, 255)),
        (65536, (32896, 16, 255)),
        (130560, (65535, 16, 255)),
        (2040 * 1024, (65535, 16, 255)),
    ],
)
def test_the_geometry_is_that_of_the_specification(mebibytes: int, expected: Tuple[int, int, int]) -> None:
    assert geometry_of(mebibytes * MIB) == expected


@given(st.integers(68, 2040 * GIB // 512))
def test_a_geometry_fits_its_fields_and_is_never_larger_than_the_disk(sectors: int) -> None:
    cylinders, heads, per_track = geometry_of(sectors * 512)
    assert 0 < cylinders <= 65535 and 4 <= heads <= 16 and per_track in (17, 31, 63, 255)
    assert cylinders * heads * per_track <= sectors
    assert cylinders == 65535 or sectors - cylinders * heads * per_track < heads * per_track + per_track


def test_a_footer_has_its_fields_where_they_belong() -> None:
    raw = pack_footer(FOOTER)
    assert len(raw) == 512
    expected = b"conectix" + struct.pack(
        ">IIQI4sI4sQQHBBI", 3, 0x10000, 512, 0x01020304, b"vpc ", 0x50003, b"Mac ", 90 * MIB, 100 * MIB, 1003, 12, 17, 3
    )
    assert raw[:64] == expected
    assert raw[68:85] == bytes(range(16)) + b"\1"
    assert raw[85:] == bytes(427)
    assert struct.unpack_from(">I", raw, 64)[0] == 0xFFFFFFFF - sum(raw[:64] + raw[68:])
    assert parse_footer(raw, path="x", offset=0) == FOOTER


def test_a_header_has_its_fields_where_they_belong() -> None:
    raw = pack_header(HEADER)
    assert len(raw) == 1024
    assert raw[:36] == b"cxsparse" + b"\xff" * 8 + struct.pack(">QIII", 2048, 0x10000, 50, 2 * MIB)
    assert raw[40:64] == bytes(range(16, 32)) + struct.pack(">II", 77, 0)
    assert raw[64:80] == b"\0b\0a\0s\0e\0.\0v\0h\0d" and raw[80:576] == bytes(496)
    assert raw[576:624] == struct.pack(">4sIIIQ4sIIIQ", b"W2ru", 512, 20, 0, 1536, b"W2ku", 1024, 600, 0, 4096)
    assert raw[624:] == bytes(400)
    assert struct.unpack_from(">I", raw, 36)[0] == 0xFFFFFFFF - sum(raw[:36] + raw[40:])
    assert parse_header(raw, path="x", offset=0) == HEADER


@pytest.mark.parametrize("index", range(512))
def test_every_byte_of_a_footer_is_guarded(index: int) -> None:
    raw = bytearray(pack_footer(FOOTER))
    raw[index] ^= 0x55
    with pytest.raises(Damaged) as caught:
        parse_footer(bytes(raw), path="disk.vhd", offset=1000)
    assert caught.value.path == "disk.vhd" and caught.value.offset == (1000 if index < 8 else 1064)


@pytest.mark.parametrize("index", range(0, 1024, 3))
def test_every_byte_of_a_header_is_guarded(index: int) -> None:
    raw = bytearray(pack_header(HEADER))
    raw[index] ^= 0x55
    with pytest.raises(Damaged) as caught:
        parse_header(bytes(raw), path="disk.vhd", offset=512)
    assert caught.value.offset == (512 if index < 8 else 548)


def with_footer_field(offset: int, value: bytes) -> bytes:
    raw = bytearray(pack_footer(FOOTER))
    raw[offset : offset + len(value)] = value
    struct.pack_into(">I", raw, 64, 0xFFFFFFFF - sum(raw[:64] + raw[68:]))
    return bytes(raw)


def with_header_field(offset: int, value: bytes) -> bytes:
    raw = bytearray(pack_header(HEADER))
    raw[offset : offset + len(value)] = value
    struct.pack_into(">I", raw, 36, 0xFFFFFFFF - sum(raw[:36] + raw[40:]))
    return bytes(raw)


@pytest.mark.parametrize("disk_type", [0, 1, 5, 6, 7, 0x02000000])
def test_other_kinds_of_disks_are_not_supported(disk_type: int) -> None:
    with pytest.raises(Unsupported):
        parse_footer(with_footer_field(60, struct.pack(">I", disk_type)), path="x", offset=0)


@pytest.mark.parametrize("version", [0, 0x00020000, 0x01000000])
def test_other_versions_are_not_supported(version: int) -> None:
    with pytest.raises(Unsupported):
        parse_footer(with_footer_field(12, struct.pack(">I", version)), path="x", offset=0)
    with pytest.raises(Unsupported):
        parse_header(with_header_field(24, struct.pack(">I", version)), path="x", offset=0)


def test_minor_versions_are_read() -> None:
    assert parse_footer(with_footer_field(12, struct.pack(">I", 0x00010001)), path="x", offset=0) == FOOTER
    assert parse_header(with_header_field(24, struct.pack(">I", 0x00010001)), path="x", offset=0) == HEADER


@pytest.mark.parametrize("block_bytes", [0, 512, 2048, 3 * MIB, 128 * MIB, 0xFFFFFFFF, 4097])
def test_impossible_block_sizes_are_refused(block_bytes: int) -> None:
    with pytest.raises(Damaged) as caught:
        parse_header(with_header_field(32, struct.pack(">I", block_bytes)), path="x", offset=512)
    assert caught.value.offset == 544


@pytest.mark.parametrize(
    "block_bytes, bitmap", [(4096, 512), (512 << 10, 512), (2 * MIB, 512), (4 * MIB, 1024), (64 * MIB, 16384)]
)
def test_a_bitmap_fills_whole_sectors(block_bytes: int, bitmap: int) -> None:
    header = parse_header(with_header_field(32, struct.pack(">I", block_bytes)), path="x", offset=0)
    assert (header.bitmap_bytes, header.stored_bytes) == (bitmap, bitmap + block_bytes)


@pytest.mark.parametrize(
    "table_offset, entries, file_size",
    [(2048, 49, MIB), (2048, 1 << 23, MIB), (2048, 50, 2247), (0, 50, MIB), (1 << 63, 50, MIB)],
)
def test_a_table_must_cover_the_disk_and_lie_in_the_file(table_offset: int, entries: int, file_size: int) -> None:
    header = DynamicHeader(table_offset, entries, 2 * MIB)
    with pytest.raises(Damaged):
        check_header(header, FOOTER, path="x", file_size=file_size)


def test_a_table_of_unlimited_length_is_not_supported() -> None:
    with pytest.raises(Unsupported):
        check_header(DynamicHeader(2048, (1 << 23) + 1, 2 * MIB), FOOTER, path="x", file_size=1 << 40)


@pytest.mark.parametrize(
    "path, expected", [("/a.b/disk.vhd", "disk.v07"), ("my.disk.avhd", "my.disk.v07"), ("/x/DISK.VHD", "DISK.V07")]
)
def test_pieces_are_counted_in_their_extension(path: str, expected: str) -> None:
    assert piece_name(path, 7) == expected


def test_the_smallest_table_that_covers_the_disk_is_good() -> None:
    check_header(DynamicHeader(2048, 50, 2 * MIB), FOOTER, path="x", file_size=2248)
    check_header(DynamicHeader(2048, 1 << 23, 2 * MIB), FOOTER, path="x", file_size=1 << 30)


@pytest.mark.parametrize(
    "seconds, expected",
    [
        (0, 0),
        (-5, 0),
        (946684799, 0),
        (946684800, 0),
        (946684801, 1),
        (946684800 + (1 << 32), 0xFFFFFFFF),
        (1 << 70, 0xFFFFFFFF),
    ],
)
def test_times_are_clamped_to_what_the_field_holds(seconds: int, expected: int) -> None:
    assert vhd_time(seconds) == expected


def test_an_id_has_one_form_and_depends_on_the_identity_alone() -> None:
    assert guid_text(bytes(range(16))) == "{00010203-0405-0607-0809-0a0b0c0d0e0f}"
    assert unique_id(IDENTITY) == unique_id(IDENTITY) != unique_id(IDENTITY.replace("5", "6"))


@pytest.mark.parametrize(
    "raw, encoding, expected",
    [
        (".\\base.vhd".encode("utf-16-le"), "utf-16-le", "base.vhd"),
        (".\\.\\\\base.vhd\0".encode("utf-16-le"), "utf-16-le", "base.vhd"),
        ("..\\up\\bäse.vhd".encode("utf-16-le"), "utf-16-le", "../up/bäse.vhd"),
        ("C:\\vm\\base.vhd".encode("utf-16-le"), "utf-16-le", "C:/vm/base.vhd"),
        ("\\\\server\\share\\b.vhd".encode("utf-16-le"), "utf-16-le", "//server/share/b.vhd"),
        ("\ufeffb.vhd".encode("utf-16-le") + b"x", "utf-16-le", "b.vhd"),
        ("b.vhd".encode("utf-16-be") + bytes(100), "utf-16-be", "b.vhd"),
        (b".\\b\xe4se.vhd", "cp1252", "bäse.vhd"),
        (b"\x81", "cp1252", None),
        (b"\x00\xd8\x41\x00", "utf-16-le", None),
        ("a\0b".encode("utf-16-le"), "utf-16-le", None),
        (b".\\", "cp1252", None),
        (bytes(512), "utf-16-be", None),
        (b"", "utf-16-le", None),
    ],
)
def test_names_become_paths_with_slashes(raw: bytes, encoding: str, expected: str) -> None:
    assert decode_name(raw, encoding) == expected


@given(st.binary(min_size=1, max_size=64), st.data())
def test_runs_of_set_bits_are_those_of_the_bitmap(bitmap: bytes, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(bitmap) * 8))
    end = data.draw(st.integers(first, len(bitmap) * 8))
    runs = list(runs_of_set_bits(bitmap, first, end)) if first < end else []
    expected = {bit for bit in range(first, end) if bitmap[bit // 8] >> (7 - bit % 8) & 1}
    assert {bit for start, behind in runs for bit in range(start, behind)} == expected
    assert all(start < behind for start, behind in runs)
    assert all(behind < following for (_start, behind), (following, _end) in zip(runs, runs[1:]))


def test_kinds_have_the_numbers_of_the_specification() -> None:
    assert (FIXED, DYNAMIC, DIFFERENCING) == (2, 3, 4)
    assert vhd_layout.SUBFORMATS == {2: "fixed", 3: "dynamic", 4: "differencing"}

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, Damaged, DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import GIB, KIB, MIB, TIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import header as hds_header
from ansible_collections.vdisk.parallels.tests.support import images

U32 = (1 << 32) - 1


def parse(raw: bytes, file_size: int = 1 << 40) -> hds_header.HdsHeader:
    return hds_header.parse_header(raw, path="/disk.hds", file_size=file_size)


def header_bytes(**fields: int) -> bytes:
    given_fields = {"size_sectors": 131072, "bat_entries": 64, "data_off": 2048, **fields}
    return images.pack_hds_header(**given_fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", [1, 2])
def test_fields_are_read_where_the_format_has_them(version: int) -> None:
    raw = header_bytes(version=version, heads=7, cylinders=99, in_use=0x37316470, flags=1, ext_off=4096)
    header = parse(raw)
    assert header == hds_header.HdsHeader(version, 7, 99, 2048, 64, 131072, 0x37316470, 2048, 1, 4096)
    assert (header.cluster_bytes, header.size_bytes, header.table_end, header.data_start) == (
        MIB,
        64 * MIB,
        64 + 256,
        MIB,
    )
    assert header.entry_bytes == (512 if version == 1 else MIB)
    assert header.entry_step == (2048 if version == 1 else 1)
    assert header.used_entries == 64
    assert hds_header.pack_header(header) == raw


@pytest.mark.parametrize(
    "offset, field, value",
    [
        (hds_header.IN_USE_OFFSET, "in_use", hds_header.IN_USE),
        (hds_header.FLAGS_OFFSET, "flags", hds_header.FLAG_EMPTY),
        (hds_header.EXTENSION_OFFSET, "ext_off", 4096),
    ],
)
def test_a_single_field_can_be_patched_at_its_offset(offset: int, field: str, value: int) -> None:
    raw = bytearray(header_bytes())
    raw[offset : offset + 4] = struct.pack("<I", value)
    assert parse(bytes(raw)) == replace(parse(header_bytes()), **{field: value})


def test_signatures_spell_the_words_seen_in_files() -> None:
    assert struct.pack("<I", hds_header.IN_USE) == b"Ynot"
    assert struct.pack("<I", hds_header.CLOSED_WITH_EXTENSION) == b"v2.1"


def test_version_1_ignores_the_high_half_of_the_size() -> None:
    assert parse(header_bytes(size_high=0xDEADBEEF)).size_sectors == 131072


def test_version_2_uses_all_64_bits_of_the_size() -> None:
    header = parse(header_bytes(version=2, size_sectors=(1 << 33) + 5, bat_entries=(1 << 22) + 1, data_off=34816))
    assert header.size_sectors == (1 << 33) + 5
    assert header.used_entries == (1 << 22) + 1


@pytest.mark.parametrize("entries, data_start", [(112, 512), (113, 1024), (0, 512)])
def test_data_offset_zero_means_the_sector_behind_the_table(entries: int, data_start: int) -> None:
    header = parse(header_bytes(size_sectors=0, bat_entries=entries, data_off=0))
    assert header.data_start == data_start


@pytest.mark.parametrize(
    "in_use, dirty",
    [(hds_header.IN_USE, True), (0, False), (hds_header.CLOSED_WITH_EXTENSION, False), (0x37316470, False), (1, False)],
)
def test_only_one_signature_means_dirty(in_use: int, dirty: bool) -> None:
    assert parse(header_bytes(in_use=in_use)).is_dirty is dirty


@pytest.mark.parametrize("flags, converting", [(0, False), (1, False), (2, True), (3, True), (U32, False)])
def test_conversion_flag_counts_unless_all_bits_are_set(flags: int, converting: bool) -> None:
    assert parse(header_bytes(flags=flags)).is_converting is converting


def test_a_surplus_of_entries_is_accepted() -> None:
    header = parse(header_bytes(bat_entries=1000))
    assert (header.used_entries, header.table_end) == (64, 4064)


def test_the_file_may_end_before_its_first_cluster() -> None:
    assert parse(header_bytes(), file_size=64 + 256).data_start == MIB


@pytest.mark.parametrize(
    "fields, offset",
    [
        pytest.param({"magic": b"WithoutFreeSpac\0"}, 0, id="magic"),
        pytest.param({"disk_type": 1}, hds_header.TYPE_OFFSET, id="type"),
        pytest.param({"cluster_sectors": 0}, hds_header.CLUSTER_OFFSET, id="cluster of nothing"),
        pytest.param({"cluster_sectors": 1 << 22}, hds_header.CLUSTER_OFFSET, id="cluster of 2 GiB"),
        pytest.param({"cluster_sectors": U32}, hds_header.CLUSTER_OFFSET, id="largest cluster field"),
        pytest.param({"bat_entries": 63}, hds_header.ENTRIES_OFFSET, id="table too short"),
        pytest.param({"bat_entries": U32}, hds_header.ENTRIES_OFFSET, id="table behind the file"),
        pytest.param({"version": 2, "size_sectors": 1 << 54}, hds_header.SIZE_OFFSET, id="guest of 2^63 bytes"),
        pytest.param({"version": 2, "size_sectors": (1 << 64) - 1}, hds_header.SIZE_OFFSET, id="largest size field"),
        pytest.param({"version": 2, "data_off": 0}, hds_header.DATA_OFFSET, id="version 2 without data offset"),
        pytest.param({"version": 2, "data_off": 2049}, hds_header.DATA_OFFSET, id="version 2 off the grid"),
        pytest.param({"bat_entries": 200, "data_off": 1}, hds_header.DATA_OFFSET, id="data within the table"),
    ],
)
def test_an_impossible_field_is_damage_at_its_offset(fields: dict[str, int], offset: int) -> None:
    with pytest.raises(Damaged) as caught:
        parse(header_bytes(**fields), file_size=64 * MIB)
    assert (caught.value.path, caught.value.offset) == ("/disk.hds", offset)


@pytest.mark.parametrize("length", [0, 15, 16, 63])
def test_a_truncated_header_is_damage(length: int) -> None:
    with pytest.raises(Damaged):
        parse(header_bytes()[:length], file_size=length)


def test_a_table_may_end_with_the_file_and_not_behind_it() -> None:
    assert parse(header_bytes(data_off=0), file_size=64 + 256).bat_entries == 64
    with pytest.raises(Damaged):
        parse(header_bytes(data_off=0), file_size=64 + 255)


def test_only_the_two_signatures_are_expanding_images() -> None:
    assert hds_header.is_hds(b"WithoutFreeSpace...")
    assert hds_header.is_hds(b"WithouFreSpacExt")
    assert not hds_header.is_hds(b"WithouFreeSpacExt")
    assert not hds_header.is_hds(b"WithoutFreeSpac")
    assert not hds_header.is_hds(b"")


@given(st.binary(min_size=48, max_size=48), st.sampled_from([1, 2]), st.integers(0, 1 << 50), st.booleans())
def test_random_headers_end_in_a_header_that_holds_or_in_an_error(
    rest: bytes, version: int, file_size: int, typed: bool
) -> None:
    raw = images.MAGICS[version] + (struct.pack("<I", 2) + rest[4:] if typed else rest)
    try:
        header = parse(raw, file_size)
    except DiskError as error:
        assert error.offset is not None
        return
    assert header.table_end <= min(file_size, header.data_start)
    assert header.used_entries <= header.bat_entries
    assert header.size_bytes < 1 << 63


small = st.integers(0, 1 << 14)


@given(
    cluster=st.integers(1, 4096),
    entries=small,
    size=st.integers(0, 1 << 20),
    data_off=small,
    file_size=st.integers(0, 1 << 20),
    version=st.sampled_from([1, 2]),
)
def test_a_header_that_parses_packs_to_the_same_bytes(
    cluster: int, entries: int, size: int, data_off: int, file_size: int, version: int
) -> None:
    raw = images.pack_hds_header(
        size_sectors=size, bat_entries=entries, cluster_sectors=cluster, version=version, data_off=data_off
    )
    try:
        header = parse(raw, file_size)
    except Damaged:
        return
    assert hds_header.pack_header(header) == raw


@pytest.mark.parametrize("version", [1, 2])
def test_a_new_header_is_what_qemu_writes(version: int) -> None:
    header = hds_header.new_header(size_bytes=64 * MIB, cluster_bytes=MIB, version=version)
    assert header == hds_header.HdsHeader(version, 16, 256, 2048, 64, 131072, 0, 2048, 0, 0)


def test_a_new_header_of_a_large_disk_has_its_data_behind_the_table() -> None:
    header = hds_header.new_header(size_bytes=1228800 * MIB, cluster_bytes=MIB, version=1)
    assert (header.data_off, header.bat_entries) == (10240, 1228800)


def test_a_new_size_is_rounded_up_to_sectors() -> None:
    header = hds_header.new_header(size_bytes=10_000_000, cluster_bytes=MIB, version=2)
    assert (header.size_sectors, header.bat_entries, header.cylinders) == (19532, 10, 38)


def test_cylinders_of_an_enormous_disk_stay_within_32_bits() -> None:
    header = hds_header.new_header(size_bytes=1 << 52, cluster_bytes=64 * MIB, version=2)
    assert header.cylinders == U32
    assert len(hds_header.pack_header(header)) == 64


@given(size=st.integers(1, 1 << 44), cluster_sectors=st.integers(1, 131072), version=st.sampled_from([1, 2]))
@example(size=2 * TIB - 1, cluster_sectors=2048, version=1)
def test_a_new_header_is_valid_or_the_size_is_refused(size: int, cluster_sectors: int, version: int) -> None:
    largest = hds_header.max_size_bytes(version, cluster_sectors * 512)
    if size > largest:
        with pytest.raises(BadRequest):
            hds_header.new_header(size_bytes=size, cluster_bytes=cluster_sectors * 512, version=version)
        return
    header = hds_header.new_header(size_bytes=size, cluster_bytes=cluster_sectors * 512, version=version)
    assert parse(hds_header.pack_header(header), header.data_start) == header
    assert header.data_off % cluster_sectors == 0
    assert 0 <= header.size_bytes - size < 512


@pytest.mark.parametrize("cluster_sectors", [1, 63, 504, 2048, 131072, (1 << 22) - 1])
def test_the_largest_version_1_disk_keeps_every_cluster_below_2_to_32_sectors(cluster_sectors: int) -> None:
    largest = hds_header.max_size_bytes(1, cluster_sectors * 512)
    header = hds_header.new_header(size_bytes=largest, cluster_bytes=cluster_sectors * 512, version=1)
    assert header.size_sectors <= U32
    assert header.bat_entries * 4 < 1 << 31
    assert header.data_off + (header.bat_entries - 1) * cluster_sectors <= U32
    more = header.bat_entries + 1
    table_clusters = -(-(64 + 4 * more) // (cluster_sectors * 512))
    does_not_fit = (
        (table_clusters + more - 1) * cluster_sectors > U32 or more * 4 >= 1 << 31 or header.size_sectors == U32
    )
    assert does_not_fit


@pytest.mark.parametrize("cluster_sectors", [1, 63, 2048, 131072])
def test_the_largest_version_2_disk_has_the_largest_table_qemu_opens(cluster_sectors: int) -> None:
    largest = hds_header.max_size_bytes(2, cluster_sectors * 512)
    assert largest // (cluster_sectors * 512) * 4 <= (1 << 31) - 1 < (largest // (cluster_sectors * 512) + 1) * 4


@pytest.mark.parametrize(
    "size, cluster, version",
    [
        (0, MIB, 1),
        (-1, MIB, 2),
        (MIB, 0, 1),
        (MIB, 511, 1),
        (MIB, 1000, 2),
        (MIB, 2 * GIB, 2),
        (MIB, MIB, 3),
        (2 * TIB, MIB, 1),
        (1 << 80, 64 * KIB, 2),
    ],
)
def test_an_impossible_new_image_is_a_bad_request(size: int, cluster: int, version: int) -> None:
    with pytest.raises(BadRequest):
        hds_header.new_header(size_bytes=size, cluster_bytes=cluster, version=version)

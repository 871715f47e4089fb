# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.fat_layout import (
    Table,
    label_of,
    read_boot,
    refuse_other_geometry,
    refuse_unclean,
)
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.fat_images import FatVolume


def boot_of(disk: BlockDisk) -> Any:
    return read_boot(Volume(disk, [(0, disk.size)]))


def geometry_of(disk: BlockDisk) -> Optional[str]:
    try:
        refuse_other_geometry(Volume(disk, [(0, disk.size)]), boot_of(disk))
    except Uncertain as uncertain:
        return uncertain.code
    return None


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_the_type_follows_from_the_number_of_clusters(bits: int) -> None:
    made = FatVolume(bits)
    fat = boot_of(made.build())
    assert (fat.bits, fat.clusters, fat.place(7)) == (bits, made.geometry.clusters, made.place(7))
    assert fat.has_backup == (bits == 32)


NONE: List[Any] = [
    (0, b"\0"),
    (3, b"NTFS    "),
    (3, b"EXFAT   "),
    (3, b"-FVE-FS-"),
    (11, b"\0\1"),
    (13, b"\0"),
    (13, b"\3"),
    (14, b"\0\0"),
    (16, b"\0"),
    (16, b"\3"),
    (19, b"\0\0"),
    (19, b"\1\0"),
    (21, b"\xef"),
    (17, b"\0\0"),
    (510, b"\0"),
]


@pytest.mark.parametrize(("offset", "value"), NONE)
def test_a_boot_sector_that_makes_no_sense_is_none(offset: int, value: bytes) -> None:
    made = FatVolume(16)
    made.fields = [(offset, value)]
    assert boot_of(made.build()) is None


def test_what_is_shorter_than_a_sector_is_none() -> None:
    assert boot_of(BlockDisk(100)) is None


def test_the_label_is_that_of_the_boot_sector() -> None:
    made = FatVolume(32)
    assert label_of(boot_of(made.build())) == "A VOLUME"
    made.fields = [(71, b"NO NAME    ")]
    assert label_of(boot_of(made.build())) is None
    made.fields = [(66, b"\0")]
    assert label_of(boot_of(made.build())) is None


@pytest.mark.parametrize("offset", [11, 13, 14, 16, 32, 36, 40, 44, 48, 50])
def test_the_backup_of_fat32_must_repeat_the_geometry(offset: int) -> None:
    disk = FatVolume(32).build()
    assert geometry_of(disk) is None
    disk.put(6 * 512 + offset, bytes([disk.get(6 * 512 + offset, 1)[0] ^ 1]))
    assert geometry_of(disk) == "damaged"


@pytest.mark.parametrize(
    ("bits", "offset", "value", "code"),
    [
        (32, 42, b"\1", "unknown_features"),
        (16, 22, struct.pack("<H", 19), "damaged"),
        (16, 22, struct.pack("<H", 23), "damaged"),
        (16, 19, struct.pack("<H", 6000), "too_large"),
        (16, 19, struct.pack("<H", 4500), "damaged"),
        (12, 13, b"\1", "damaged"),
    ],
)
def test_what_the_boot_sector_says_must_fit(bits: int, offset: int, value: bytes, code: str) -> None:
    made = FatVolume(bits)
    made.fields = [(offset, value)]
    assert geometry_of(made.build()) == code


def test_a_partition_may_be_a_little_longer() -> None:
    assert geometry_of(FatVolume(16).build(tail=60 * 512)) is None
    assert geometry_of(FatVolume(16).build(tail=63 * 512)) == "damaged"
    assert geometry_of(FatVolume(32).build(tail=63 * 512)) is None


@pytest.mark.parametrize(
    ("bits", "flags", "mark", "code"),
    [
        (12, 0, 0xFFF, None),
        (12, 1, 0xFFF, "unclean"),
        (12, 2, 0xFFF, "errors"),
        (16, 0, 0xFFFF, None),
        (16, 0, 0x7FFF, "unclean"),
        (16, 0, 0xBFFF, "errors"),
        (32, 0, 0x0FFFFFFF, None),
        (32, 0, 0x07FFFFFF, "unclean"),
        (32, 0, 0x0BFFFFFF, "errors"),
        (32, 1, 0x0FFFFFFF, "unclean"),
    ],
)
def test_flags_tell_whether_the_end_was_clean(bits: int, flags: int, mark: int, code: Optional[str]) -> None:
    made = FatVolume(bits)
    made.fields = [(65 if bits == 32 else 37, bytes([flags]))]
    fat = boot_of(made.build())
    if code is None:
        refuse_unclean(fat, mark)
        return
    with pytest.raises(Uncertain) as caught:
        refuse_unclean(fat, mark)
    assert caught.value.code == code


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_a_table_gives_its_entries_one_by_one_and_in_pieces(bits: int) -> None:
    made = FatVolume(bits)
    made.table[made.geometry.clusters + 1] = 9
    if bits == 32:
        made.table[8] |= 0xA0000000
    disk = made.build()
    table = Table(Volume(disk, [(0, disk.size)]), boot_of(disk))
    values = [value for _first, piece in table.pieces() for value in piece]
    assert len(values) == made.geometry.clusters
    assert {number: value for number, value in enumerate(values, 2) if value} == {
        number: value & made.end for number, value in made.table.items() if number > 1
    }
    assert (table.value(8), table.value(9), table.value(1)) == (10, 0, made.end)


def test_tables_may_differ_in_their_first_two_entries_only() -> None:
    made = FatVolume(16)
    made.second[1] = 0x7FFF
    disk = made.build()
    assert Table(Volume(disk, [(0, disk.size)]), boot_of(disk)).value(1) == 0xFFFF
    made.second[2] = 5
    other = made.build()
    with pytest.raises(Uncertain):
        Table(Volume(other, [(0, other.size)]), boot_of(other))

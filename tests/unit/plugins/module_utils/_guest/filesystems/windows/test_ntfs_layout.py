# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.ntfs_layout import (
    HOLE,
    Attribute,
    attributes,
    fixed_up,
    read_boot,
    runs_of,
    value_of,
)
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.ntfs_images import (
    CLUSTER,
    NtfsVolume,
    file_name,
    record,
    resident,
    spread,
)


def boot_of(disk: BlockDisk) -> Any:
    return read_boot(Volume(disk, [(0, disk.size)]))


def only(raw: bytes) -> Attribute:
    return next(attributes(fixed_up(record([raw]))))


def test_a_boot_sector_tells_the_geometry() -> None:
    boot = boot_of(NtfsVolume().build())
    assert (boot.sector, boot.cluster, boot.record, boot.sectors, boot.clusters) == (512, CLUSTER, 1024, 1600, 200)


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (3, b"X"),
        (510, b"\0"),
        (11, b"\1"),
        (13, b"\0"),
        (13, b"\3"),
        (13, b"\x81"),
        (40, bytes(8)),
        (47, b"\xff"),
        (64, b"\0"),
        (64, b"\x81"),
    ],
)
def test_a_boot_sector_that_makes_no_sense_is_none(offset: int, value: bytes) -> None:
    disk = NtfsVolume().build()
    disk.put(offset, value)
    assert boot_of(disk) is None


def test_large_clusters_are_a_power() -> None:
    disk = NtfsVolume().build()
    disk.put(13, bytes([256 - 8]))
    assert boot_of(disk).cluster == 128 << 10
    assert boot_of(BlockDisk(100)) is None


def test_fixups_restore_the_ends_of_sectors() -> None:
    raw = bytes(range(256)) * 4
    stored = bytearray(record([resident(0x80, raw[:900])]))
    fixed = fixed_up(bytes(stored))
    assert raw[:900] in fixed
    stored[1022] ^= 1
    with pytest.raises(Uncertain):
        fixed_up(bytes(stored))


@pytest.mark.parametrize(("place", "count"), [(48, 2), (48, 4), (506, 3), (65535, 3)])
def test_fixups_that_do_not_fit_are_damage(place: int, count: int) -> None:
    stored = bytearray(record([]))
    struct.pack_into("<HH", stored, 4, place, count)
    with pytest.raises(Uncertain):
        fixed_up(bytes(stored))


def test_attributes_have_type_name_and_value() -> None:
    found = list(attributes(fixed_up(record([file_name("a"), resident(0x80, b"abc", "name")]))))
    assert [one.type for one in found] == [0x30, 0x80]
    assert (found[1].name, value_of(found[1])) == ("name".encode("utf-16-le"), b"abc")


@pytest.mark.parametrize("length", [0, 8, 16, 28, 1 << 30])
def test_attributes_that_do_not_fit_are_damage(length: int) -> None:
    raw = bytearray(resident(0x80, b"abc"))
    struct.pack_into("<I", raw, 4, length)
    with pytest.raises(Uncertain):
        list(attributes(fixed_up(record([bytes(raw)]))))


def test_a_record_without_an_end_is_damage() -> None:
    raw = bytearray(fixed_up(record([resident(0x80, b"abc")])))
    struct.pack_into("<I", raw, 24, 56 + 32)
    with pytest.raises(Uncertain):
        list(attributes(bytes(raw)))
    struct.pack_into("<I", raw, 24, 1 << 20)
    with pytest.raises(Uncertain):
        list(attributes(bytes(raw)))


def test_a_value_beyond_its_attribute_is_damage() -> None:
    raw = bytearray(resident(0x80, b"abc"))
    struct.pack_into("<I", raw, 16, 100)
    with pytest.raises(Uncertain):
        value_of(only(bytes(raw)))


def test_runs_go_forward_back_and_over_holes() -> None:
    assert runs_of(only(spread(0x80, [(50, 3), (None, 2), (10, 1)])), 200) == [(50, 3), (HOLE, 2), (10, 1)]
    assert runs_of(only(spread(0x80, [])), 200) == []


BROKEN: List[Any] = [
    pytest.param(spread(0x80, [(198, 3)]), id="beyond the end"),
    pytest.param(spread(0x80, [(-2, 3)]), id="before the beginning"),
    pytest.param(spread(0x80, [(5, 3)])[:24] + struct.pack("<q", 1) + spread(0x80, [(5, 3)])[32:], id="too many"),
    pytest.param(spread(0x80, [(5, 3)])[:24] + struct.pack("<q", 7) + spread(0x80, [(5, 3)])[32:], id="too few"),
    pytest.param(spread(0x80, [(5, 3)])[:32] + struct.pack("<H", 60000) + spread(0x80, [(5, 3)])[34:], id="elsewhere"),
    pytest.param(spread(0x80, [(5, 3)])[:64] + b"\xff" * 16, id="wide"),
    pytest.param(spread(0x80, [(5, 6), (20, -3)]), id="negative"),
]


@pytest.mark.parametrize("raw", BROKEN)
def test_runs_that_cannot_be_are_damage(raw: bytes) -> None:
    with pytest.raises(Uncertain):
        runs_of(only(raw), 200)

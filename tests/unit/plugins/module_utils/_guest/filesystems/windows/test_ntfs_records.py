# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.ntfs_layout import read_boot
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.ntfs_records import Records
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.ntfs_images import (
    CLUSTER,
    RECORD,
    TABLE,
    NtfsVolume,
    file_name,
    listed,
    record,
    resident,
    spread,
)


def records_of(disk: BlockDisk) -> Records:
    volume = Volume(disk, [(0, disk.size)])
    boot = read_boot(volume)
    assert boot is not None
    return Records(volume, boot)


def test_records_in_use_are_given_and_no_others() -> None:
    disk = NtfsVolume().build()
    disk.put(TABLE * CLUSTER + 30 * RECORD, bytes(RECORD))
    records = records_of(disk)
    assert [number for number, _content in records.all()] == [0, 1, 2, 3, 5, 6, 7, 8]
    with pytest.raises(Uncertain):
        records.record(4)
    with pytest.raises(Uncertain):
        records.record(32)


def test_a_record_that_is_none_is_damage() -> None:
    disk = NtfsVolume().build()
    disk.put(TABLE * CLUSTER + 30 * RECORD, b"BAAD")
    with pytest.raises(Uncertain):
        list(records_of(disk).all())


def test_a_stream_joins_runs_and_holes() -> None:
    made = NtfsVolume()
    made.records[20] = [spread(0x80, [(30, 1), (None, 1), (20, 2)], size=3 * CLUSTER + 5)]
    disk = made.build()
    disk.put(30 * CLUSTER, b"a" * CLUSTER)
    disk.put(20 * CLUSTER, b"b" * CLUSTER)
    disk.put(21 * CLUSTER, b"c" * CLUSTER)
    stream = records_of(disk).stream(20)
    assert stream.size == 3 * CLUSTER + 5
    assert stream.read(CLUSTER - 2, CLUSTER + 4) == b"aa" + bytes(CLUSTER) + b"bb"
    assert stream.read(3 * CLUSTER - 1, 6) == b"bccccc"
    with pytest.raises(Uncertain):
        stream.read(3 * CLUSTER, 6)


def test_a_small_stream_lies_in_its_record() -> None:
    made = NtfsVolume()
    made.records[20] = [file_name("a"), resident(0x80, b"content")]
    stream = records_of(made.build()).stream(20)
    assert (stream.size, stream.read(3, 4)) == (7, b"tent")
    with pytest.raises(Uncertain):
        stream.read(3, 5)


def test_a_list_leads_to_the_parts_of_a_stream() -> None:
    made = NtfsVolume()
    made.records[20] = [listed([(0, 21), (2, 22)])]
    made.records[21] = [spread(0x80, [(30, 2)], size=3 * CLUSTER)]
    made.records[22] = [spread(0x80, [(50, 1)], first=2), spread(0x80, [(90, 1)], "other", first=2)]
    disk = made.build()
    disk.put(50 * CLUSTER, b"end")
    assert records_of(disk).stream(20).read(2 * CLUSTER, 3) == b"end"


@pytest.mark.parametrize("parts", [[(0, 21), (3, 22)], [(0, 21), (2, 23)], [(2, 22)], [], [(0, 21)]])
def test_parts_that_do_not_follow_one_another_are_damage(parts: list) -> None:
    made = NtfsVolume()
    made.records[20] = [listed(parts)]
    made.records[21] = [spread(0x80, [(30, 2)], size=3 * CLUSTER)]
    made.records[22] = [spread(0x80, [(50, 1)], first=2)]
    with pytest.raises(Uncertain):
        records_of(made.build()).stream(20)


def test_the_table_itself_may_be_in_parts() -> None:
    made = NtfsVolume()
    made.records[0] = [listed([(0, 0), (8, 20)]), spread(0x80, [(TABLE, 8)], size=9 * CLUSTER)]
    made.records[20] = [spread(0x80, [(100, 1)], first=8)]
    disk = made.build()
    disk.put(100 * CLUSTER, record([file_name("far")]))
    records = records_of(disk)
    assert [number for number, _content in records.all()][-2:] == [20, 32]
    assert b"f\0a\0r" in records.record(32)


@pytest.mark.parametrize(("size", "written"), [(9 * CLUSTER, CLUSTER), (CLUSTER, 2 * CLUSTER), (1 << 63, 0)])
def test_sizes_that_contradict_are_damage(size: int, written: int) -> None:
    disk = NtfsVolume().build()
    disk.put(TABLE * CLUSTER + 2 * RECORD + 56 + 48, struct.pack("<QQ", size, written))
    with pytest.raises(Uncertain):
        records_of(disk).stream(2)


def test_an_attribute_list_that_goes_nowhere_is_damage() -> None:
    made = NtfsVolume()
    made.records[20] = [resident(0x20, bytes(64))]
    with pytest.raises(Uncertain):
        records_of(made.build()).stream(20)


def test_an_endless_attribute_list_is_damage() -> None:
    made = NtfsVolume(100_000)
    made.records[6] = [spread(0x80, [(16, 4)], size=12504)]
    made.records[20] = [spread(0x20, [(300, 400)])]
    with pytest.raises(Uncertain):
        records_of(made.build()).stream(20)

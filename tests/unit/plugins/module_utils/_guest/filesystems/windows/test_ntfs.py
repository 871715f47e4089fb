# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Identity, Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows import ntfs
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.ntfs_images import (
    BITMAP,
    CLUSTER,
    FIRST_FREE,
    MIRROR,
    RECORD,
    TABLE,
    NtfsVolume,
    file_name,
    information,
    resident,
    spread,
)


def volume(disk: BlockDisk) -> Volume:
    return Volume(disk, [(0, disk.size)])


def free_clusters(disk: BlockDisk) -> List[Tuple[int, int]]:
    return [(start // CLUSTER, end // CLUSTER) for start, end in ntfs.free_runs(volume(disk))]


def refusal(disk: BlockDisk) -> str:
    with pytest.raises(Uncertain) as caught:
        ntfs.free_runs(volume(disk))
    return caught.value.code


def with_file(*runs: Tuple[int, int]) -> NtfsVolume:
    """A volume with a file in record 20 and its clusters marked."""
    made = NtfsVolume()
    made.records[20] = [file_name("a"), spread(0x80, runs)]
    for first, count in runs:
        made.used.update(range(first, first + count))
    return made


def test_a_volume_is_known_by_its_boot_sector() -> None:
    disk = NtfsVolume().build()
    assert ntfs.recognise(volume(disk)) == Identity("ntfs", "Disk", 200 * CLUSTER)
    disk.put(TABLE * CLUSTER, bytes(RECORD))
    assert ntfs.recognise(volume(disk)) == Identity("ntfs", None, 200 * CLUSTER)
    disk.put(3, b"NTFS?")
    assert ntfs.recognise(volume(disk)) is None


def test_what_the_bitmap_calls_free_is_free() -> None:
    assert free_clusters(NtfsVolume().build()) == [(3, 4), (FIRST_FREE, 200)]
    assert free_clusters(with_file((30, 5), (100, 1)).build()) == [(3, 4), (FIRST_FREE, 30), (35, 100), (101, 200)]


def test_a_file_in_a_free_cluster_is_damage() -> None:
    made = with_file((30, 5))
    made.unused = {33}
    assert refusal(made.build()) == "damaged"


def test_files_that_are_deleted_do_not_count() -> None:
    made = with_file((30, 5))
    disk = made.build()
    del made.records[20]
    made.used.clear()
    deleted = made.build()
    raw = bytearray(disk.get(TABLE * CLUSTER + 20 * RECORD, RECORD))
    raw[22] = 0
    deleted.put(TABLE * CLUSTER + 20 * RECORD, bytes(raw))
    assert free_clusters(deleted) == [(3, 4), (FIRST_FREE, 200)]


def test_streams_with_names_and_folders_count_as_well() -> None:
    made = with_file((30, 5))
    made.records[21] = [spread(0xA0, [(50, 2)], "$I30"), spread(0x80, [(60, 1), (None, 9), (70, 1)], "stream")]
    made.used.update((50, 51, 60))
    assert refusal(made.build()) == "damaged"
    made.used.add(70)
    assert free_clusters(made.build())[-1] == (71, 200)


def test_the_size_of_the_file_of_bad_clusters_is_no_matter() -> None:
    made = NtfsVolume()
    made.records[8] = [spread(0x80, [(None, 40), (40, 1), (None, 159)], "$Bad")]
    made.used.add(40)
    assert free_clusters(made.build()) == [(3, 4), (FIRST_FREE, 40), (41, 200)]


def test_what_of_the_bitmap_was_never_written_is_not_free() -> None:
    made = NtfsVolume()
    disk = made.build()
    place = TABLE * CLUSTER + 6 * RECORD + 56
    disk.put(place + 56, struct.pack("<Q", 10))
    assert free_clusters(disk) == [(3, 4), (FIRST_FREE, 80)]
    disk.put(place + 48, struct.pack("<QQ", 24, 10))
    assert refusal(disk) == "damaged"


def test_a_small_bitmap_may_lie_in_its_record() -> None:
    made = NtfsVolume()
    raw = made.build().get(BITMAP * CLUSTER, 32)
    made.records[6] = [resident(0x80, raw)]
    assert free_clusters(made.build()) == [(3, 4), (FIRST_FREE, 200)]


def test_the_mirror_must_repeat_the_table() -> None:
    disk = NtfsVolume().build()
    disk.put(MIRROR * CLUSTER + 3 * RECORD + 60, b"\xff")
    assert refusal(disk) == "damaged"


@pytest.mark.parametrize("offset", [11, 13, 40, 47, 48, 56, 64])
def test_the_backup_must_repeat_the_boot_sector(offset: int) -> None:
    disk = NtfsVolume().build()
    place = 200 * CLUSTER + offset
    disk.put(place, bytes([disk.get(place, 1)[0] ^ 1]))
    assert refusal(disk) == "damaged"


def test_a_partition_without_the_backup_is_not_whole() -> None:
    disk = NtfsVolume().build()
    with pytest.raises(Uncertain) as caught:
        ntfs.free_runs(Volume(disk, [(0, 200 * CLUSTER)]))
    assert caught.value.code == "damaged"
    with pytest.raises(Uncertain) as caught:
        ntfs.free_runs(Volume(disk, [(0, 150 * CLUSTER)]))
    assert caught.value.code == "too_large"


def test_a_dirty_volume_is_unclean() -> None:
    made = NtfsVolume()
    made.records[3] = [information(flags=1)]
    assert refusal(made.build()) == "unclean"


@pytest.mark.parametrize("name", ["hiberfil.sys", "HIBERFIL.SYS"])
def test_a_hibernated_guest_is_told(name: str) -> None:
    made = with_file((30, 5))
    made.records[20][0] = file_name(name)
    disk = made.build()
    assert free_clusters(disk) == [(3, 4), (FIRST_FREE, 30), (35, 200)]
    disk.put(30 * CLUSTER, b"hibr")
    assert refusal(disk) == "hibernated"
    made.records[20] = [file_name(name, parent=20), spread(0x80, [(30, 5)])]
    elsewhere = made.build()
    elsewhere.put(30 * CLUSTER, b"hibr")
    assert free_clusters(elsewhere) == [(3, 4), (FIRST_FREE, 30), (35, 200)]


def test_a_name_in_an_extension_record_is_that_of_its_base() -> None:
    made = with_file((30, 5))
    made.records[21], made.bases[21] = [file_name("hiberfil.sys")], 20
    disk = made.build()
    disk.put(30 * CLUSTER + 4000, b"x")
    assert refusal(disk) == "hibernated"

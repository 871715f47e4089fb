# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Tuple, cast

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.in_the_way import (
    InTheWay,
    partitions_in_the_way,
)
from ansible_collections.vdisk.parallels.tests.support import gpt, mbr
from ansible_collections.vdisk.parallels.tests.support.guest_disk import GuestDisk
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._guest.tables.test_apm import with_map

MIB = 1 << 20
DATA, WINRE = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "de94bba4-06d1-4d40-a16a-bfd50179d6ac"


def found(content: bytes, size: int) -> InTheWay:
    return partitions_in_the_way(cast(Any, GuestDisk(content)), size)


def test_each_partition_past_the_end_gets_its_own_advice() -> None:
    disk = bytearray(gpt.with_gpt(bytes(40 * MIB), [(2048, 61439), (61440, 81886)], types=[DATA, WINRE]))
    disk[MIB + 3 : MIB + 11] = b"NTFS    "
    # The backup of the table takes the last 16.5 KiB, and a mebibyte is the grain.
    first, second = found(bytes(disk), 20 * MIB).advice
    assert first.startswith("make partition 1 (29 MiB) at least 11 MiB (11534336 bytes) smaller (diskpart: ")
    assert first.endswith("shrink desired=11)")
    assert second == "move or remove partition 2 (Windows recovery, 10 MiB), which begins at byte 31457280"
    assert found(bytes(disk), 41 * MIB).advice == ()


def test_a_boot_record_needs_nothing_behind_its_partitions() -> None:
    disk = mbr.with_mbr(bytes(40 * MIB), [(0x83, 2048, 38 * 2048), (5, 79872, 2000)], [(0x82, 79880, 100)])
    advice = found(disk, 30 * MIB).advice
    assert [text.split(" (")[0] for text in advice] == ["make partition 1", "move or remove partition 5"]
    assert "9 MiB (9437184 bytes) smaller" in advice[0]


def test_a_table_that_is_not_sound_still_names_its_partitions() -> None:
    disk = bytearray(gpt.with_gpt(bytes(40 * MIB), [(2048, 61439), (50000, 70000)], types=[DATA, WINRE]))
    overlapping = found(bytes(disk), 20 * MIB)
    assert [one[0] for one in overlapping.partitions] == ["partition 1", "partition 2"] and not overlapping.advice
    assert found(bytes(MIB), MIB // 2) == ((), ())


def marked(size: int, *marks: Tuple[int, bytes]) -> bytes:
    disk = bytearray(size)
    for at, mark in marks:
        disk[at : at + len(mark)] = mark
    return bytes(disk)


@pytest.mark.parametrize(
    ("at", "mark", "content", "how"),
    [
        (1080, b"\x53\xef", "ext", "umount it, then resize2fs /dev/sdX 30M"),
        (512, b"LABELONE", "lvm2", "pvresize --setphysicalvolumesize 30M /dev/sdX"),
        (3, b"NTFS    ", "ntfs", "diskpart: select volume N, then shrink desired=10"),
        (0, b"XFSB", "xfs", "XFS cannot become smaller: copy its files to a smaller file system"),
    ],
)
def test_a_disk_without_a_table_is_named_by_what_takes_it(at: int, mark: bytes, content: str, how: str) -> None:
    told = found(marked(40 * MIB, (at, mark)), 30 * MIB)
    assert told == (
        (),
        (f"make what takes the whole disk ({content}) at least 10 MiB (10485760 bytes) smaller ({how})",),
    )


def test_a_partition_of_an_apple_map_is_named() -> None:
    entries = (("map", "Apple_partition_map", 1, 63), ("mac", "Apple_HFS", 64, 77824), ("", "Apple_Free", 77888, 4032))
    disk = with_map(marked(40 * MIB, (64 * 512 + 1024, b"H+")), *entries)
    told = found(disk, 30 * MIB)
    assert told.partitions == (('partition 2 (Apple_HFS, "mac", 38 MiB)', 64 * 512, 77888 * 512),)
    start = 'make partition 2 (Apple_HFS, "mac", 38 MiB) at least 9 MiB (9437184 bytes) smaller'
    assert told.advice == (f"{start} (diskutil resizeVolume disk0s2 29M)",)
    assert found(disk, 39 * MIB).advice == ()
    last = (("mac", "Apple_HFS", 64, 2048), ("far", "Apple_HFS", 71680, 100))
    assert found(with_map(bytes(40 * MIB), *last), 30 * MIB).advice[0].startswith("move or remove partition 2")


@pytest.mark.parametrize(
    ("at", "mark", "how"),
    [
        (512, b"LABELONE", "pvresize --setphysicalvolumesize 18M /dev/disk/by-partuuid/"),
        (65600, b"_BHRfS_M", "btrfs filesystem resize 18M MOUNTPOINT, then make the partition smaller with parted"),
        (32, b"NXSB", "diskutil apfs resizeContainer disk0s1 18M"),
        (3, b"-FVE-FS-", "diskpart: select volume N, then shrink desired=20"),
    ],
)
def test_each_content_has_its_own_tool(at: int, mark: bytes, how: str) -> None:
    disk = gpt.with_gpt(marked(40 * MIB, (MIB + at, mark)), [(2048, 81886)], types=[DATA])
    assert how in found(disk, 20 * MIB).advice[0]

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, cast

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.in_the_way import (
    InTheWay,
    partitions_in_the_way,
)
from ansible_collections.vdisk.parallels.tests.support import gpt, mbr
from ansible_collections.vdisk.parallels.tests.support.guest_disk import GuestDisk

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

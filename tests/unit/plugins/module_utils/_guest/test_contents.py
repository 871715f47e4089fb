# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest import contents
from ansible_collections.vdisk.parallels.tests.support.guest_disk import GuestDisk

MIB = 1 << 20


@pytest.mark.parametrize(
    ("at", "mark", "kind"),
    [
        (3, b"-FVE-FS-", "bitlocker"),
        (424, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001"), "bitlocker"),
        (0, b"LUKS\xba\xbe", "luks"),
        (512, b"LABELONE", "lvm2"),
        (4096, b"\xfc\x4e\x2b\xa9", "raid"),
        (4086, b"SWAPSPACE2", "swap"),
        (65526, b"SWAPSPACE2", "swap"),
        (4086, b"S1SUSPEND\0", "hibernated"),
        (0, b"XFSB", "xfs"),
        (65600, b"_BHRfS_M", "btrfs"),
        (32, b"NXSB", "apfs"),
        (88, b"CS", "corestorage"),
        (1024, b"H+", "hfsplus"),
        (1080, b"\x53\xef", "ext"),
        (3, b"NTFS    ", "ntfs"),
        (3, b"EXFAT   ", "exfat"),
        (54, b"FAT16   ", "fat"),
        (82, b"FAT32   ", "fat"),
        (66908, b"\x19\x01\x54\x19", "ufs"),
        (16408, b"version\0", "zfs"),
        (7, b"x", "unknown"),
    ],
)
def test_a_partition_is_known_by_its_mark(at: int, mark: bytes, kind: str) -> None:
    content = bytearray(3 * MIB)
    content[MIB + at : MIB + at + len(mark)] = mark
    assert contents.content_of(GuestDisk(bytes(content)), MIB, 2 * MIB) == kind


def test_encryption_comes_before_what_it_pretends_to_be() -> None:
    content = bytearray(MIB)
    content[82:90] = b"FAT32   "
    content[424:440] = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
    assert contents.content_of(GuestDisk(bytes(content)), 0, MIB) == "bitlocker"


@pytest.mark.parametrize(("start", "end"), [(0, 100), (900, 5000), (5000, 9000), (0, 0)])
def test_short_and_absent_partitions_are_unknown(start: int, end: int) -> None:
    assert contents.content_of(GuestDisk(bytes(1000)), start, end) == "unknown"


@pytest.mark.parametrize(("at", "found"), [(MIB - 8192, True), (MIB - 65536, True), (4096, False)])
def test_a_record_of_a_raid_at_the_end_is_found(at: int, found: bool) -> None:
    content = bytearray(2 * MIB)
    content[MIB + at : MIB + at + 4] = b"\xfc\x4e\x2b\xa9"
    assert contents.has_raid_at_end(GuestDisk(bytes(content)), MIB, 2 * MIB) is found

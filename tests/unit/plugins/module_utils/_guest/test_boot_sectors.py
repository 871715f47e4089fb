# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.boot_sectors import moved_boot_sectors
from ansible_collections.vdisk.parallels.tests.support.guest_disk import GuestDisk

SECTOR = 512


def boot(kind: str, hidden: int) -> bytes:
    raw = bytearray(SECTOR)
    if kind == "ntfs":
        raw[3:11] = b"NTFS    "
    if kind == "fat32":
        raw[82:90] = b"FAT32   "
        struct.pack_into("<H", raw, 50, 6)
    struct.pack_into("<I", raw, 28, hidden)
    return bytes(raw)


@pytest.mark.parametrize(("kind", "copy_at"), [("ntfs", 99), ("fat32", 6)])
@pytest.mark.parametrize("has_copy", [True, False])
def test_a_file_system_learns_where_it_is_in_both_its_boot_sectors(kind: str, copy_at: int, has_copy: bool) -> None:
    content = bytearray(300 * SECTOR)
    for at in [0, copy_at] if has_copy else [0]:
        content[(50 + at) * SECTOR : (51 + at) * SECTOR] = boot(kind, 50)
    written = dict(moved_boot_sectors(GuestDisk(bytes(content)), 50 * SECTOR, 150 * SECTOR, 200 * SECTOR, SECTOR))
    places = [200 * SECTOR, (200 + copy_at) * SECTOR] if has_copy else [200 * SECTOR]
    assert written == dict.fromkeys(places, boot(kind, 200))


@pytest.mark.parametrize(("kind", "hidden"), [("ntfs", 0), ("ntfs", 51), ("other", 50)])
def test_what_does_not_say_where_it_is_stays(kind: str, hidden: int) -> None:
    content = bytes(50 * SECTOR) + boot(kind, hidden) + bytes(100 * SECTOR)
    assert not list(moved_boot_sectors(GuestDisk(content), 50 * SECTOR, 150 * SECTOR, 200 * SECTOR, SECTOR))


def test_a_partition_past_the_end_of_the_disk_is_left_alone() -> None:
    assert not list(moved_boot_sectors(GuestDisk(bytes(SECTOR)), 50 * SECTOR, 150 * SECTOR, 200 * SECTOR, SECTOR))

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.ntfs_layout import read_boot
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.ntfs_records import Records
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.ntfs_state import (
    refuse_hibernated,
    refuse_unclean,
)
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.ntfs_images import (
    CLUSTER,
    NtfsVolume,
    information,
    resident,
    restart_page,
    spread,
)

OPEN, CLOSED = 0, 0xFFFF
ONES = b"\xff" * 8192


def state_of(disk: BlockDisk) -> Optional[str]:
    volume = Volume(disk, [(0, disk.size)])
    boot = read_boot(volume)
    assert boot is not None
    try:
        refuse_unclean(volume, Records(volume, boot))
    except Uncertain as uncertain:
        return uncertain.code
    return None


LOGS: List[Any] = [
    pytest.param(ONES + ONES, None, id="ones"),
    pytest.param(ONES + ONES[:-1] + b"\xfe", "unclean", id="ones but the last"),
    pytest.param(bytes(16384), "unclean", id="zeros"),
    pytest.param(restart_page(5, CLOSED) * 2 + ONES, None, id="no client"),
    pytest.param(restart_page(5, OPEN, 2) * 2 + ONES, None, id="clean"),
    pytest.param(restart_page(5, OPEN, 2, (2, 0)) * 2 + ONES, None, id="clean, as Windows 8 has it"),
    pytest.param(restart_page(5, OPEN) * 2 + ONES, "unclean", id="open"),
    pytest.param(restart_page(5, OPEN) + restart_page(6, CLOSED) + ONES, None, id="the newer page is closed"),
    pytest.param(restart_page(7, OPEN) + restart_page(6, CLOSED) + ONES, "unclean", id="the newer page is open"),
    pytest.param(restart_page(5, OPEN) + restart_page(5, CLOSED) + ONES, "unclean", id="one of two equal is open"),
    pytest.param(restart_page(5, CLOSED) + ONES + ONES[:4096], "unclean", id="only one page"),
    pytest.param(b"CHKD" + restart_page(5, CLOSED)[4:] + restart_page(5, CLOSED) + ONES, "unclean", id="checked"),
    pytest.param(restart_page(5, CLOSED, 0, (3, 0)) * 2 + ONES, "unclean", id="a newer log"),
]


@pytest.mark.parametrize(("log", "code"), LOGS)
def test_the_log_tells_whether_the_end_was_clean(log: bytes, code: Optional[str]) -> None:
    made = NtfsVolume()
    made.log = log
    assert state_of(made.build()) == code


def test_a_restart_page_that_was_half_written_is_damage() -> None:
    made = NtfsVolume()
    page = bytearray(restart_page(5, CLOSED))
    page[1022] ^= 1
    made.log = bytes(page) + restart_page(5, CLOSED) + ONES
    assert state_of(made.build()) == "damaged"


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ([information(0x80)], None),
        ([information(0x8000)], None),
        ([information(1)], "unclean"),
        ([information(0x4000)], "unclean"),
        ([information(0x100)], "unknown_features"),
        ([information(0, (3, 2))], "unknown_features"),
        ([information(0, (1, 2))], None),
        ([], "damaged"),
        ([information(), information()], "damaged"),
        ([resident(0x70, b"short")], "damaged"),
    ],
)
def test_the_flags_of_the_volume(attributes: list, code: Optional[str]) -> None:
    made = NtfsVolume()
    made.records[3] = attributes
    assert state_of(made.build()) == code


def test_shadow_copies_read_what_is_free() -> None:
    disk = NtfsVolume().build()
    disk.put(0x1E00, bytes.fromhex("6b87083876c1484eb7ae04046e6cc752"))
    assert state_of(disk) is None
    disk.put(0x1E00 + 48, struct.pack("<Q", 1 << 20))
    assert state_of(disk) == "shadow_copies"


@pytest.mark.parametrize(
    ("content", "hibernated"),
    [(bytes(CLUSTER), False), (b"hibr" + bytes(4092), True), (b"wake" + bytes(4092), True), (bytes(4095) + b"1", True)],
)
def test_an_image_of_memory_is_empty_or_to_be_resumed(content: bytes, hibernated: bool) -> None:
    made = NtfsVolume()
    made.records[20] = [spread(0x80, [(30, 2)])]
    disk = made.build()
    disk.put(30 * CLUSTER, content)
    assert is_hibernated(disk) == hibernated


def test_a_short_image_of_memory_is_not_understood() -> None:
    made = NtfsVolume()
    made.records[20] = [resident(0x80, bytes(100))]
    assert is_hibernated(made.build())


def is_hibernated(disk: BlockDisk) -> bool:
    volume = Volume(disk, [(0, disk.size)])
    boot = read_boot(volume)
    assert boot is not None
    try:
        refuse_hibernated(Records(volume, boot), 20)
    except Uncertain as uncertain:
        assert uncertain.code == "hibernated"
        return True
    return False

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.tables.apm import MapEntry, read_map
from ansible_collections.vdisk.parallels.tests.support import layouts
from ansible_collections.vdisk.parallels.tests.support.guest_disk import GuestDisk

MIB = 1 << 20


def with_map(disk: bytes, *entries: tuple, block: int = 512) -> bytes:
    """A disk with a map; each entry is its name, type, start and length in blocks."""
    content = bytearray(disk)
    content[:4] = struct.pack(">2sH", b"ER", block)
    for number, (name, kind, start, length) in enumerate(entries, 1):
        raw = struct.pack(">2sHIII32s32s", b"PM", 0, len(entries), start, length, name.encode(), kind.encode())
        content[number * block : number * block + len(raw)] = raw
    return bytes(content)


@pytest.mark.parametrize("block", [512, 2048, 4096])
def test_partitions_that_hold_something_are_found(block: int) -> None:
    entries = (
        ("Apple", "Apple_partition_map", 1, 63),
        ("disk image", "Apple_HFS", 64, 100),
        ("", "Apple_Free", 164, 10),
        ("swap", "Apple_UNIX_SVR2", 174, 5),
    )
    assert read_map(GuestDisk(with_map(bytes(MIB), *entries, block=block))) == [
        MapEntry(2, "disk image", "Apple_HFS", 64 * block, 164 * block),
        MapEntry(4, "swap", "Apple_UNIX_SVR2", 174 * block, 179 * block),
    ]


def test_other_disks_have_no_map() -> None:
    assert read_map(GuestDisk(bytes(100))) == []
    assert read_map(GuestDisk(bytes(MIB))) == []
    cut = bytearray(with_map(bytes(MIB), ("a", "Apple_HFS", 64, 100)))
    cut[516:520] = b"\xff" * 4
    assert [one.name for one in read_map(GuestDisk(bytes(cut)))] == ["a"]


@pytest.mark.parametrize("seed", range(3))
def test_noise_ends_in_an_answer(seed: int) -> None:
    chance = random.Random(seed)
    for _run in range(50):
        disk = bytearray(with_map(bytes(8192), ("a", "Apple_HFS", 64, 100), ("b", "Apple_HFS", 200, 100)))
        for _change in range(20):
            disk[chance.randrange(512, 2048)] = chance.randrange(256)
        assert len(read_map(GuestDisk(bytes(disk)))) <= 128


def test_parted_agrees(tmp_path: Path) -> None:
    image = layouts.blank(tmp_path / "a.img", 16 * MIB)
    layouts.run("parted", "-s", str(image), "mklabel", "mac", "mkpart", "data", "hfs+", "1MiB", "9MiB")
    (found,) = read_map(GuestDisk(image.read_bytes()))
    assert (found.name, found.kind, found.start, found.end) == ("data", "Apple_HFS", MIB, 9 * MIB)

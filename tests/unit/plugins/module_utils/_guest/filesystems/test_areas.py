# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
import zlib
from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.areas import find_areas
from ansible_collections.vdisk.parallels.tests.support.filesystems import Bytes
from ansible_collections.vdisk.parallels.tests.support.gpt import with_gpt

SECTORS = 4096
ROOT = "0fc63daf-8483-4772-8e79-3d69d8477de4"


def mbr(entries: List[Tuple[int, int, int]], at: int = 0, size: int = SECTORS * 512) -> bytes:
    content = bytearray(size)
    content[at + 446 : at + 446 + 16 * len(entries)] = b"".join(
        struct.pack("<4xB3xII", kind, start, length) for kind, start, length in entries
    )
    content[at + 510 : at + 512] = b"\x55\xaa"
    return bytes(content)


def places(content: bytes):
    found = find_areas(Bytes(content))
    return None if found is None else [(a.number, a.start // 512, a.size // 512, a.type) for a in found]


def test_partitions_of_a_boot_record_ascend() -> None:
    assert places(mbr([(7, 200, 50), (0x83, 100, 40)])) == [(2, 100, 40, "0x83"), (1, 200, 50, "0x07")]


def test_logical_partitions_are_found_and_the_extended_one_is_no_area() -> None:
    content = bytearray(mbr([(0x05, 100, 1000)]))
    content[100 * 512 : 101 * 512] = mbr([(0x83, 10, 50), (5, 500, 100)], size=512)
    content[600 * 512 : 601 * 512] = mbr([(0x82, 10, 50)], size=512)
    assert places(bytes(content)) == [(5, 110, 50, "0x83"), (6, 610, 50, "0x82")]


@pytest.mark.parametrize(
    "entries",
    [[(0x83, 100, 50), (0x83, 149, 20)], [(0x83, SECTORS - 5, 6)], [(0x83, 0, 5)], []],
    ids=["overlapping", "beyond the end", "over the record", "none"],
)
def test_a_boot_record_without_sense_is_none(entries) -> None:
    assert places(mbr(entries)) is None


def test_a_disk_without_a_mark_has_no_areas() -> None:
    assert places(bytes(SECTORS * 512)) is None
    assert places(bytes(600)) is None


def gpt() -> bytearray:
    """Two partitions."""
    return bytearray(with_gpt(bytes(SECTORS * 512), [(100, 199), (300, 399)]))


def test_a_gpt_is_read_from_its_backup_too() -> None:
    content = gpt()
    expected = [(100, 100), (300, 100)]
    assert [one[1:3] for one in places(bytes(content))] == expected
    content[512 + 16] ^= 1
    assert [one[1:3] for one in places(bytes(content))] == expected
    content[-512 + 16] ^= 1
    with pytest.raises(Uncertain) as error:
        places(bytes(content))
    assert error.value.code == "partition_table"


def test_tables_of_a_gpt_that_disagree_are_refused() -> None:
    content, other = gpt(), with_gpt(bytes(SECTORS * 512), [(100, 199), (300, 398)])
    content[-33 * 512 :] = other[-33 * 512 :]
    with pytest.raises(Uncertain) as error:
        places(bytes(content))
    assert error.value.code == "partition_table"
    # Where one of them is bad, the other counts.
    content[-512 + 16] ^= 1
    assert [one[1:3] for one in places(bytes(content))] == [(100, 100), (300, 100)]


def test_partitions_that_overlap_in_a_gpt_are_refused() -> None:
    with pytest.raises(Uncertain) as error:
        places(bytes(with_gpt(bytes(SECTORS * 512), [(100, 199), (150, 399)])))
    assert error.value.code == "partition_table"


def apple(entries: List[Tuple[str, int, int]], block: int = 512) -> bytes:
    content = bytearray(SECTORS * 512)
    content[:4] = struct.pack(">2sH", b"ER", block)
    for number, (kind, start, length) in enumerate(entries, 1):
        struct.pack_into(
            ">2s2xIII32s32s", content, number * block, b"PM", len(entries), start, length, b"", kind.encode()
        )
    return bytes(content)


@pytest.mark.parametrize("block", [512, 2048])
def test_the_map_of_old_macs_is_read(block: int) -> None:
    entries = [("Apple_partition_map", 1, 20), ("Apple_HFS", 30, 100), ("Apple_Free", 130, 5)]
    found = find_areas(Bytes(apple(entries, block)))
    assert [(a.number, a.start, a.size, a.type) for a in found or ()] == [
        (1, block, 20 * block, "Apple_partition_map"),
        (2, 30 * block, 100 * block, "Apple_HFS"),
    ]


def test_a_torn_map_is_refused() -> None:
    content = bytearray(apple([("Apple_partition_map", 1, 20), ("Apple_HFS", 30, 100)]))
    content[1024:1026] = b"XX"
    with pytest.raises(Uncertain):
        find_areas(Bytes(bytes(content)))


def test_sectors_of_4096_bytes() -> None:
    size = 64 << 20
    content = bytearray(size)
    content[:512] = mbr([(0xEE, 1, 100)], size=512)
    entry = bytes(range(1, 17)) + bytes(16) + struct.pack("<QQ", 256, 511) + bytes(80)
    entries = entry + bytes(128 * 127)
    header = bytearray(
        struct.pack(
            "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, 9, 6, 99, b"", 2, 128, 128, zlib.crc32(entries)
        )
    )
    struct.pack_into("<I", header, 16, zlib.crc32(bytes(header)))
    content[4096 : 4096 + len(header)] = header
    content[8192 : 8192 + len(entries)] = entries
    assert [(a.start, a.size) for a in find_areas(Bytes(bytes(content))) or ()] == [(256 * 4096, 256 * 4096)]

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple import apfs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.tests.support.apfs_images import (
    BLOCK,
    MANAGER,
    POOL,
    SUPERBLOCK,
    VOLUME_BLOCKS,
    change,
    container,
    put_volume,
)
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk

FIRST, SPARE = 60, 150


def filled() -> BlockDisk:
    disk = container(used=[(FIRST, FIRST + VOLUME_BLOCKS)])
    put_volume(disk, FIRST)
    return disk


def free(disk: BlockDisk) -> Any:
    return apfs.free_runs(Volume(disk, [(0, disk.size)]))


def refusal(disk: BlockDisk) -> str:
    with pytest.raises(Uncertain) as caught:
        free(disk)
    return caught.value.code


def test_everything_of_a_volume_is_in_use() -> None:
    assert list(free(filled())) == [(35 * BLOCK, FIRST * BLOCK), ((FIRST + VOLUME_BLOCKS) * BLOCK, 200 * BLOCK)]


@pytest.mark.parametrize("number", [number for number in range(VOLUME_BLOCKS) if number != 21])
def test_a_free_block_of_anything_is_damage(number: int) -> None:
    """The bitmap says so of another block instead, so its count is right. The queue itself lies in the checkpoint."""
    disk = filled()
    raw = bytearray(disk.get(POOL * BLOCK, BLOCK))
    for bit in (FIRST + number, SPARE):
        raw[bit // 8] ^= 1 << bit % 8
    disk.put(POOL * BLOCK, bytes(raw))
    assert refusal(disk) == "damaged"


CHANGES: List[Any] = [
    pytest.param(0, 24, b"\x0c", id="an object map that is none"),
    pytest.param(0, 8, b"\x01", id="an object map that lies elsewhere"),
    pytest.param(0, 16, struct.pack("<Q", 8), id="an object map that was written later"),
    pytest.param(2, 32, b"APSC", id="a volume without its magic"),
    pytest.param(2, 8, struct.pack("<Q", 2001), id="another volume"),
    pytest.param(1, BLOCK - 40 - 12, struct.pack("<I", 4000), id="an object of no whole blocks"),
    pytest.param(1, BLOCK - 40 - 8, struct.pack("<Q", 1 << 40), id="an object beyond the end"),
    pytest.param(1, 56 + 4, struct.pack("<Q", 2005), id="a volume that is not mapped"),
    pytest.param(7, BLOCK - 40 - 20, struct.pack("<Q", 1 << 60 | 500), id="an extent beyond the end"),
    pytest.param(7, 56 + 8 + 7, b"\x30", id="an extent that is none"),
    pytest.param(11, BLOCK - 40 - 52, struct.pack("<Q", 7), id="a snapshot whose extents are no tree"),
]


@pytest.mark.parametrize(("number", "offset", "content"), CHANGES)
def test_what_contradicts_itself_is_damage(number: int, offset: int, content: bytes) -> None:
    disk = filled()
    change(disk, FIRST + number, offset, content)
    assert refusal(disk) == "damaged"


def test_a_queue_that_no_checkpoint_has_is_damage() -> None:
    disk = filled()
    change(disk, MANAGER, 248, struct.pack("<Q", 1026))
    assert refusal(disk) == "damaged"


def test_volumes_without_an_object_map_are_damage() -> None:
    disk = filled()
    for place in (0, SUPERBLOCK):
        change(disk, place, 0xA0, bytes(8))
    assert refusal(disk) == "damaged"


def test_trees_that_are_no_blocks_are_left_to_the_object_map() -> None:
    disk = filled()
    change(disk, FIRST + 2, 120, struct.pack("<II", 2, 2))
    assert free(disk).total

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple.apfs_checkpoint import (
    has_checksum,
    read_checkpoint,
    read_first,
    read_space_manager,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.tests.support.apfs_images import (
    BLOCK,
    MANAGER,
    MAP_BLOCK,
    POOL,
    RING,
    SUPERBLOCK,
    change,
    container,
    sum_of,
)
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk


def volume(disk: BlockDisk) -> Volume:
    return Volume(disk, [(0, disk.size)])


def refusal(disk: BlockDisk) -> str:
    with pytest.raises(Uncertain) as caught:
        read_space_manager(volume(disk), read_checkpoint(volume(disk)))
    return caught.value.code


def copied(disk: BlockDisk, block: int, place: int) -> None:
    disk.put(place * BLOCK, disk.get(block * BLOCK, BLOCK))


@given(st.binary(min_size=4, max_size=60).map(lambda raw: bytes(8) + raw[: len(raw) // 4 * 4]))
def test_the_checksum_is_that_of_a_loop_over_words(raw: bytes) -> None:
    assert has_checksum(sum_of(raw) + raw[8:])
    assert not has_checksum(sum_of(raw) + raw[8:-1] + bytes([raw[-1] ^ 1]))


def test_a_first_block_says_how_large_the_container_is() -> None:
    found = read_first(volume(container()))
    assert found is not None and found[1:] == (BLOCK, 200)
    disk = container()
    change(disk, 0, 36, struct.pack("<I", 12345))
    assert read_first(volume(disk)) is None


def test_the_highest_transaction_wins() -> None:
    disk = container()
    copied(disk, SUPERBLOCK, RING + 5)
    change(disk, RING + 5, 16, struct.pack("<Q", 6))
    checkpoint = read_checkpoint(volume(disk))
    assert (checkpoint.transaction, checkpoint.blocks, checkpoint.block) == (7, 200, BLOCK)
    copied(disk, MAP_BLOCK, RING + 4)
    change(disk, RING + 5, 16, struct.pack("<Q", 8))
    change(disk, RING + 5, 0x88, struct.pack("<II", 4, 2))
    assert read_checkpoint(volume(disk)).transaction == 8


def test_the_first_block_may_be_older_but_not_newer() -> None:
    disk = container()
    change(disk, 0, 16, struct.pack("<Q", 3))
    assert read_checkpoint(volume(disk)).transaction == 7
    change(disk, 0, 16, struct.pack("<Q", 8))
    assert refusal(disk) == "damaged"


def test_a_broken_superblock_may_have_been_the_newest() -> None:
    disk = container()
    copied(disk, SUPERBLOCK, RING + 5)
    disk.put((RING + 5) * BLOCK + 100, b"\xff")
    assert refusal(disk) == "damaged"


def test_the_space_manager_says_where_its_blocks_are() -> None:
    disk = container(used=[(40, 50)])
    space = read_space_manager(volume(disk), read_checkpoint(volume(disk)))
    assert (space.chunk_blocks, space.info_blocks, space.is_deep, space.free) == (8 * BLOCK, 1, False, 200 - 35 - 10)
    assert (space.pool, space.pool_bitmaps) == ((POOL, POOL + 16), (POOL - 1, POOL))


REFUSED: List[Any] = [
    pytest.param(SUPERBLOCK, 0x38, struct.pack("<Q", 1), "unknown_features", id="ro-compatible"),
    pytest.param(SUPERBLOCK, 0x40, struct.pack("<Q", 6), "unknown_features", id="incompatible"),
    pytest.param(SUPERBLOCK, 0x40, struct.pack("<Q", 1), "unknown_features", id="version 1"),
    pytest.param(SUPERBLOCK, 0x40, struct.pack("<Q", 0x102), "raid", id="fusion"),
    pytest.param(SUPERBLOCK, 0x4E0, struct.pack("<Q", 5), "resizing", id="blocked out"),
    pytest.param(SUPERBLOCK, 0x4E8, struct.pack("<Q", 5), "resizing", id="evicted"),
    pytest.param(SUPERBLOCK, 0x28, struct.pack("<Q", 201), "too_large", id="larger than the volume"),
    pytest.param(SUPERBLOCK, 0x24, struct.pack("<I", 8192), "damaged", id="another block size"),
    pytest.param(SUPERBLOCK, 0x68, struct.pack("<I", 9), "damaged", id="another ring"),
    pytest.param(SUPERBLOCK, 72, b"\xff", "damaged", id="another container"),
    pytest.param(SUPERBLOCK, 0x88, struct.pack("<I", 1), "damaged", id="the checkpoint lies elsewhere"),
    pytest.param(SUPERBLOCK, 0x8C, struct.pack("<I", 1 << 31), "damaged", id="the checkpoint is endless"),
    pytest.param(SUPERBLOCK, 0x98, struct.pack("<Q", 1025), "damaged", id="no space manager"),
    pytest.param(0, 0x68, struct.pack("<I", 1 << 31), "unsupported", id="ring in a tree"),
    pytest.param(0, 0x68, struct.pack("<I", 1 << 30), "unsupported", id="endless ring"),
    pytest.param(0, 0x70, struct.pack("<Q", 1 << 60), "damaged", id="ring outside"),
    pytest.param(MAP_BLOCK, 36, struct.pack("<I", 0), "damaged", id="empty map"),
    pytest.param(MAP_BLOCK, 36, struct.pack("<I", 1 << 30), "damaged", id="endless map"),
    pytest.param(MAP_BLOCK, 16, struct.pack("<Q", 6), "damaged", id="old map"),
    pytest.param(MAP_BLOCK, 40 + 8, struct.pack("<I", 1 << 30), "damaged", id="endless space manager"),
    pytest.param(MAP_BLOCK, 40 + 8, struct.pack("<I", 100), "damaged", id="short space manager"),
    pytest.param(MAP_BLOCK, 40 + 32, struct.pack("<Q", 1 << 60), "damaged", id="space manager outside"),
    pytest.param(MANAGER, 16, struct.pack("<Q", 6), "damaged", id="old space manager"),
    pytest.param(MANAGER, 36, struct.pack("<I", 1), "damaged", id="small chunks"),
    pytest.param(MANAGER, 40, struct.pack("<I", 127), "damaged", id="more infos in a block"),
    pytest.param(MANAGER, 48, struct.pack("<Q", 199), "damaged", id="another size"),
    pytest.param(MANAGER, 56, struct.pack("<Q", 2), "damaged", id="another number of chunks"),
    pytest.param(MANAGER, 64, struct.pack("<I", 1 << 30), "damaged", id="another number of infos"),
    pytest.param(MANAGER, 68, struct.pack("<I", 1 << 30), "damaged", id="another depth"),
    pytest.param(MANAGER, 80, struct.pack("<I", 4090), "damaged", id="list beyond the end"),
    pytest.param(MANAGER, 96, struct.pack("<Q", 1), "raid", id="second device"),
    pytest.param(MANAGER, 144, struct.pack("<I", 2), "unknown_features", id="unknown flag"),
]


@pytest.mark.parametrize(("block", "offset", "content", "code"), REFUSED)
def test_what_is_unknown_or_contradicts_is_refused(block: int, offset: int, content: bytes, code: str) -> None:
    disk = container()
    change(disk, block, offset, content)
    assert refusal(disk) == code


@pytest.mark.parametrize("block", [0, SUPERBLOCK, MAP_BLOCK, MANAGER])
def test_each_block_has_its_checksum(block: int) -> None:
    disk = container()
    disk.put(block * BLOCK + 3000, b"\1")
    assert refusal(disk) == "damaged"

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Identity, Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple import apfs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.tests.support.apfs_images import (
    BLOCK,
    CHUNK,
    INFOS,
    MANAGER,
    POOL,
    change,
    container,
)
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk

TIB = 1 << 40


def volume(disk: BlockDisk) -> Volume:
    return Volume(disk, [(0, disk.size)])


def free_blocks(disk: BlockDisk) -> List[Tuple[int, int]]:
    return [(start // BLOCK, end // BLOCK) for start, end in apfs.free_runs(volume(disk))]


def refusal(disk: BlockDisk) -> str:
    with pytest.raises(Uncertain) as caught:
        apfs.free_runs(volume(disk))
    return caught.value.code


def test_a_container_is_known_by_its_first_block() -> None:
    disk = container()
    assert apfs.recognise(volume(disk)) == Identity("apfs", None, 200 * BLOCK)
    disk.put(32, b"NXSC")
    assert apfs.recognise(volume(disk)) is None
    assert apfs.recognise(volume(BlockDisk(512))) is None


def test_what_no_bit_marks_is_free() -> None:
    assert free_blocks(container(used=[(50, 60), (150, 151)])) == [(35, 50), (60, 150), (151, 200)]


def test_a_chunk_without_a_bitmap_is_free_as_a_whole() -> None:
    disk = container(3 * CHUNK + 100, used=[(2 * CHUNK + 5, 2 * CHUNK + 7), (CHUNK - 3, CHUNK)])
    assert free_blocks(disk) == [(35, CHUNK - 3), (CHUNK, 2 * CHUNK + 5), (2 * CHUNK + 7, 3 * CHUNK + 100)]


def test_a_large_container_lists_its_infos_in_blocks_of_their_own() -> None:
    blocks = 300 * CHUNK
    assert free_blocks(container(blocks, deep=True)) == [(INFOS + 3 + 1, blocks)]


def test_little_of_a_tebibyte_is_read() -> None:
    disk = container(TIB // BLOCK)
    assert apfs.free_runs(volume(disk)).total == TIB - (INFOS + 66) * BLOCK
    assert disk.bytes_read < 2 << 20


def test_the_tail_of_a_partition_is_not_the_containers() -> None:
    larger = BlockDisk(300 * BLOCK)
    larger.put(0, container().get(0, 200 * BLOCK))
    assert free_blocks(larger) == [(35, 200)]


def test_a_container_may_end_within_its_last_block() -> None:
    disk = container()
    cut = Volume(disk, [(0, 200 * BLOCK - 512)])
    assert apfs.recognise(cut) == Identity("apfs", None, 200 * BLOCK - 512)
    assert list(apfs.free_runs(cut)) == [(35 * BLOCK, 199 * BLOCK)]
    with pytest.raises(Uncertain) as caught:
        apfs.free_runs(Volume(disk, [(0, 199 * BLOCK)]))
    assert caught.value.code == "too_large"


def test_a_bit_that_the_count_of_its_chunk_contradicts_is_damage() -> None:
    disk = container(used=[(50, 60)])
    raw = bytearray(disk.get(POOL * BLOCK, BLOCK))
    raw[50 // 8] ^= 1 << 50 % 8
    disk.put(POOL * BLOCK, bytes(raw))
    assert refusal(disk) == "damaged"


CHANGES: List[Any] = [
    pytest.param(INFOS, 40 + 8, struct.pack("<Q", 8), id="the chunk begins elsewhere"),
    pytest.param(INFOS, 40 + 16, struct.pack("<I", 199), id="the chunk is shorter"),
    pytest.param(INFOS, 40 + 20, struct.pack("<I", 170), id="the chunk has more free blocks"),
    pytest.param(INFOS, 40 + 24, struct.pack("<Q", INFOS), id="its bitmap is no block of the pool"),
    pytest.param(INFOS, 40 + 24, struct.pack("<Q", 1 << 60), id="its bitmap is beyond the end"),
    pytest.param(INFOS, 40, struct.pack("<Q", 8), id="the chunk was written later"),
    pytest.param(INFOS, 36, struct.pack("<I", 1 << 31), id="more infos than fit"),
    pytest.param(INFOS, 36, struct.pack("<I", 0), id="no infos"),
    pytest.param(INFOS, 32, struct.pack("<I", 1), id="another index"),
    pytest.param(INFOS, 8, struct.pack("<Q", 99), id="the block lies elsewhere"),
    pytest.param(INFOS, 16, struct.pack("<Q", 8), id="the block was written later"),
    pytest.param(MANAGER, 72, struct.pack("<Q", 166), id="the device has more free blocks"),
    pytest.param(MANAGER, 168, struct.pack("<Q", 100), id="the bitmap of the pool is free"),
    pytest.param(MANAGER, 152, struct.pack("<Q", 30), id="a part of the pool is free"),
]


@pytest.mark.parametrize(("block", "offset", "content"), CHANGES)
def test_what_contradicts_itself_is_damage(block: int, offset: int, content: bytes) -> None:
    disk = container()
    change(disk, block, offset, content)
    assert refusal(disk) == "damaged"


def test_a_list_of_info_blocks_must_be_whole() -> None:
    disk = container(300 * CHUNK, deep=True)
    change(disk, INFOS + 3, 36, struct.pack("<I", 2))
    assert refusal(disk) == "damaged"
    change(disk, INFOS + 3, 36, struct.pack("<I", 508))
    assert refusal(disk) == "damaged"


def test_an_info_block_without_its_checksum_is_damage() -> None:
    disk = container()
    disk.put(INFOS * BLOCK + 60, b"\1")
    assert refusal(disk) == "damaged"

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Identity, Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple import hfsplus
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.hfsplus_images import (
    JOURNALED,
    HfsVolume,
    formatted,
    journal_header,
    journal_info,
    wrapped,
)


def volume(disk: BlockDisk) -> Volume:
    return Volume(disk, [(0, disk.size)])


def free_blocks(disk: BlockDisk, block: int = 4096) -> List[Tuple[int, int]]:
    return [(start // block, end // block) for start, end in hfsplus.free_runs(volume(disk))]


def refusal(disk: BlockDisk) -> str:
    with pytest.raises(Uncertain) as caught:
        hfsplus.free_runs(volume(disk))
    return caught.value.code


def test_a_volume_is_known_by_its_header() -> None:
    disk = HfsVolume().build(tail=1024)
    assert hfsplus.recognise(volume(disk)) == Identity("hfsplus", None, 100 * 4096)
    disk.put(1024, b"HP")
    assert hfsplus.recognise(volume(disk)) is None


@given(st.integers(5, 300), st.sets(st.integers(4, 299)))
def test_what_no_bit_marks_is_free(blocks: int, used: Any) -> None:
    made = HfsVolume(blocks)
    made.used |= {number for number in used if number < blocks}
    runs = hfsplus.free_runs(volume(made.build()))
    assert {number for start, end in runs for number in range(start // 4096, end // 4096)} == set(
        range(blocks)
    ) - made.used


def test_volumes_of_case_sensitive_names_are_alike() -> None:
    made = HfsVolume()
    made.kind, made.version = b"HX", 5
    assert free_blocks(made.build()) == [(4, 99)]


def test_a_bitmap_in_pieces_is_joined() -> None:
    made = HfsVolume(10_000, 512)
    made.bitmap = [(3, 1), (10, 2)]
    made.catalog = [(20, 2)]
    made.used = {*range(30), 5000, 9998, 9999}
    assert free_blocks(made.build(), 512) == [(30, 5000), (5001, 9998)]


def test_a_wrapped_volume_lies_where_the_wrapper_says() -> None:
    disk = wrapped(HfsVolume().build())
    assert hfsplus.recognise(volume(disk)) == Identity("hfsplus", None, 12288 + 100 * 4096)
    assert [(start - 12288, end - 12288) for start, end in hfsplus.free_runs(volume(disk))] == [(4 * 4096, 99 * 4096)]


def test_an_alternate_header_behind_the_last_block_leaves_that_free() -> None:
    made = HfsVolume()
    made.used.discard(99)
    assert free_blocks(made.build(tail=1536)) == [(4, 100)]
    assert refusal(made.build()) == "damaged"


def test_the_free_blocks_are_counted() -> None:
    made = HfsVolume()
    made.miscounted = 1
    assert refusal(made.build()) == "damaged"


@pytest.mark.parametrize("block", [0, 1, 3, 99])
def test_headers_and_special_files_are_not_free(block: int) -> None:
    made = HfsVolume()
    made.used.discard(block)
    assert refusal(made.build()) == "damaged"


def test_a_bitmap_in_more_extents_than_are_known_is_damage() -> None:
    disk = HfsVolume().build()
    for place in (1024, disk.size - 1024):
        disk.put(place + 112 + 12, struct.pack(">I", 2))
    assert refusal(disk) == "damaged"


def test_a_bitmap_goes_on_in_the_overflow() -> None:
    made = HfsVolume(40_000, 512)
    places = [(100 + 2 * number, 1) for number in range(10)]
    made.bitmap, made.overflow, made.catalog = places, [(4, 4)], [(20, 2)]
    made.more = [(6, 0, 8, places[8:])]
    made.used = {*range(200), 39_998, 39_999}
    assert free_blocks(made.build(), 512) == [(200, 39_998)]


def test_a_short_bitmap_is_damage() -> None:
    disk = HfsVolume().build()
    for place in (1024, disk.size - 1024):
        disk.put(place + 112, struct.pack(">Q", 12))
    assert refusal(disk) == "damaged"


def test_a_bitmap_outside_is_damage() -> None:
    made = HfsVolume()
    disk = made.build()
    for place in (1024, disk.size - 1024):
        disk.put(place + 112 + 16, struct.pack(">I", 1 << 31))
    assert refusal(disk) == "damaged"


def test_a_journal_and_what_describes_it_are_not_free() -> None:
    made = HfsVolume()
    made.attributes |= JOURNALED
    made.journal_block = 4
    made.used |= {4, 5, 6}
    disk = made.build()
    disk.put(4 * 4096, journal_info(1, 5 * 4096, 8192))
    disk.put(5 * 4096, journal_header(512, 512))
    assert free_blocks(disk) == [(7, 99)]
    disk.put(4 * 4096, journal_info(1, 5 * 4096, 8193))
    assert refusal(disk) == "damaged"


def test_a_formatted_volume_is_nearly_empty() -> None:
    disk = formatted(8 << 20)
    assert free_blocks(disk) == [(1 + 1 + 4 + 64, 2047)]

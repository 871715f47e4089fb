# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple.hfsplus_layout import (
    Header,
    alternate_place,
    fork,
    journal_blocks,
    read_header,
    refuse_unclean,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.hfsplus_images import (
    JOURNALED,
    UNMOUNTED,
    HfsVolume,
    journal_header,
    journal_info,
    wrapped,
)


def volume(disk: BlockDisk) -> Volume:
    return Volume(disk, [(0, disk.size)])


def header_of(disk: BlockDisk) -> Header:
    header = read_header(volume(disk))
    assert header is not None
    return header


def test_a_header_tells_the_geometry() -> None:
    header = header_of(HfsVolume(100, 8192).build())
    assert (header.block, header.blocks, header.free, header.offset, header.size) == (8192, 100, 95, 0, 819200)
    assert fork(header, 112) == (13, 1, [(1, 2)])


@pytest.mark.parametrize(
    ("offset", "value"), [(0, b"BD"), (0, b"HX"), (2, b"\0\5"), (40, bytes(4)), (40, b"\0\0\x10\1"), (44, bytes(4))]
)
def test_a_header_that_makes_no_sense_is_none(offset: int, value: bytes) -> None:
    disk = HfsVolume().build()
    disk.put(1024 + offset, value)
    assert read_header(volume(disk)) is None


def test_what_is_too_short_is_none() -> None:
    assert read_header(volume(BlockDisk(2048))) is None


@pytest.mark.parametrize(("offset", "value"), [(20, b"\xff\xff\xff\xff"), (126, b"\xff\xff"), (128, b"\0\0")])
def test_a_wrapper_that_leads_outside_is_none(offset: int, value: bytes) -> None:
    disk = wrapped(HfsVolume().build())
    assert header_of(disk).offset == 12288
    disk.put(1024 + offset, value)
    assert read_header(volume(disk)) is None


@pytest.mark.parametrize("tail", [0, 512, 3072, 99_840])
def test_the_alternate_header_is_at_the_end_of_the_partition(tail: int) -> None:
    disk = HfsVolume().build(tail)
    assert alternate_place(volume(disk), header_of(disk)) == disk.size - 1024


@pytest.mark.parametrize(
    "change",
    [(0, b"HX"), (2, b"\0\6"), (40, b"\0\0\x20\0"), (44, b"\0\0\0\x65"), (112, b"\1"), (128, b"\0\0\0\2")],
)
def test_the_alternate_header_must_agree(change: Any) -> None:
    made = HfsVolume()
    made.alternate = [change]
    disk = made.build()
    with pytest.raises(Uncertain) as caught:
        alternate_place(volume(disk), header_of(disk))
    assert caught.value.code == "damaged"


def test_a_volume_longer_than_its_partition_is_too_large() -> None:
    disk = HfsVolume().build()
    short = Volume(disk, [(0, 50 * 4096)])
    with pytest.raises(Uncertain) as caught:
        alternate_place(short, header_of(disk))
    assert caught.value.code == "damaged"
    header = read_header(short)
    assert header is not None
    with pytest.raises(Uncertain) as caught:
        alternate_place(short, header)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        (UNMOUNTED, None),
        (UNMOUNTED | 0x8000 | 1 << 31, None),
        (0, "unclean"),
        (JOURNALED, "unclean"),
        (UNMOUNTED | 0x800, "errors"),
        (UNMOUNTED | 0x10000, "unknown_features"),
    ],
)
def test_attributes_tell_whether_the_end_was_clean(attributes: int, code: Optional[str]) -> None:
    made = HfsVolume()
    made.attributes = attributes
    try:
        refuse_unclean(header_of(made.build()))
    except Uncertain as uncertain:
        assert uncertain.code == code
    else:
        assert code is None


JOURNALS: List[Any] = [
    pytest.param(journal_info(1, 5 * 4096, 8192), journal_header(512, 512), None, id="empty"),
    pytest.param(journal_info(1, 5 * 4096, 8192), journal_header(512, 512, ">"), None, id="empty, of a PowerPC"),
    pytest.param(journal_info(5, 5 * 4096, 8192), b"", None, id="never used"),
    pytest.param(journal_info(1, 5 * 4096, 8192), journal_header(512, 1024), "unclean", id="to be replayed"),
    pytest.param(journal_info(2, 5 * 4096, 8192), journal_header(512, 512), "external", id="elsewhere"),
    pytest.param(journal_info(1, 5 * 4096, 8192), b"", "damaged", id="no header"),
    pytest.param(journal_info(1, 1 << 60, 8192), b"", "damaged", id="outside"),
]


@pytest.mark.parametrize(("info", "begins", "code"), JOURNALS)
def test_a_journal_must_be_empty(info: bytes, begins: bytes, code: Optional[str]) -> None:
    made = HfsVolume()
    made.attributes |= JOURNALED
    made.journal_block = 4
    disk = made.build()
    disk.put(4 * 4096, info)
    disk.put(5 * 4096, begins)
    try:
        assert journal_blocks(volume(disk), header_of(disk)) == [(4, 5), (5, 7)]
    except Uncertain as uncertain:
        assert uncertain.code == code
    else:
        assert code is None


def test_a_journal_block_outside_is_damage() -> None:
    made = HfsVolume()
    made.attributes |= JOURNALED
    made.journal_block = 1 << 31
    disk = made.build()
    with pytest.raises(Uncertain):
        journal_blocks(volume(disk), header_of(disk))


def test_without_a_journal_there_is_none() -> None:
    disk = HfsVolume().build()
    assert journal_blocks(volume(disk), header_of(disk)) == []


def test_a_fork_has_up_to_eight_extents() -> None:
    made = HfsVolume()
    made.catalog = [(2 * number, 1) for number in range(1, 9)]
    header = header_of(made.build())
    assert fork(header, 272)[2] == [(2 * number, 2 * number + 1) for number in range(1, 9)]
    assert struct.unpack_from(">I", header.raw, 272 + 12) == (8,)

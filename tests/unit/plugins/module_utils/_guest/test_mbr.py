# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.mbr import read_mbr, with_place
from ansible_collections.vdisk.parallels.tests.support import mbr
from ansible_collections.vdisk.parallels.tests.support.guest_disk import GuestDisk

SECTOR = 512
LOGICAL = [(0x83, 1008, 100), (0x82, 1200, 50), (0x83, 1300, 10)]


def disk(size: int = 2000) -> bytes:
    return mbr.with_mbr(bytes(size * SECTOR), [(0x83, 64, 800), (5, 1000, 900)], LOGICAL)


def test_primary_and_logical_partitions_are_found_with_their_records() -> None:
    found = read_mbr(GuestDisk(disk()), SECTOR)
    assert found is not None and found.signature == 0x12345678
    assert [(one.number, one.kind, one.start, one.count) for one in found.entries] == [
        (1, 0x83, 64, 800),
        (2, 5, 1000, 900),
        (5, 0x83, 1008, 100),
        (6, 0x82, 1200, 50),
        (7, 0x83, 1300, 10),
    ]
    assert [(one.record, one.link) for one in found.entries[2:]] == [(1000, None), (1192, 1000), (1292, 1192)]
    assert found.extended is not None and found.extended.number == 2


def test_sectors_of_4096_bytes_are_counted_as_such() -> None:
    content = mbr.with_mbr(bytes(100 * 4096), [(0x83, 10, 80)])
    found = read_mbr(GuestDisk(content), 4096)
    assert found is not None and (found.entries[0].start, found.entries[0].end) == (10, 90)
    assert read_mbr(GuestDisk(mbr.with_mbr(bytes(100 * SECTOR), [(0x83, 10, 80)])), 4096) is None


@pytest.mark.parametrize(
    ("offset", "content"),
    [
        (510, b"\0\0"),
        (446, b"\x33"),
        (446 + 8, bytes(4)),
        (446 + 12, b"\xff\xff\xff\xff"),
        (446 + 16 + 4, b"\x83"),
        (1192 * SECTOR + 510, b"\0\0"),
        # A chain that runs in a circle, one that leaves its extended partition, and two partitions in one place.
        (1192 * SECTOR + 470, bytes(4)),
        (1192 * SECTOR + 470, struct.pack("<I", 192)),
        (1192 * SECTOR + 470, struct.pack("<I", 5000)),
        (1192 * SECTOR + 454, struct.pack("<II", 8, 5000)),
    ],
)
def test_a_record_that_is_not_sound_is_none_or_ends_the_chain(offset: int, content: bytes) -> None:
    changed = bytearray(disk())
    changed[offset : offset + len(content)] = content
    found = read_mbr(GuestDisk(bytes(changed)), SECTOR)
    is_shorter_chain = (offset, content) in ((1192 * SECTOR + 470, bytes(4)), (446 + 16 + 4, b"\x83"))
    assert (found is not None) == is_shorter_chain


@given(st.data())
def test_whatever_the_records_say_it_ends_and_stays_on_the_disk(data: st.DataObject) -> None:
    content = bytearray(disk())
    for _change in range(data.draw(st.integers(1, 12))):
        sector = data.draw(st.sampled_from([0, 1000, 1192, 1292]))
        content[sector * SECTOR + data.draw(st.integers(440, 511))] = data.draw(st.integers(0, 255))
    found = read_mbr(GuestDisk(bytes(content)), SECTOR)
    if found is not None:
        assert len(found.entries) <= 4 + 128
        assert all(one.start > 0 and one.end <= 2000 for one in found.entries)


@pytest.mark.parametrize(
    ("start", "count", "chs"),
    [
        (63, 63, (b"\x01\x01\x00", b"\x01\x3f\x00")),
        (16065 * 1023, 16065, (b"\x00\xc1\xff", b"\xfe\xff\xff")),
        (16065 * 1024, 8, (b"\xfe\xff\xff", b"\xfe\xff\xff")),
    ],
)
def test_a_place_is_written_in_both_ways(start: int, count: int, chs: tuple) -> None:
    raw = with_place(bytes(SECTOR), 1, start=start, count=count, base=3)
    assert struct.unpack_from("<II", raw, 446 + 24) == (start - 3, count)
    assert (raw[446 + 17 : 446 + 20], raw[446 + 21 : 446 + 24]) == chs
    assert not any(raw[:462])

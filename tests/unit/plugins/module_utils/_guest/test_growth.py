# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, Dict, Iterator, Optional, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, DiskError, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.growth import (
    Growth,
    candidates,
    grow_partition,
    read_layout,
)
from ansible_collections.vdisk.parallels.tests.support import gpt, mbr
from ansible_collections.vdisk.parallels.tests.support.guest_disk import GuestDisk

SECTOR = 512
MIB = 1 << 20
DATA, WINRE = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "de94bba4-06d1-4d40-a16a-bfd50179d6ac"


def with_gpt(size: int = 3 * MIB, **options: object) -> bytes:
    return gpt.with_gpt(bytes(size), [(2048, 3999), (4096, 4245)], types=[DATA, WINRE], **options)  # type: ignore[arg-type]


def applied(disk: bytes, growth: Growth, size: int) -> bytes:
    content = bytearray(disk.ljust(size, b"\0") if growth.first is None else applied(disk, growth.first, size))
    for start, end, place in growth.copies:
        content[place : place + end - start] = content[start:end]
    for offset, written in (*growth.before, growth.commit, *growth.after):
        content[offset : offset + len(written)] = written
    return bytes(content)


def grown(disk: bytes, size: int, number: int, *, sector: int = SECTOR, extends: bool = True) -> Optional[Growth]:
    layout = read_layout(GuestDisk(disk), size, sector=sector)
    assert layout is not None
    target = next(one for one in candidates(layout) if one.number == number)
    return grow_partition(layout, target, size, extends=extends)


def test_a_gpt_names_the_new_places_at_both_ends() -> None:
    size = 5 * MIB
    growth = grown(with_gpt(), size, 1)
    assert growth is not None and [part.number for part, _place in growth.moved] == [2]
    after = applied(with_gpt(), growth, size)
    assert gpt.judge(after) == [(2048, 8191), (8192, 8341)]
    assert [one[2] for one in gpt.entries_of(after).values()] == [bytes([1]) * 16, bytes([2]) * 16]
    assert grown(after, size, 1) is None


def test_in_the_middle_the_primary_header_names_the_entries_at_the_end() -> None:
    size = 5 * MIB
    growth = grown(with_gpt(), size, 1)
    assert growth is not None
    half = applied(with_gpt(), growth._replace(after=()), size)
    assert {number: one[:2] for number, one in gpt.entries_of(half).items()} == {1: (2048, 8191), 2: (8192, 8341)}
    layout = read_layout(GuestDisk(half), size, sector=SECTOR)
    assert layout is not None and layout.gpt is not None and layout.gpt.is_unfinished


def test_room_alone_leaves_the_partition_as_it_is() -> None:
    growth = grown(with_gpt(), 5 * MIB, 1, extends=False)
    assert growth is not None and growth.end == 4000 * SECTOR
    assert gpt.judge(applied(with_gpt(), growth, 5 * MIB)) == [(2048, 3999), (8192, 8341)]


def test_an_extended_partition_moves_with_what_is_in_it() -> None:
    disk = mbr.with_mbr(bytes(3 * MIB), [(0x83, 2048, 2000), (5, 4096, 158)], [(0x82, 4104, 150)])
    growth = grown(disk, 5 * MIB, 1)
    assert growth is not None and not growth.before and not growth.after
    after = mbr.entries_of(applied(disk, growth, 5 * MIB))
    assert after == {1: (0x83, 2048, 6144), 2: (5, 8192, 158), 5: (0x82, 8200, 150)}


def test_a_logical_partition_takes_its_extended_one_with_it() -> None:
    logical = [(0x83, 2056, 900), (0x82, 3000, 100), (0x82, 3200, 60)]
    disk = mbr.with_mbr(bytes(3 * MIB), [(5, 2048, 2000), (0x27, 4096, 100)], logical)
    growth = grown(disk, 6 * MIB, 5)
    assert growth is not None
    after = mbr.entries_of(applied(disk, growth, 6 * MIB))
    assert after[1] == (5, 2048, 8192) and after[2] == (0x27, 10240, 100)
    assert after[7] == (0x82, 8192, 60) and after[6] == (0x82, 6144, 100) and after[5][:2] == (0x83, 2056)


def test_sectors_of_4096_bytes_in_a_boot_record() -> None:
    disk = mbr.with_mbr(bytes(3 * MIB), [(0x83, 256, 300)])
    growth = grown(disk, 5 * MIB, 1, sector=4096)
    assert growth is not None
    assert mbr.entries_of(applied(disk, growth, 5 * MIB)) == {1: (0x83, 256, 1024)}


def test_sectors_of_4096_bytes_in_a_gpt() -> None:
    narrow = gpt.with_gpt(bytes(4 * MIB // 8), [(256, 400)], entries=32, types=[DATA])
    # The same sectors, each eight times as long.
    disk = b"".join(narrow[at : at + SECTOR].ljust(4096, b"\0") for at in range(0, len(narrow), SECTOR))
    packed = narrow[2 * SECTOR : 10 * SECTOR]
    wide = bytearray(disk)
    wide[8192 : 8192 + 4096] = packed
    at = (len(narrow) // SECTOR - 1 - 8) * 4096
    wide[at : at + 4096] = packed
    growth = grown(bytes(wide), 8 * MIB, 1)
    assert growth is not None
    after = applied(bytes(wide), growth, 8 * MIB)
    last = 8 * MIB // 4096 - 1
    for own, other, entries in ((1, last, 2), (last, 1, last - 1)):
        raw = after[own * 4096 : own * 4096 + 92]
        assert struct.unpack_from("<QQ", raw, 24) == (own, other) and struct.unpack_from("<Q", raw, 72) == (entries,)
        assert struct.unpack_from("<QQ", after, entries * 4096 + 32) == (256, 1791)


def test_a_boot_record_reaches_no_further_than_its_numbers() -> None:
    disk = mbr.with_mbr(bytes(2 * MIB), [(0x83, 2048, 1000)])
    growth = grown(disk, 3 << 40, 1)
    assert growth is not None and growth.end == 2 << 40


@pytest.mark.parametrize(
    ("disk", "error"),
    [
        (with_gpt()[:512] + bytes(SECTOR) + with_gpt()[1024:], Damaged),
        (with_gpt()[:512] + bytes(3 * MIB - 512), Damaged),
        (b"ER\x02\0" + bytes(MIB), Unsupported),
        (bytes(512) + b"PM" + bytes(MIB), Unsupported),
        (gpt.with_gpt(bytes(3 * MIB), [(2048, 3999), (3000, 4245)], types=[DATA, WINRE]), Damaged),
        (gpt.with_gpt(bytes(3 * MIB), [(2048, 1000)], types=[DATA]), Damaged),
    ],
    ids=["primary gone", "both gone", "apm", "map", "overlap", "backwards"],
)
def test_a_table_that_is_not_sound_or_not_ours_is_refused(disk: bytes, error: type) -> None:
    with pytest.raises(error) as caught:
        read_layout(GuestDisk(disk), 5 * MIB, sector=SECTOR)
    assert caught.value.hint and str(caught.value).startswith("partition_table: ")


def test_a_hybrid_may_not_name_what_changes() -> None:
    disk = bytearray(with_gpt())
    struct.pack_into("<B3sB3sII", disk, 462, 0, bytes(3), 7, bytes(3), 2048, 100)
    with pytest.raises(Unsupported) as caught:
        grown(bytes(disk), 5 * MIB, 1)
    assert caught.value.found == "hybrid"
    struct.pack_into("<B3sB3sII", disk, 462, 0, bytes(3), 7, bytes(3), 40, 100)
    growth = grown(bytes(disk), 5 * MIB, 1)
    assert growth is not None and applied(bytes(disk), growth, 5 * MIB)[:SECTOR] == bytes(disk[:SECTOR])


def test_without_a_table_there_is_nothing_to_read() -> None:
    for size in (0, 1, 511, 4096, MIB):
        assert read_layout(GuestDisk(bytes(size)), 5 * MIB, sector=SECTOR) is None


@given(st.data())
def test_whatever_is_in_front_ends_in_a_sound_table_or_an_error_of_ours(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["gpt", "mbr"]))
    logical = [(0x83, 2056, 900), (0x82, 3000, 100)]
    disk = bytearray(with_gpt() if kind == "gpt" else mbr.with_mbr(bytes(3 * MIB), [(5, 2048, 2000)], logical))
    for _change in range(data.draw(st.integers(1, 8))):
        base = data.draw(st.sampled_from([0, 512, 1024, 2048 * SECTOR, 2992 * SECTOR]))
        disk[base + data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    if kind == "gpt" and data.draw(st.booleans()):
        import zlib

        struct.pack_into("<I", disk, 512 + 88, zlib.crc32(disk[1024 : 1024 + 16384]))
        struct.pack_into("<I", disk, 528, 0)
        struct.pack_into("<I", disk, 528, zlib.crc32(disk[512 : 512 + 92]))
    try:
        layout = read_layout(GuestDisk(bytes(disk)), 5 * MIB, sector=SECTOR)
        for part in candidates(layout) if layout is not None else ():
            growth = grow_partition(layout, part, 5 * MIB)  # type: ignore[arg-type]
            for _start, _end, place in growth.copies if growth is not None else ():
                assert 0 < place < 5 * MIB
    except DiskError as error:
        assert error.code in ("damaged", "unsupported", "bad_request") and error.hint


# Layouts in sectors, and the partition that is to grow; what is between is free.
K = 2048
RESERVED, SWAP = "e3c9e316-0b5c-4db8-817d-f92df00215ae", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"
INSTANTS = {
    "gpt, one behind": (gpt, 1, [(K, 2 * K - 1), (2 * K, 3 * K - 100)], [DATA, WINRE]),
    "gpt, three behind": (
        gpt,
        1,
        [(K, 2 * K - 1), (2 * K, 3 * K - 1), (3 * K, 3 * K + 700), (4 * K - 900, 4 * K - 100)],
        [DATA, WINRE, RESERVED, SWAP],
    ),
    "gpt, off the grid": (gpt, 1, [(40, K + 7), (K + 8, 2 * K + 31), (2 * K + 32, 3 * K - 35)], [DATA, SWAP, WINRE]),
    "mbr, two behind": (mbr, 1, [(7, K, K), (0x27, 2 * K, K - 5), (0x12, 3 * K, 100)], []),
    "mbr, an extended one behind": (
        mbr,
        1,
        [(7, K, K), (5, 2 * K, 2 * K)],
        [(0x82, 2 * K + 8, 500), (0x82, 3 * K, 300)],
    ),
    "mbr, logical": (mbr, 5, [(7, K, 100), (5, 2 * K, 2 * K)], [(0x83, 2 * K + 8, 500), (0x82, 3 * K, 900)]),
    "mbr, logical with three behind": (
        mbr,
        5,
        [(5, K, 3 * K)],
        [(0x83, K + 8, 500), (0x82, 2 * K, 900), (0x82, 3 * K, 90), (0x82, 3 * K + 200, 800)],
    ),
    "mbr, logical with a primary one behind": (
        mbr,
        5,
        [(5, K, 2 * K), (0x27, 3 * K, K)],
        [(0x83, K + 8, 500), (0x82, 2 * K, 2000)],
    ),
    "mbr, logical with others in front": (
        mbr,
        6,
        [(5, K, 2 * K), (0x27, 3 * K, 300), (0x12, 3 * K + 400, 200)],
        [(0x83, K + 8, 500), (7, K + 600, 600), (0x82, 2 * K, 1800)],
    ),
}


def pieces_of(growth: Growth) -> Iterator[Tuple[Optional[Tuple[int, int]], int, bytes]]:
    """What is done, in order, a copy in pieces: where it comes from, where it goes, or what is written there."""
    if growth.first is not None:
        yield from pieces_of(growth.first)
    for start, end, place in growth.copies:
        step = max(SECTOR, (end - start) // 3 // SECTOR * SECTOR)
        for at in range(start, end, step):
            yield (at, min(end, at + step)), place + at - start, b""
    for offset, content in (*growth.before, growth.commit, *growth.after):
        yield None, offset, content


def places(module: Any, disk: bytes) -> Dict[int, Tuple[int, int]]:
    if module is gpt:
        return {number: (first, last + 1) for number, (first, last, _guid) in gpt.entries_of(disk).items()}
    return {number: (start, start + count) for number, (_kind, start, count) in mbr.entries_of(disk).items()}


def instants(name: str, gain: int) -> Optional[int]:
    """Go through every instant of a growth by ``gain`` bytes, of which nothing may be torn; None when it is refused."""
    module, number, primary, more = INSTANTS[name]
    noise = bytes(range(256)) * (4 * MIB // 256)
    filled = bytearray(4 * MIB)
    for mark, (start, count) in enumerate(_ranges(module, primary, more), 1):
        filled[start * SECTOR : (start + count) * SECTOR] = noise[mark : mark + count * SECTOR]
    old = (
        gpt.with_gpt(bytes(filled), primary, types=more)
        if module is gpt
        else mbr.with_mbr(bytes(filled), primary, more)
    )
    size = len(old) + gain
    try:
        growth = grown(old, size, number)
    except DiskError as error:
        assert error.code in ("bad_request", "unsupported") and error.hint
        return None
    if growth is None:
        return 0
    before, now_there = places(module, old), bytearray(old.ljust(size, b"\0"))
    goal = places(module, applied(old, growth, size))
    assert goal[number][1] > before[number][1] and set(goal) == set(before)
    for source, offset, content in pieces_of(growth):
        written = bytes(now_there[slice(*source)]) if source is not None else content
        now_there[offset : offset + len(written)] = written
        now = places(module, bytes(now_there))
        for one, (start, end) in before.items():
            assert now[one] in ((start, end), goal[one]), f"partition {one} is at {now[one]}"
            if not any(start < other and last <= end for other, last in before.values()):
                there = now_there[now[one][0] * SECTOR : (now[one][0] + end - start) * SECTOR]
                assert there == old[start * SECTOR : end * SECTOR], f"partition {one} is torn"
    assert now == goal
    return len(growth.all_moved)


def _ranges(module: Any, primary: Any, more: Any) -> Iterator[Tuple[int, int]]:
    if module is gpt:
        yield from ((first, last + 1 - first) for first, last in primary)
    else:
        yield from ((start, count) for kind, start, count in (*primary, *more) if kind != 5)


@pytest.mark.parametrize("name", INSTANTS)
def test_nothing_is_torn_at_any_instant_however_small_the_gain(name: str) -> None:
    moved = [instants(name, gain * MIB // 2) for gain in range(1, 13)]
    behind = {"gpt, one behind": 1, "gpt, three behind": 3, "gpt, off the grid": 2, "mbr, two behind": 2}
    assert max(count or 0 for count in moved) >= behind.get(name, 1), moved
    assert moved[-1], moved

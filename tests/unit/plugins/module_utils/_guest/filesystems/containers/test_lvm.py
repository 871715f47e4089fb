# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.containers.lvm import (
    PhysicalVolume,
    read_physical,
    recognise,
)
from ansible_collections.vdisk.parallels.tests.support.filesystems import Bytes, whole
from ansible_collections.vdisk.parallels.tests.support.lvm import EXTENT, FIRST_EXTENT, logical, physical, segment, text

PLAIN = logical("root", segment(1, 0, 3, [("pv0", 6)]), segment(2, 3, 2, [("pv0", 1)]))
OTHER_PV = 'pv1 { id = "other"\n pe_start = 2048\n pe_count = 9 }'


def read(volumes: str = "", **options) -> PhysicalVolume:
    return read_physical(whole(Bytes(physical(text(volumes, **options)))))


def extents(found: PhysicalVolume) -> List[Tuple[int, int]]:
    return [((low - FIRST_EXTENT) // EXTENT, (high - FIRST_EXTENT) // EXTENT) for low, high in found.free]


def test_extents_without_a_logical_volume_are_free() -> None:
    found = read(PLAIN)
    assert found.group == "vg0" and extents(found) == [(0, 1), (3, 6), (9, 12)]
    assert [(one.name, one.reason) for one in found.volumes] == [("root", None)]
    assert found.volumes[0].pieces == (
        (FIRST_EXTENT + 6 * EXTENT, 3 * EXTENT),
        (FIRST_EXTENT + 1 * EXTENT, 2 * EXTENT),
    )


def test_a_group_without_volumes_is_all_free() -> None:
    assert extents(read()) == [(0, 12)]


@pytest.mark.parametrize(
    ("volume", "reason"),
    [
        (logical("a", segment(1, 0, 4, [("pv0", 0), ("pv1", 0)])), "raid"),
        (logical("a", segment(1, 0, 2, [("pv0", 0)]), segment(2, 2, 2, [("pv1", 0)])), "raid"),
        (logical("a", segment(1, 0, 2, [("pv0", 0)]), status='"READ"'), "unsupported"),
        (logical("a", segment(1, 0, 2, [], kind="thin-pool")), "unsupported"),
    ],
    ids=["striped", "on two volumes", "hidden", "a pool"],
)
def test_logical_volumes_that_are_not_plain_are_not_read(volume: str, reason: str) -> None:
    found = read(volume, more=OTHER_PV)
    assert [(one.name, one.pieces, one.reason) for one in found.volumes] == [("a", (), reason)]


def test_the_origin_of_a_snapshot_is_not_read() -> None:
    snapshot = logical("snapshot0", segment(1, 0, 1, [], kind="snapshot", more='origin = "root" cow_store = "cow"'))
    cow = logical("cow", segment(1, 0, 1, [("pv0", 0)]))
    found = read(PLAIN + snapshot + cow)
    assert all(one.reason == "unsupported" for one in found.volumes) and extents(found) == [(3, 6), (9, 12)]


@pytest.mark.parametrize(
    ("volumes", "options", "reason"),
    [
        (PLAIN + logical("b", segment(1, 0, 1, [("pv0", 7)])), {}, "damaged"),
        (logical("b", segment(1, 0, 1, [("pv0", 12)])), {}, "damaged"),
        (PLAIN, {"status": '"PARTIAL"'}, "unsupported"),
        (PLAIN, {"own": '"MISSING"'}, "unsupported"),
        (logical("pvmove0", segment(1, 0, 1, [("pv0", 1)]), status='"PVMOVE"'), {}, "resizing"),
        (logical("b", segment(1, 0, 1, [], kind="raid1", more='raids = ["pv0", 3]')), {}, "unsupported"),
        (logical("b", segment(1, 0, 1, [("pv0", 1)], kind="odd")), {}, "unsupported"),
        (logical("b", segment(1, 5, 1, [("pv0", 1)])), {}, "damaged"),
        (PLAIN, {"count": 13}, "too_large"),
    ],
    ids=["shared", "beyond", "partial", "missing", "moving", "raid", "type", "gap", "longer"],
)
def test_what_is_not_plain_frees_nothing(volumes: str, options, reason: str) -> None:
    with pytest.raises(Uncertain) as error:
        read(volumes, **options)
    assert error.value.code == reason


def test_a_label_is_recognised_even_when_damaged() -> None:
    content = bytearray(physical())
    content[512 + 22] ^= 1
    found = recognise(whole(Bytes(bytes(content))))
    assert found is not None and found.type == "lvm2"
    assert recognise(whole(Bytes(bytes(4096)))) is None


def test_no_flipped_bit_makes_more_free() -> None:
    content = physical(text(PLAIN))
    true = set(read(PLAIN).free)
    for place in [*range(512, 1024, 3), *range(4096, 4096 + 512 + 700, 7)]:
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        try:
            assert set(read_physical(whole(Bytes(bytes(changed)))).free) <= true
        except Uncertain:
            continue

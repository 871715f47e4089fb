# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, List, Optional

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.exfat_layout import (
    Allocation,
    Clusters,
    allocation,
    entry_sets,
    read_boot,
    refuse_other_geometry,
)
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.exfat_images import CLUSTER, END, ExfatVolume, file, stored


def boot_of(disk: BlockDisk) -> Any:
    return read_boot(Volume(disk, [(0, disk.size)]))


def clusters_of(made: ExfatVolume) -> Clusters:
    disk = made.build()
    return Clusters(Volume(disk, [(0, disk.size)]), boot_of(disk))


def test_a_boot_sector_tells_the_geometry() -> None:
    boot = boot_of(ExfatVolume().build())
    assert (boot.sector, boot.cluster, boot.clusters, boot.place(3)) == (512, CLUSTER, 200, ExfatVolume.place(3))


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (3, b"X"), (11, b"\1"), (63, b"\1"), (510, b"\0"), (105, b"\2"), (108, b"\x08"), (108, b"\x0d"),
        (109, b"\x11"), (72, bytes(8)), (79, b"\xff"), (92, bytes(4)),
    ],
)  # fmt: skip
def test_a_boot_sector_that_makes_no_sense_is_none(offset: int, value: bytes) -> None:
    disk = ExfatVolume().build()
    disk.put(offset, value)
    assert boot_of(disk) is None


def test_what_is_shorter_than_a_sector_is_none() -> None:
    assert boot_of(BlockDisk(100)) is None


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (112, b"\x20", None),
        (106, b"\2", "unclean"),
        (106, b"\4", "errors"),
        (106, b"\1", "unsupported"),
        (110, b"\2", "unsupported"),
        (72, b"\xff\xff", "too_large"),
        (72, b"\x40\0", "damaged"),
        (80, b"\x17", "damaged"),
        (84, b"\1", "damaged"),
        (84, b"\x19", "damaged"),
        (92, b"\xc9", "damaged"),
    ],
)
def test_the_boot_region_must_make_sense(offset: int, value: bytes, code: Optional[str]) -> None:
    made = ExfatVolume()
    made.fields = [(offset, value)]
    disk = made.build()
    try:
        refuse_other_geometry(Volume(disk, [(0, disk.size)]), boot_of(disk))
    except Uncertain as uncertain:
        assert uncertain.code == code
    else:
        assert code is None


@pytest.mark.parametrize("place", [100, 700, 11 * 512, 12 * 512 - 1])
def test_the_boot_region_has_a_checksum(place: int) -> None:
    disk = ExfatVolume().build()
    disk.put(place, bytes([disk.get(place, 1)[0] ^ 4]))
    with pytest.raises(Uncertain):
        refuse_other_geometry(Volume(disk, [(0, disk.size)]), boot_of(disk))


def test_a_chain_becomes_runs() -> None:
    clusters = clusters_of(ExfatVolume())
    assert clusters.chain(8, 3) == [(8, 10), (12, 13)]
    assert clusters.runs(Allocation(8, 2 * CLUSTER + 1, False)) == [(8, 10), (12, 13)]
    assert clusters.runs(Allocation(8, 5 * CLUSTER, True)) == [(8, 13)]


def test_a_long_chain_is_read_in_pieces() -> None:
    made = ExfatVolume(40_000)
    made.fields = [(84, b"\0\2\0\0"), (88, b"\x18\2\0\0")]
    made.table.update({number: number + 1 for number in range(20, 40_001)})
    made.table[40_001] = END
    place = made.place
    made.place = lambda cluster: place(cluster) + 512 * 512  # type: ignore[method-assign,assignment]
    assert clusters_of(made).chain(20, 39_982) == [(20, 40_002)]


WRONG: List[Any] = [
    Allocation(8, 2 * CLUSTER, False),
    Allocation(8, 4 * CLUSTER, False),
    Allocation(1, CLUSTER, False),
    Allocation(202, CLUSTER, False),
    Allocation(50, CLUSTER, False),
    Allocation(200, 3 * CLUSTER, True),
    Allocation(1, CLUSTER, True),
    Allocation(8, 1 << 63, True),
    Allocation(8, 1 << 63, False),
]


@pytest.mark.parametrize("one", WRONG)
def test_an_allocation_has_as_many_clusters_as_its_size(one: Allocation) -> None:
    with pytest.raises(Uncertain):
        clusters_of(ExfatVolume()).runs(one)


def test_a_circle_ends() -> None:
    made = ExfatVolume()
    made.table[12] = 8
    with pytest.raises(Uncertain):
        clusters_of(made).chain(8, 200)


def test_entries_come_in_sets_until_the_end() -> None:
    one, two = file(8, 5), file(9, 6)
    deleted = bytes([5]) + one[1:32]
    raw = stored(0x82, 0, 3, 5) + one + deleted + two + bytes(32) + one
    assert list(entry_sets(raw)) == [stored(0x82, 0, 3, 5), one, two]
    assert allocation(two[32:64]) == Allocation(9, 6, False)


def test_a_set_that_is_cut_or_changed_is_damage() -> None:
    one = file(8, 5)
    for raw in (one[:64], one[:40] + b"\1" + one[41:], one[:2] + b"\1\1" + one[4:]):
        with pytest.raises(Uncertain):
            list(entry_sets(raw))

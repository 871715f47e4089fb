# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Identity, Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows import fat
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.fat_images import FILE, FOLDER, FatVolume, entry

ALL = pytest.mark.parametrize("bits", [12, 16, 32])


def volume(disk: BlockDisk) -> Volume:
    return Volume(disk, [(0, disk.size)])


def free_clusters(made: FatVolume) -> List[Tuple[int, int]]:
    zero = made.place(0)
    return [
        ((start - zero) // made.cluster, (end - zero) // made.cluster)
        for start, end in fat.free_runs(volume(made.build()))
    ]


def refusal(disk: BlockDisk) -> str:
    with pytest.raises(Uncertain) as caught:
        fat.free_runs(volume(disk))
    return caught.value.code


@ALL
def test_a_volume_is_known_by_its_boot_sector(bits: int) -> None:
    made = FatVolume(bits)
    disk = made.build(tail=5000)
    assert fat.recognise(volume(disk)) == Identity(f"fat{bits}", "A VOLUME", made.sectors * 512)
    disk.put(510, b"\0\0")
    assert fat.recognise(volume(disk)) is None


@ALL
def test_entries_of_zero_are_free(bits: int) -> None:
    made = FatVolume(bits)
    first = 3 if bits == 32 else 2
    assert free_clusters(made) == [(first, 5), (6, 7), (9, 10), (11, made.geometry.clusters + 2)]


def test_a_free_cluster_is_one_in_all_tables() -> None:
    made = FatVolume(16)
    made.second[50] = 0xFFF7
    assert refusal(made.build()) == "damaged"
    assert free_clusters(FatVolume(16, tables=1))[0] == (2, 5)


def test_only_the_active_table_counts_when_the_boot_sector_says_so() -> None:
    made = FatVolume(32)
    made.table[7] = 0
    made.second[7] = 8
    made.fields = [(40, b"\x81\0")]
    disk = made.build()
    disk.put(6 * 512 + 40, b"\x81\0")
    assert len(fat.free_runs(volume(disk))) == 4
    for place in (0, 6 * 512):
        disk.put(place + 40, b"\x82\0")
    assert refusal(disk) == "damaged"


@ALL
def test_bad_clusters_are_not_free(bits: int) -> None:
    made = FatVolume(bits)
    made.table[20] = made.end & ~0xF | 7
    assert (11, 20) in free_clusters(made)


@ALL
@pytest.mark.parametrize("hole", [7, 8, 10, 5])
def test_a_chain_through_a_free_cluster_is_damage(bits: int, hole: int) -> None:
    made = FatVolume(bits)
    made.table[hole] = 0
    assert refusal(made.build()) == "damaged"


@ALL
def test_a_chain_to_nowhere_is_damage(bits: int) -> None:
    made = FatVolume(bits)
    made.table[10] = 1
    assert refusal(made.build()) == "damaged"
    if bits != 32:
        made.table[10] = made.geometry.clusters + 2
        assert refusal(made.build()) == "damaged"


@pytest.mark.parametrize("bits", [12, 16])
def test_clusters_of_no_file_are_damage(bits: int) -> None:
    made = FatVolume(bits)
    made.table[30] = made.end
    assert refusal(made.build()) == "damaged"


def test_clusters_of_no_file_are_used() -> None:
    made = FatVolume(32)
    made.table[30] = made.end
    assert (11, 30) in free_clusters(made)


@pytest.mark.parametrize("bits", [12, 16])
def test_without_a_folder_nothing_confirms_the_geometry(bits: int) -> None:
    made = FatVolume(bits)
    made.root = [entry("A", FILE, 7, 3 * made.cluster)]
    made.table.pop(5)
    assert refusal(made.build()) == "unconfirmed"
    made.root = [entry("SUB", FOLDER, 2)]
    made.table = {0: made.table[0], 1: made.table[1], 2: made.end}
    made.folders = {2: [entry(".", FOLDER, 2), entry("..", FOLDER, 0)]}
    assert refusal(made.build()) == "unconfirmed"


def test_another_media_byte_is_damage() -> None:
    made = FatVolume(16)
    made.table[0] = 0xFFF0
    assert refusal(made.build()) == "damaged"


@pytest.mark.parametrize(("bits", "mark"), [(16, 0x7FFF), (32, 0x07FFFFFF)])
def test_a_volume_in_use_is_unclean(bits: int, mark: int) -> None:
    made = FatVolume(bits)
    made.table[1] = mark
    assert refusal(made.build()) == "unclean"

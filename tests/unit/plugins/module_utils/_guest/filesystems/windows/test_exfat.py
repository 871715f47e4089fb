# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Identity, Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows import exfat
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.exfat_images import (
    BITMAP,
    CLUSTER,
    END,
    ROOT,
    ExfatVolume,
    stored,
)


def volume(disk: BlockDisk) -> Volume:
    return Volume(disk, [(0, disk.size)])


def free_clusters(made: ExfatVolume) -> List[Tuple[int, int]]:
    zero = made.place(0)
    found = exfat.free_runs(volume(made.build()))
    return [((start - zero) // CLUSTER, (end - zero) // CLUSTER) for start, end in found]


def refusal(disk: BlockDisk) -> str:
    with pytest.raises(Uncertain) as caught:
        exfat.free_runs(volume(disk))
    return caught.value.code


def test_a_volume_is_known_by_its_boot_sector() -> None:
    disk = ExfatVolume().build()
    assert exfat.recognise(volume(disk)) == Identity("exfat", "Hi", disk.size)
    disk.put(96, b"\xff\xff\xff\x7f")
    assert exfat.recognise(volume(disk)) == Identity("exfat", None, disk.size)
    disk.put(3, b"EXFAT!")
    assert exfat.recognise(volume(disk)) is None


def test_what_the_bitmap_calls_free_is_free() -> None:
    assert free_clusters(ExfatVolume()) == [(5, 6), (7, 8), (10, 12), (13, 202)]


def test_a_bitmap_in_a_chain_is_joined() -> None:
    made = ExfatVolume(9000)
    made.fields = [(80, b"\x18\0\0\0\x80\0\0\0"), (88, b"\xa8\0\0\0")]
    made.table[BITMAP] = 20
    made.table[20] = END
    made.used.update((20, 8195))
    place = made.place
    made.place = lambda cluster: place(cluster) + 120 * 512  # type: ignore[method-assign,assignment]
    disk = made.build()
    disk.put(made.place(20), disk.get(made.place(BITMAP) + CLUSTER, 101))
    zero = made.place(0)
    found = [((start - zero) // CLUSTER, (end - zero) // CLUSTER) for start, end in exfat.free_runs(volume(disk))]
    assert found == [(5, 6), (7, 8), (10, 12), (13, 20), (21, 8195), (8196, 9002)]


@pytest.mark.parametrize("cluster", [BITMAP, 3, ROOT, 6, 8, 9, 12])
def test_what_is_in_use_must_be_marked(cluster: int) -> None:
    made = ExfatVolume()
    made.used.discard(cluster)
    assert refusal(made.build()) == "damaged"


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        stored(0x81, 1, BITMAP, 25),
        stored(0x81, 0, BITMAP, 24),
        stored(0x81, 0, BITMAP, 1 << 60),
        stored(0x81, 0, 1, 25),
        stored(0x81, 0, 8, 25),
        stored(0x81, 0, 5, 25),
        stored(0x81, 0, BITMAP, 25) * 2,
    ],
)
def test_there_is_one_bitmap_of_the_right_size(entry: bytes) -> None:
    made = ExfatVolume()
    made.bitmap = entry
    assert refusal(made.build()) == "damaged"


def test_a_root_folder_without_an_end_is_damage() -> None:
    made = ExfatVolume()
    made.table[ROOT] = ROOT
    assert refusal(made.build()) == "damaged"

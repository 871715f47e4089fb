# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Callable, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.fat_layout import (
    Table,
    read_boot,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.windows.fat_walk import Walk
from ansible_collections.vdisk.parallels.tests.support.fat_images import FILE, FOLDER, FatVolume, entry

ALL = pytest.mark.parametrize("bits", [12, 16, 32])


def walked(made: FatVolume) -> Walk:
    disk = made.build()
    volume = Volume(disk, [(0, disk.size)])
    fat = read_boot(volume)
    assert fat is not None
    walk = Walk(volume, fat, Table(volume, fat))
    walk.run()
    return walk


def refusal(made: FatVolume) -> str:
    with pytest.raises(Uncertain) as caught:
        walked(made)
    return caught.value.code


@ALL
def test_folders_confirm_where_they_are(bits: int) -> None:
    walk = walked(FatVolume(bits))
    assert (walk.confirmed, walk.reached) == (1, 2 if bits == 32 else 4)


@ALL
def test_folders_in_folders_are_visited(bits: int) -> None:
    made = FatVolume(bits)
    made.folders[5] = [*made.folders[5], entry("DEEP", FOLDER, 20)]
    made.folders[20] = [entry(".", FOLDER, 20), entry("..", FOLDER, 5)]
    made.table[20] = made.end
    assert walked(made).confirmed == 2
    made.folders[20] = [entry(".", FOLDER, 20), entry("..", FOLDER, 6)]
    assert refusal(made) == "damaged"


def broken(change: Callable[[FatVolume], Any], id: str) -> Any:
    return pytest.param(change, id=id)


BROKEN: List[Any] = [
    broken(lambda made: made.root.append(entry("B", FILE, 50, 5)), "a file in a free cluster"),
    broken(lambda made: made.root.append(entry("B", FILE, 1, 5)), "a file in cluster 1"),
    broken(lambda made: made.root.append(entry("B", FOLDER, 0)), "a folder without a cluster"),
    broken(lambda made: made.root.append(entry("B", FOLDER, 5)), "a folder with two names"),
    broken(lambda made: made.root.append(entry("B", FOLDER, 7)), "a folder that is a file"),
    broken(lambda made: made.folders.update({5: [entry(".", FOLDER, 6), entry("..", FOLDER, 0)]}), "not itself"),
    broken(lambda made: made.folders.update({5: [entry("X", FOLDER, 5), entry("..", FOLDER, 0)]}), "another name"),
    broken(lambda made: made.table.update({5: 5}), "a folder that is a circle"),
]


@ALL
@pytest.mark.parametrize("change", BROKEN)
def test_what_cannot_be_is_damage(bits: int, change: Callable[[FatVolume], Any]) -> None:
    made = FatVolume(bits)
    change(made)
    assert refusal(made) == "damaged"


@pytest.mark.parametrize("bits", [12, 16])
def test_chains_are_as_long_as_their_files(bits: int) -> None:
    made = FatVolume(bits)
    made.folders[5] = [*made.folders[5][:2], entry("A", FILE, 7, 2 * made.cluster)]
    assert refusal(made) == "damaged"
    made = FatVolume(bits)
    made.root.append(entry("B", FILE, 8, 2 * made.cluster))
    assert refusal(made) == "damaged"


@ALL
def test_deleted_entries_and_empty_files_name_no_cluster(bits: int) -> None:
    made = FatVolume(bits)
    deleted = b"\xe5" + entry("B", FILE, 50, 5)[1:]
    made.root += [deleted, entry("EMPTY", FILE, 0), bytes(32), entry("B", FILE, 50, 5)]
    assert walked(made).confirmed == 1

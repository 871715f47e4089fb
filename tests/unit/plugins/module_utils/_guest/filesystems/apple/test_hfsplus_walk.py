# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, Callable, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple import hfsplus
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.hfsplus_images import HfsVolume, attribute_record, fork

OVERFLOW = [(10, 2)]
ATTRIBUTES = [(12, 2)]
MANY = [(30 + 2 * number, 1) for number in range(8)]
MORE = [(50, 3), (60, 1)]
NAMED = [(70, 2)]
RESOURCES = [(80, 2)]


def filled() -> HfsVolume:
    """A small file, one with two extents more than fit, an attribute with blocks of its own, and bad blocks."""
    made = HfsVolume()
    made.overflow, made.attributes_file = OVERFLOW, ATTRIBUTES
    made.files = [[(20, 4)], MANY]
    made.more = [(5, 0, 0, [(90, 1)]), (17, 0, 8, MORE)]
    made.named = [
        attribute_record("a", struct.pack(">III", 0x10, 0, 0)),
        attribute_record("b", struct.pack(">II", 0x20, 0) + fork(900, NAMED, 4)),
        attribute_record("b", struct.pack(">II", 0x30, 0) + fork(0, RESOURCES)[16:]),
    ]
    places = [(20, 4), *MANY, *MORE, *NAMED, *RESOURCES, (90, 1), *OVERFLOW, *ATTRIBUTES]
    made.used |= {number for first, count in places for number in range(first, first + count)}
    return made


def built(made: HfsVolume, blocks_of_many: int = 12) -> BlockDisk:
    """The volume, its second file with the blocks that it says it has."""
    disk = made.build()
    record = struct.pack(">I", 8) + b"".join(struct.pack(">II", *one) for one in MANY)
    raw = disk.get(0, disk.size)
    disk.put(raw.index(record), struct.pack(">I", blocks_of_many))
    return disk


def free(disk: BlockDisk) -> Any:
    return hfsplus.free_runs(Volume(disk, [(0, disk.size)]))


def test_everything_is_in_use_and_adds_up() -> None:
    made = filled()
    assert free(built(made)).total == (100 - len(made.used)) * 4096


@pytest.mark.parametrize("block", [10, 12, 23, 44, 52, 60, 71, 81, 90])
def test_a_free_block_of_anything_is_damage(block: int) -> None:
    made = filled()
    made.used.discard(block)
    # As many blocks as before are in use, as a damaged bitmap has it that no count gives away.
    made.used.add(96)
    with pytest.raises(Uncertain) as caught:
        free(built(made))
    assert caught.value.code == "damaged"


def without_more(made: HfsVolume) -> None:
    made.more = made.more[:1]


def with_another_gap(made: HfsVolume) -> None:
    made.named[0] = attribute_record("a", struct.pack(">III", 0x40, 0, 0))


def with_blocks_beyond(made: HfsVolume) -> None:
    made.files[0] = [(20, 4000)]


def with_shared_blocks(made: HfsVolume) -> None:
    made.files += [[(20, 4)], [(20, 4)], MANY, MANY, MANY]


CHANGES: List[Tuple[str, Callable[[HfsVolume], None]]] = [
    ("extents that are told of are missing", without_more),
    ("an unknown kind of attribute", with_another_gap),
    ("blocks beyond the end", with_blocks_beyond),
    ("more blocks in files than in use", with_shared_blocks),
]


@pytest.mark.parametrize("change", [change for _name, change in CHANGES], ids=[name for name, _change in CHANGES])
def test_what_does_not_add_up_is_damage(change: Callable[[HfsVolume], None]) -> None:
    made = filled()
    change(made)
    with pytest.raises(Uncertain) as caught:
        free(built(made))
    assert caught.value.code == "damaged"


def test_a_record_of_no_known_kind_is_damage() -> None:
    disk = built(filled())
    raw = disk.get(0, disk.size)
    name = "file0000".encode("utf-16-be")
    disk.put(raw.index(name) + len(name), struct.pack(">H", 9))
    with pytest.raises(Uncertain):
        free(disk)

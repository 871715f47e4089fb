# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple.apfs_checkpoint import (
    read_checkpoint,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple.apfs_tree import Tree, items_of
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.tests.support.apfs_images import change, container, node, put_node
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk

ROOT, FIRST, SECOND = 50, 51, 52
SUBTYPE = 0xF
Items = List[Tuple[bytes, bytes]]


def numbered(start: int, count: int) -> Items:
    return [(struct.pack("<Q", number), struct.pack("<QQ", number, 7)) for number in range(start, start + count)]


def read(disk: BlockDisk) -> Tuple[Items, List[int]]:
    volume = Volume(disk, [(0, disk.size)])
    visited: List[int] = []

    def place(oid: int) -> int:
        visited.append(oid)
        return oid

    return list(items_of(volume, read_checkpoint(volume), Tree(ROOT, SUBTYPE, place))), visited


def two_levels() -> BlockDisk:
    """A root over two leaves with places of fixed lengths, which only the root tells."""
    disk = container(used=[(50, 60)])
    children = [(struct.pack("<Q", start), struct.pack("<Q", one)) for start, one in ((0, FIRST), (30, SECOND))]
    put_node(disk, ROOT, node(SUBTYPE, children, level=1), SUBTYPE)
    change(disk, ROOT, 4096 - 28, struct.pack("<I", 16))
    for place, items in ((FIRST, numbered(0, 30)), (SECOND, numbered(30, 5))):
        content = bytearray(node(SUBTYPE, items))
        struct.pack_into("<H", content, 0, 2 | 4)
        # Only a root has facts at its end: values are 40 bytes nearer to it.
        values = content[-40 - 16 * len(items) : -40]
        content[-40 - 16 * len(items) :] = bytes(40) + values
        put_node(disk, place, bytes(content), SUBTYPE, kind=3)
    return disk


@pytest.mark.parametrize("fixed", [True, False])
def test_items_of_one_node(fixed: bool) -> None:
    disk = container(used=[(50, 60)])
    put_node(disk, ROOT, node(SUBTYPE, numbered(0, 40), fixed=fixed), SUBTYPE)
    assert read(disk) == (numbered(0, 40), [ROOT])


def test_an_item_may_have_no_value() -> None:
    disk = container(used=[(50, 60)])
    put_node(disk, ROOT, node(SUBTYPE, numbered(0, 2)), SUBTYPE)
    change(disk, ROOT, 56 + 2, b"\xff\xff")
    assert read(disk)[0] == [(struct.pack("<Q", 0), b""), numbered(1, 1)[0]]


def test_leaves_come_in_order() -> None:
    assert read(two_levels()) == (numbered(0, 35), [ROOT, FIRST, SECOND])


CHANGES: List[Any] = [
    pytest.param(ROOT, 8, struct.pack("<Q", 51), id="another object"),
    pytest.param(ROOT, 16, struct.pack("<Q", 8), id="written later"),
    pytest.param(ROOT, 24, b"\3", id="a root that is a node"),
    pytest.param(ROOT, 28, b"\x10", id="of another tree"),
    pytest.param(ROOT, 32, b"\4\0", id="a root that says that it is none"),
    pytest.param(ROOT, 32, b"\7\0", id="a leaf above others"),
    pytest.param(ROOT, 34, b"\x20\0", id="too deep"),
    pytest.param(ROOT, 34, b"\2\0", id="a level that is missing"),
    pytest.param(ROOT, 36, struct.pack("<I", 3000), id="more items than fit"),
    pytest.param(ROOT, 42, struct.pack("<H", 0xFFF0), id="keys beyond the end"),
    pytest.param(ROOT, 56, b"\xff\x0f", id="a key beyond the end"),
    pytest.param(ROOT, 58, b"\xf0\x0f", id="a value before the keys"),
    pytest.param(FIRST, 24, b"\2", id="a node that is a root"),
    pytest.param(FIRST, 34, b"\1", id="a node of another level"),
    pytest.param(SECOND, 28, b"\x10", id="a node of another tree"),
]


@pytest.mark.parametrize(("block", "offset", "content"), CHANGES)
def test_what_contradicts_itself_is_damage(block: int, offset: int, content: bytes) -> None:
    disk = two_levels()
    change(disk, block, offset, content)
    with pytest.raises(Uncertain) as caught:
        read(disk)
    assert caught.value.code == "damaged"


def test_a_node_without_its_checksum_is_damage() -> None:
    disk = two_levels()
    disk.put(SECOND * 4096 + 2000, b"\1")
    with pytest.raises(Uncertain):
        read(disk)


def test_nodes_of_another_size_are_not_read() -> None:
    disk = two_levels()
    change(disk, ROOT, 4096 - 36, struct.pack("<I", 8192))
    with pytest.raises(Uncertain) as caught:
        read(disk)
    assert caught.value.code == "unsupported"

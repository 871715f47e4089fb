# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from typing import Any, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple.hfsplus_layout import read_header
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.apple.hfsplus_tree import (
    open_tree,
    records_of,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.volume import Volume
from ansible_collections.vdisk.parallels.tests.support.block_disk import BlockDisk
from ansible_collections.vdisk.parallels.tests.support.hfsplus_images import HfsVolume, leaf, overflow_record

NODE = 4096
PLACES = [(20, 1), (30, 2)]


def tree_on(records: List[List[bytes]]) -> BlockDisk:
    """A tree in two pieces: its header, and a leaf for each list of records."""
    disk = HfsVolume().build()
    nodes = [bytearray(leaf(NODE, some)) for some in records]
    for number, raw in enumerate(nodes, 1):
        struct.pack_into(">II", raw, 0, number + 1 if number < len(nodes) else 0, number - 1)
    head = bytearray(NODE)
    struct.pack_into(">IIbBH", head, 0, 0, 0, 1, 0, 3)
    count, last = sum(map(len, records)), len(nodes)
    struct.pack_into(">HIIIIHHI", head, 14, 2, 1, count, 1 if nodes else 0, last, NODE, 10, 1 + len(nodes))
    for number, raw in enumerate([head, *nodes]):
        disk.put((20, 30, 31)[number] * 4096, bytes(raw))
    return disk


RECORDS = [
    [overflow_record(16, 0, 8, [(50, 1)]), overflow_record(17, 0, 8, [(51, 2)])],
    [overflow_record(18, 255, 8, [])],
]


def read(disk: BlockDisk) -> List[Tuple[bytes, bytes]]:
    volume = Volume(disk, [(0, disk.size)])
    header = read_header(volume)
    assert header is not None
    extents = [(start, start + count) for start, count in PLACES]
    return list(records_of(volume, header, open_tree(volume, header, extents)))


def test_records_of_all_leaves_come_in_order() -> None:
    found = read(tree_on(RECORDS))
    assert [struct.unpack(">BxII", key) for key, _data in found] == [(0, 16, 8), (0, 17, 8), (255, 18, 8)]
    assert [data[:8] for _key, data in found] == [struct.pack(">II", *one) for one in ((50, 1), (51, 2), (0, 0))]


def test_an_empty_tree_has_no_records() -> None:
    assert read(tree_on([])) == []


CHANGES: List[Any] = [
    pytest.param(20, 8, b"\xff", id="the header is a leaf"),
    pytest.param(20, 14 + 6, struct.pack(">I", 4), id="a record more"),
    pytest.param(20, 14 + 10, struct.pack(">I", 2), id="another first leaf"),
    pytest.param(20, 14 + 14, struct.pack(">I", 1), id="another last leaf"),
    pytest.param(20, 14 + 18, struct.pack(">H", 100), id="an odd size of nodes"),
    pytest.param(20, 14 + 22, struct.pack(">I", 4), id="more nodes than the file holds"),
    pytest.param(20, 14 + 22, struct.pack(">I", 2), id="a leaf that is no node of the tree"),
    pytest.param(30, 0, struct.pack(">I", 1), id="a leaf that follows itself"),
    pytest.param(30, 8, b"\0", id="a leaf that is none"),
    pytest.param(30, 9, b"\2", id="a leaf that is higher"),
    pytest.param(30, 10, struct.pack(">H", 3000), id="more records than fit"),
    pytest.param(30, 10, struct.pack(">H", 0), id="a leaf without records"),
    pytest.param(31, 4, struct.pack(">I", 2), id="a leaf that does not point back"),
    pytest.param(30, NODE - 4, struct.pack(">H", 5000), id="a record beyond the end"),
    pytest.param(30, NODE - 4, struct.pack(">H", 13), id="a record before the first"),
    pytest.param(30, 14, struct.pack(">H", 4000), id="a key longer than its record"),
]


@pytest.mark.parametrize(("block", "offset", "content"), CHANGES)
def test_what_contradicts_itself_is_damage(block: int, offset: int, content: bytes) -> None:
    disk = tree_on(RECORDS)
    disk.put(block * 4096 + offset, content)
    with pytest.raises(Uncertain) as caught:
        read(disk)
    assert caught.value.code == "damaged"

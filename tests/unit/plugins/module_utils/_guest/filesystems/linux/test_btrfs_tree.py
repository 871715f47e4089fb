# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux.btrfs_super import parse_super
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux.btrfs_tree import (
    Trees,
    parse_chunk,
)
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import MIB, btrfs
from ansible_collections.vdisk.parallels.tests.support.filesystems import ImageFile, tool, whole


def trees(image: Path) -> Trees:
    volume = whole(ImageFile(image))
    found = Trees(volume, parse_super(volume))
    found.load_chunks()
    return found


def test_chunks_are_those_of_the_tool(tmp_path: Path) -> None:
    image = btrfs(tmp_path / "image")
    listed = tool("btrfs", "inspect-internal", "dump-tree", "-t", "chunk", image).splitlines()
    starts = [int(line.split("CHUNK_ITEM ")[1].split(")")[0]) for line in listed if "CHUNK_ITEM " in line]
    offsets = [int(line.split("offset ")[1]) for line in listed if "stripe " in line and "offset" in line]
    chunks = trees(image).chunks
    assert [chunk.start for chunk in chunks] == starts
    assert [copy for chunk in chunks for copy in chunk.copies] == offsets


def test_keys_ascend_and_nodes_are_those_that_are_meant(tmp_path: Path) -> None:
    found = trees(btrfs(tmp_path / "image"))
    keys = [key for key, _data in found.items(1, found.superblock.root)]
    assert keys == sorted(keys) and len(keys) > 5
    address, level, generation = found.superblock.root
    for owner, root in (
        (2, (address, level, generation)),
        (1, (address, level + 1, generation)),
        (1, (address, level, 1)),
    ):
        with pytest.raises(Uncertain):
            list(found.items(owner, root))


def chunk(length: int = MIB, kind: int = 1, stripes=((1, 5 * MIB),)) -> bytes:
    return struct.pack("<QQQQIIIHH", length, 2, 65536, kind, 0, 0, 0, len(stripes), 0) + b"".join(
        struct.pack("<QQ16s", device, place, b"") for device, place in stripes
    )


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (chunk(kind=0x11), "raid"),
        (chunk(stripes=((2, 5 * MIB),)), "raid"),
        (chunk(stripes=((1, 160 * MIB),)), "damaged"),
        (chunk(kind=0x21), "damaged"),
        (chunk(length=0), "damaged"),
        (chunk()[:60], "damaged"),
    ],
    ids=["mirror", "device", "beyond", "one copy", "empty", "short"],
)
def test_chunks_of_others_are_refused(tmp_path: Path, raw: bytes, reason: str) -> None:
    superblock = parse_super(whole(ImageFile(btrfs(tmp_path / "image"))))
    assert parse_chunk(superblock, 0, chunk())[0].copies == (5 * MIB,)
    with pytest.raises(Uncertain) as error:
        parse_chunk(superblock, 0, raw)
    assert error.value.code == reason

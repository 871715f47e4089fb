# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import ext
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux.ext_layout import (
    places_of,
    read_layout,
)
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import ext as make
from ansible_collections.vdisk.parallels.tests.support.filesystems import ImageFile, free_of, reason_of, tool, whole

KINDS: Dict[str, Tuple[str, ...]] = {
    "pointers": ("-t", "ext2"),
    "a journal": ("-t", "ext3"),
    "extents": ("-t", "ext4", "-O", "^metadata_csum"),
    "checksums of groups": ("-t", "ext4", "-O", "^metadata_csum,uninit_bg"),
    "clusters": ("-t", "ext4", "-O", "^metadata_csum,bigalloc", "-C", "8192"),
}
LONG_NAME = "x" * 300


@pytest.fixture(name="image", params=KINDS)
def image_fixture(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Files of all sizes, a link that needs a block, a short one, and attributes that need one."""
    image = make(tmp_path / "image", *KINDS[request.param], "-I", "128")
    (tmp_path / "value").write_bytes(b"v" * 600)
    for command in (f"symlink long {LONG_NAME}", "symlink short kept0", f"ea_set -f {tmp_path}/value kept0 user.a"):
        tool("debugfs", "-w", "-R", command, image)
    return image


def blocks_of(image: Path, name: str) -> List[int]:
    """All blocks of a file, those of pointers and extents with them."""
    told = tool("debugfs", "-R", f"blocks {name}", image).split("\n", 1)[1]
    return [int(number) for number in re.findall(r"\d+", told)]


def attributes_of(image: Path, name: str) -> int:
    found = re.search(r"File ACL: (\d+)", tool("debugfs", "-R", f"stat {name}", image))
    assert found is not None
    return int(found.group(1))


def exchange(image: Path, block: int) -> None:
    """The bitmap calls a block free, and in its place another one of the group used: all counters agree."""
    disk = ImageFile(image)
    layout = read_layout(whole(disk))
    free = next(iter(ext.free_runs(whole(disk))))[0] // layout.block
    group = (block - layout.first) // layout.group_blocks
    assert (free - layout.first) // layout.group_blocks == group
    bitmap = places_of(list(ext._descriptors(whole(disk), layout))[group])[0]
    disk.close()
    with open(image, "r+b") as stream:
        for one in (block, free):
            bit = ((one - layout.first) % layout.group_blocks) // layout.ratio
            stream.seek(bitmap * layout.block + bit // 8)
            byte = stream.read(1)[0]
            stream.seek(-1, 1)
            stream.write(bytes([byte ^ 1 << bit % 8]))


def test_what_files_have_is_in_use(image: Path) -> None:
    assert free_of(ext, image).total
    assert tool("e2fsck", "-fn", image)


@pytest.mark.parametrize("share", [0, 0.01, 0.2, 0.7, 1])
def test_a_free_block_of_a_file_is_damage(image: Path, share: float) -> None:
    blocks = blocks_of(image, "kept4")
    exchange(image, blocks[int(share * (len(blocks) - 1))])
    assert reason_of(ext, image) == "damaged"


def test_a_free_block_of_a_link_is_damage(image: Path) -> None:
    exchange(image, blocks_of(image, "long")[0])
    assert reason_of(ext, image) == "damaged"


def test_a_free_block_of_attributes_is_damage(image: Path) -> None:
    exchange(image, attributes_of(image, "kept0"))
    assert reason_of(ext, image) == "damaged"


def test_a_free_block_of_a_folder_is_damage(image: Path) -> None:
    exchange(image, blocks_of(image, "deep")[0])
    assert reason_of(ext, image) == "damaged"


def test_inodes_are_counted(tmp_path: Path) -> None:
    image = make(tmp_path / "image", *KINDS["pointers"])
    disk = ImageFile(image)
    layout = read_layout(whole(disk))
    bitmap = places_of(disk.bytes_at((layout.first + 1) * layout.block, 32))[1]
    disk.close()
    with open(image, "r+b") as stream:
        stream.seek(bitmap * layout.block + 1)
        stream.write(b"\0")
    assert reason_of(ext, image) == "damaged"


def test_an_extent_beyond_the_end_is_damage(tmp_path: Path) -> None:
    image = make(tmp_path / "image", *KINDS["extents"])
    # After three words of the header and two of the first extent comes where it begins.
    tool("debugfs", "-w", "-R", "set_inode_field kept4 block[5] 0x80000000", image)
    assert reason_of(ext, image) == "damaged"


def test_bitmaps_with_checksums_need_no_walk(tmp_path: Path) -> None:
    image = make(tmp_path / "image", "-t", "ext4")
    disk = ImageFile(image)
    layout = read_layout(whole(disk))
    assert free_of(ext, image).total
    ext.free_runs(whole(disk))
    tables = [places_of(disk.bytes_at((layout.first + 1) * layout.block, layout.descriptor))[2] * layout.block]
    assert not [one for one in disk.reads if one[0] in tables]
    disk.close()

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import ext
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import ext as make
from ansible_collections.vdisk.parallels.tests.support.filesystems import (
    ImageFile,
    free_of,
    is_within,
    reason_of,
    tool,
    turn_bits,
    whole,
)


def counted(image: Path) -> int:
    lines = dict(line.split(":", 1) for line in tool("dumpe2fs", "-h", image).splitlines() if ":" in line)
    return int(lines["Free blocks"]) * int(lines["Block size"])


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_free_bytes_are_those_that_the_superblock_counts(tmp_path: Path, kind: str) -> None:
    image = make(tmp_path / "image", "-t", kind, "-L", "data")
    assert free_of(ext, image).total == counted(image)
    found = ext.recognise(whole(ImageFile(image)))
    assert found is not None and (found.type, found.label, found.size) == (kind, "data", 24 << 20)


def test_removing_a_file_frees_its_blocks(tmp_path: Path) -> None:
    image = make(tmp_path / "image", "-t", "ext4")
    before = free_of(ext, image)
    tool("debugfs", "-w", "-R", "rm kept4", image)
    after = free_of(ext, image)
    assert is_within(before, after) and after.total - before.total == -(-1_500_000 // 1024) * 1024


def test_a_counter_that_is_wrong_is_damage(tmp_path: Path) -> None:
    image = make(tmp_path / "image", "-t", "ext2")
    with open(image, "r+b") as stream:
        stream.seek(1024 + 12)
        stream.write((counted(image) // 1024 + 1).to_bytes(4, "little"))
    assert reason_of(ext, image) == "damaged"


@pytest.mark.parametrize("kind", ["ext2", "ext4"])
def test_flipped_bits_never_free_more(tmp_path: Path, kind: str) -> None:
    assert turn_bits(ext, make(tmp_path / "image", "-t", kind), 150).get("larger", 0) == 0

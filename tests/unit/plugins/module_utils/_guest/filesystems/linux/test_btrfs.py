# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import btrfs
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import MIB
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import btrfs as make
from ansible_collections.vdisk.parallels.tests.support.filesystems import ImageFile, free_of, turn_bits, whole


def test_nothing_is_free_where_superblocks_and_boot_loaders_lie(tmp_path: Path) -> None:
    image = make(tmp_path / "image", "-L", "data")
    runs = free_of(btrfs, image)
    assert not runs.within(0, MIB) and not runs.within(64 * MIB, 64 * MIB + 65536)
    assert 150 * MIB < runs.total < 158 * MIB
    found = btrfs.recognise(whole(ImageFile(image)))
    assert found is not None and (found.type, found.label, found.size) == ("btrfs", "data", 160 * MIB)


def test_both_copies_of_metadata_are_used(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", "-m", "single"), make(tmp_path / "two", "-m", "dup", "-d", "dup")
    used = [image.stat().st_size - free_of(btrfs, image).total for image in (one, two)]
    assert used[1] > used[0] + 4 * MIB


@pytest.mark.parametrize("checksum", ["crc32c", "xxhash"])
def test_flipped_bits_never_free_more(tmp_path: Path, checksum: str) -> None:
    assert turn_bits(btrfs, make(tmp_path / "image", "--csum", checksum), 150).get("larger", 0) == 0


def test_no_superblock_is_none(tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(bytes(1 << 17))
    assert btrfs.recognise(whole(ImageFile(tmp_path / "none"))) is None

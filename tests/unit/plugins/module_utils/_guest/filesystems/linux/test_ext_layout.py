# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux.ext_layout import (
    has_super,
    kind_of,
    read_layout,
    read_super,
    size_of,
)
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import MIB, ext
from ansible_collections.vdisk.parallels.tests.support.filesystems import ImageFile, sparse, tool, whole


def changed(image: Path, offset: int, value: bytes) -> Path:
    with open(image, "r+b") as stream:
        stream.seek(1024 + offset)
        stream.write(value)
    return image


def code_of(image: Path) -> str:
    with pytest.raises(Uncertain) as error:
        read_layout(whole(ImageFile(image)))
    return error.value.code


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_the_kind_follows_from_the_features(tmp_path: Path, kind: str) -> None:
    raw = read_super(whole(ImageFile(ext(tmp_path / "image", "-t", kind))))
    assert raw is not None and kind_of(raw) == kind and size_of(raw) == (1024, 24 * 1024)


def test_copies_of_the_superblock_are_where_dumpe2fs_says(tmp_path: Path) -> None:
    image = ext(tmp_path / "image", "-t", "ext4", "-g", "256", "-N", "64", size=20 * MIB)
    layout = read_layout(whole(ImageFile(image)))
    lines = [line for line in tool("dumpe2fs", image).splitlines() if "superblock at" in line]
    named = [int(line.split("superblock at")[1].split(",")[0]) for line in lines]
    assert [layout.bounds(group)[0] for group in range(layout.groups) if has_super(layout, group)] == named
    assert layout.groups > 60


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (58, b"\0\0", "unclean"),
        (58, b"\3\0", "errors"),
        (96, b"\x46\0\0\0", "unclean"),
        (96, b"\x0a\0\0\0", "unsupported"),
        (96, b"\x02\0\0\x40", "unknown_features"),
        (100, b"\x80\0\0\0", "unknown_features"),
        (76, b"\2\0\0\0", "unknown_features"),
        (4, struct.pack("<I", 24 * 1024 + 8192), "too_large"),
        (32, bytes(4), "damaged"),
        (28, b"\1\0\0\0", "damaged"),
        (20, b"\0\0\0\0", "damaged"),
    ],
)
def test_what_is_not_clean_and_known_is_refused(tmp_path: Path, offset: int, value: bytes, reason: str) -> None:
    assert code_of(changed(ext(tmp_path / "image", "-t", "ext2"), offset, value)) == reason


def test_the_superblock_is_summed(tmp_path: Path) -> None:
    assert code_of(changed(ext(tmp_path / "image", "-t", "ext4"), 600, b"x")) == "damaged"


def test_no_superblock_is_none(tmp_path: Path) -> None:
    assert read_super(whole(ImageFile(sparse(tmp_path / "none", MIB)))) is None
    assert read_super(whole(ImageFile(sparse(tmp_path / "none", 2000)))) is None

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.checksums import crc32c
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux.btrfs_super import (
    is_sound,
    parse_super,
    read_super,
)
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import MIB, btrfs
from ansible_collections.vdisk.parallels.tests.support.filesystems import ImageFile, whole


def changed(image: Path, offset: int, value: bytes, place: int = 0x10000) -> str:
    """Why the superblock with a changed field and a right checksum is refused."""
    with open(image, "r+b") as stream:
        stream.seek(place)
        raw = bytearray(stream.read(4096))
        raw[offset : offset + len(value)] = value
        raw[:4] = struct.pack("<I", ~crc32c(bytes(raw[32:])) & 0xFFFFFFFF)
        stream.seek(place)
        stream.write(raw)
    with pytest.raises(Uncertain) as error:
        parse_super(whole(ImageFile(image)))
    return error.value.code


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (96, b"\1", "unclean"),
        (136, b"\2", "raid"),
        (188 + 1, b"\x10", "unknown_features"),
        (180 + 1, b"\x01", "unknown_features"),
        (56, b"\4", "errors"),
        (56 + 4, b"\1", "unknown_features"),
        (209, struct.pack("<Q", 161 * MIB), "too_large"),
        (148, b"\0\0", "damaged"),
        (196, b"\7", "unknown_features"),
    ],
)
def test_what_is_not_clean_and_known_is_refused(tmp_path: Path, offset: int, value: bytes, reason: str) -> None:
    assert changed(btrfs(tmp_path / "image"), offset, value) == reason


def test_a_newer_copy_is_damage(tmp_path: Path) -> None:
    assert changed(btrfs(tmp_path / "image"), 72, b"\xff", 64 * MIB) == "damaged"


@pytest.mark.parametrize(("kind", "name"), [(0, "crc32c"), (1, "xxhash"), (2, "sha256"), (3, "blake2")])
def test_every_checksum_is_known(tmp_path: Path, kind: int, name: str) -> None:
    raw = read_super(whole(ImageFile(btrfs(tmp_path / "image", "--csum", name))))
    assert raw is not None and is_sound(raw, kind) and not is_sound(raw[:-1] + b"x", kind)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.linux import xfs
from ansible_collections.vdisk.parallels.tests.support.filesystem_images import xfs as make
from ansible_collections.vdisk.parallels.tests.support.filesystems import (
    ImageFile,
    free_of,
    reason_of,
    tool,
    turn_bits,
    whole,
)


@pytest.mark.parametrize("options", [(), ("-m", "crc=0")], ids=["version 5", "version 4"])
def test_free_blocks_are_those_of_xfs_db_but_its_reserve(tmp_path: Path, options) -> None:
    image = make(tmp_path / "image", *options, "-L", "data")
    listed = tool("xfs_db", "-r", "-c", "freesp -d", image).splitlines()
    rows = [line.split() for line in listed]
    pairs = [(int(row[0]), int(row[1]), int(row[2])) for row in rows if len(row) == 3 and all(w.isdigit() for w in row)]
    group = int(tool("xfs_db", "-r", "-c", "sb 0", "-c", "p agblocks", image).split("=")[1])
    runs = free_of(xfs, image)
    # Blocks that are set aside for the trees are single ones, which the tool lists as well.
    expected = {((ag * group + first) * 4096, (ag * group + first + count) * 4096) for ag, first, count in pairs}
    assert set(runs) <= expected and all(end - start == 4096 for start, end in expected - set(runs))
    found = xfs.recognise(whole(ImageFile(image)))
    assert found is not None and (found.type, found.label, found.size) == ("xfs", "data", 300 << 20)


@pytest.mark.parametrize("options", [(), ("-m", "crc=0")], ids=["version 5", "version 4"])
def test_flipped_bits_never_free_more(tmp_path: Path, options) -> None:
    assert turn_bits(xfs, make(tmp_path / "image", *options), 150).get("larger", 0) == 0


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [
        (126, b"\1", "unclean"),
        (48, bytes(8), "external"),
        (16, bytes(7) + b"\1", "unsupported"),
        (144, bytes(7) + b"\1", "damaged"),
        (100, b"\0\6", "unknown_features"),
        (84, bytes(4), "damaged"),
        (8, b"\0\0\0\0\7", "damaged"),
    ],
)
def test_what_is_not_clean_and_known_is_refused(tmp_path: Path, offset: int, value: bytes, reason: str) -> None:
    image = make(tmp_path / "image", "-m", "crc=0")
    with open(image, "r+b") as stream:
        stream.seek(offset)
        stream.write(value)
    assert reason_of(xfs, image) == reason


def test_no_superblock_is_none(tmp_path: Path) -> None:
    (tmp_path / "none").write_bytes(bytes(4096))
    assert xfs.recognise(whole(ImageFile(tmp_path / "none"))) is None

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import List, Sequence

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhd.reader import open_vhd
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.places import checked_places
from ansible_collections.vdisk.parallels.tests.unit.plugins.module_utils._formats.vhd.test_reader import (
    KIB,
    CountingPort,
    beside,
    block_of,
    build,
    build_fixed,
    open_alone,
    read,
    refused,
)


def split(
    folder: Path, whole: bytes, sizes: Sequence[int], stem: str = "disk", letter: str = "v", first: str = "vhd"
) -> str:
    """Cut an image into pieces of these sizes; what remains is the last piece."""
    position = 0
    for number, size in enumerate([*sizes, len(whole)]):
        name = f"{stem}.{letter}{number:02d}" if number else f"{stem}.{first}"
        (folder / name).write_bytes(whole[position : position + size])
        position += size
    return str(folder / f"{stem}.{first}")


@pytest.mark.parametrize("sizes", [[4096], [600, 1024, 700, 300], [20000, 16896, 16896], [1, 1, 1]])
@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_a_split_image_reads_as_a_whole(tmp_path: Path, sizes: List[int], kind: str) -> None:
    source = tmp_path / "whole.vhd"
    if kind == "fixed":
        build_fixed(source, images.fill(1, 64 * KIB))
    else:
        build(source, blocks={index: block_of(index) for index in range(6)})
    whole = open_alone(str(source))
    path = split(tmp_path, source.read_bytes(), sizes)
    port = CountingPort()
    image = open_vhd(port, path, beside(port, tmp_path))
    assert image.files == tuple(
        os.path.realpath(tmp_path / name)
        for name in ["disk.vhd", *(f"disk.v{n:02d}" for n in range(1, len(sizes) + 1))]
    )
    assert read(image) == read(whole)
    assert list(image.extents(0, image.size)) == list(whole.extents(0, whole.size))
    for offset in range(0, image.size - 3000, 2999):
        assert read(image, offset, 3000) == read(whole, offset, 3000)
    assert (image.path, image.identity, image.warnings) == (path, whole.identity, ())
    places = checked_places(image, 0, image.size)
    assert {place.file.path for place in places} <= {str(tmp_path / name) for name in os.listdir(tmp_path)} - {
        str(source)
    }
    assert len(checked_places(image, 1000, image.size - 3000)) > (sizes[-1] > 1)
    image.close()
    whole.close()
    port.assert_all_closed()


def test_pieces_in_capitals_are_found(tmp_path: Path) -> None:
    build_fixed(tmp_path / "whole.vhd", images.fill(1, 64 * KIB))
    path = split(tmp_path, (tmp_path / "whole.vhd").read_bytes(), [1000], stem="MY.DISK", letter="V", first="VHD")
    image = open_vhd(OsPort(), path, beside(OsPort(), tmp_path))
    assert read(image) == images.fill(1, 64 * KIB)
    image.close()


def test_a_missing_piece_is_named(tmp_path: Path) -> None:
    build_fixed(tmp_path / "whole.vhd", images.fill(1, 64 * KIB))
    path = split(tmp_path, (tmp_path / "whole.vhd").read_bytes(), [10000, 10000, 10000])
    (tmp_path / "disk.v02").unlink()
    assert "disk.v02" in str(refused(path).hint)


def test_at_most_64_pieces_are_joined(tmp_path: Path) -> None:
    build_fixed(tmp_path / "whole.vhd", images.fill(1, 70 * KIB))
    whole = (tmp_path / "whole.vhd").read_bytes()
    path = split(tmp_path, whole, [KIB] * 64)
    refused(path)
    path = split(tmp_path, whole, [KIB] * 63, stem="other")
    image = open_vhd(OsPort(), path, beside(OsPort(), tmp_path))
    assert len(image.files) == 64 and read(image) == images.fill(1, 70 * KIB)
    image.close()


def test_a_whole_image_does_not_look_for_pieces(tmp_path: Path) -> None:
    def unexpected(name: str) -> File:
        raise AssertionError(name)

    path = build_fixed(tmp_path / "disk.vhd", images.fill(1, 4096))
    open_vhd(OsPort(), path, unexpected).close()

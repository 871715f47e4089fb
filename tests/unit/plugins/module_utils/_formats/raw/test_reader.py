# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, Damaged, NotFound
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import MIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.reader import RawImage, open_raw
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images
from ansible_collections.vdisk.parallels.tests.support.places import checked_places

PORT = OsPort()


def sparse_file(folder: Path, size: int = 4 * MIB) -> str:
    """A file with 64 KiB of bytes at 1 MiB and holes around them."""
    path = folder / "disk.raw"
    with open(path, "wb") as stream:
        stream.truncate(size)
        stream.seek(MIB)
        stream.write(images.fill(1, 65536))
    return str(path)


def read(image: RawImage, offset: int, length: int) -> bytes:
    buffer = bytearray(b"\xaa" * length)
    image.pread_into(offset, buffer)
    return bytes(buffer)


def test_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    path = sparse_file(tmp_path)
    image = open_raw(PORT, path)
    assert (image.path, image.size) == (path, 4 * MIB)
    assert read(image, 0, image.size) == Path(path).read_bytes()
    assert read(image, MIB + 7, 100) == images.fill(1, 65536)[7:107]
    image.close()


def test_holes_are_zero_and_nothing_is_absent(tmp_path: Path) -> None:
    path = sparse_file(tmp_path)
    image = open_raw(PORT, path)
    with open(path, "rb") as stream:
        if os.lseek(stream.fileno(), 0, os.SEEK_HOLE):
            pytest.skip("the file system of the tests does not show holes")
    expected = [Extent(0, MIB, ZERO), Extent(MIB, 65536, DATA), Extent(MIB + 65536, 3 * MIB - 65536, ZERO)]
    assert list(image.extents(0, image.size)) == expected
    assert list(image.extents(MIB + 10, 20)) == [Extent(MIB + 10, 20, DATA)]
    assert list(image.extents(10, 20)) == [Extent(10, 20, ZERO)]
    assert list(image.extents(MIB, 0)) == []
    assert checked_places(image, 0, image.size) == [(MIB, 65536, image.file, MIB)]
    image.close()


def test_a_size_below_that_of_the_file_hides_the_rest(tmp_path: Path) -> None:
    image = open_raw(PORT, sparse_file(tmp_path), size=MIB + 512)
    assert image.size == MIB + 512
    assert sum(extent.length for extent in image.extents(0, image.size)) == MIB + 512
    assert list(image.places(0, image.size)) == [(MIB, 512, image.file, MIB)]
    with pytest.raises(BadRequest):
        read(image, MIB, 513)
    image.close()


def test_a_file_shorter_than_its_disk_is_damaged(tmp_path: Path) -> None:
    path = sparse_file(tmp_path)
    with pytest.raises(Damaged) as caught:
        open_raw(PORT, path, size=4 * MIB + 1)
    assert (caught.value.path, caught.value.offset) == (path, 4 * MIB)


def test_a_file_that_shrinks_after_opening_is_damaged(tmp_path: Path) -> None:
    path = sparse_file(tmp_path)
    image = open_raw(PORT, path)
    os.truncate(path, 2 * MIB)
    with pytest.raises(Damaged) as caught:
        read(image, 2 * MIB - 5, 10)
    assert caught.value.offset == 2 * MIB
    image.close()


@pytest.mark.parametrize("start, length", [(4 * MIB, 1), (0, 4 * MIB + 1), (-1, 1), (0, -1)])
def test_a_range_outside_the_disk_is_a_bad_request(tmp_path: Path, start: int, length: int) -> None:
    image = open_raw(PORT, sparse_file(tmp_path))
    with pytest.raises(BadRequest):
        image.extents(start, length)
    with pytest.raises(BadRequest):
        image.places(start, length)
    image.close()


def test_an_empty_file_is_an_empty_disk(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").touch()
    image = open_raw(PORT, str(tmp_path / "disk.raw"))
    assert (image.size, list(image.extents(0, 0))) == (0, [])
    image.close()


def test_a_missing_file_is_reported_as_such(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_raw(PORT, str(tmp_path / "missing"))

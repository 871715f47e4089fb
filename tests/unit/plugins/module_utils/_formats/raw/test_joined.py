# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plain image that was cut by size."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, Damaged, NotFound
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.joined import open_joined
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.places import checked_places

NAMES = ("/vm/a.000", "/vm/a.001", "/vm/a.002")


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    for number, name in enumerate(NAMES):
        port.plant_file(name, fill(number, 8192 if number < 2 else 700))
    return port


def test_the_pieces_are_one_disk(port: MemoryPort) -> None:
    whole = b"".join(port.content(name) for name in NAMES)
    image = open_joined(port, NAMES)
    assert (image.size, image.path) == (len(whole), NAMES[0])
    for start, length in ((0, len(whole)), (8000, 400), (8192, 8192), (16383, 2), (17000, 0)):
        part = bytearray(length)
        image.pread_into(start, part)
        assert part == whole[start : start + length]
        assert sum(extent.length for extent in image.extents(start, length)) == length
        checked_places(image, start, length)
    with pytest.raises(BadRequest):
        image.pread_into(len(whole) - 1, bytearray(2))
    image.close()
    assert not any(port.opened.values())


def test_a_piece_that_becomes_shorter_is_damaged(port: MemoryPort) -> None:
    image = open_joined(port, NAMES)
    port.open_write(NAMES[1]).truncate(5)
    with pytest.raises(Damaged):
        image.pread_into(0, bytearray(image.size))


def test_all_are_closed_when_one_is_missing(port: MemoryPort) -> None:
    with pytest.raises(NotFound):
        open_joined(port, (*NAMES, "/vm/a.003"))
    assert not any(port.opened.values())

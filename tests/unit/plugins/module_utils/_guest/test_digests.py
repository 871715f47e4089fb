# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.digests import ContentDigest, LayerDigest
from ansible_collections.vdisk.parallels.plugins.module_utils._io.copy import SLICE
from ansible_collections.vdisk.parallels.tests.support.images import fill

MIB = 1 << 20


def layer(*parts: Tuple[int, bytes], size: int = 1 << 20) -> str:
    """The digest of a layer of these parts; those that are all zero are zeros that hide something."""
    digest = LayerDigest()
    for offset, content in parts:
        if any(content):
            digest.add(offset, memoryview(content))
        else:
            digest.add_zeros(offset, len(content))
    return digest.value(size)


def test_a_layer_has_one_digest_however_it_is_cut() -> None:
    data = fill(1, 3000)
    whole = layer((100, data), (3100, bytes(500)), (9000, data))
    assert whole == layer((100, data[:7]), (107, data[7:]), (3100, bytes(1)), (3101, bytes(499)), (9000, data))


@pytest.mark.parametrize("start", [0, SLICE - 100, SLICE, 5 * SLICE + 4096])
def test_nor_does_it_matter_where_pieces_meet_the_grid(start: int) -> None:
    data = fill(2, 3 * SLICE + 777)
    whole = layer((start, data), size=16 * SLICE)
    for step in (4096, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE):
        cut = [(start + at, data[at : at + step]) for at in range(0, len(data), step)]
        assert layer(*cut, size=16 * SLICE) == whole


@pytest.mark.parametrize("length", [1, SLICE - 1, SLICE, SLICE + 1, 4 * SLICE])
def test_each_byte_of_a_layer_counts(length: int) -> None:
    data = bytearray(fill(3, length))
    found = {layer((4096, bytes(data)), size=16 * SLICE)}
    places = sorted({0, length // 2, length - 1})
    for place in places:
        data[place] ^= 1
        found.add(layer((4096, bytes(data)), size=16 * SLICE))
        data[place] ^= 1
    assert len(found) == 1 + len(places)


def test_two_slices_that_change_places_are_another_disk() -> None:
    one, other = fill(1, SLICE), fill(2, SLICE)
    assert layer((0, one + other)) != layer((0, other + one))


@pytest.mark.parametrize(
    "parts, size",
    [
        ([(101, b"abc"), (3100, bytes(500))], MIB),
        ([(100, b"abd"), (3100, bytes(500))], MIB),
        ([(100, b"abc"), (3100, bytes(501))], MIB),
        ([(100, b"abc")], MIB),
        ([(100, b"abc"), (3100, bytes(500))], MIB + 512),
    ],
    ids=["place", "content", "zeros", "no-zeros", "size"],
)
def test_another_layer_has_another_digest(parts: List[Tuple[int, bytes]], size: int) -> None:
    assert layer(*parts, size=size) != layer((100, b"abc"), (3100, bytes(500)))


def test_content_has_one_digest_for_the_same_slices_alone() -> None:
    def value(*slices: Tuple[int, bytes], size: int = MIB) -> str:
        digest = ContentDigest()
        for offset, content in slices:
            digest.add(offset, memoryview(content))
        return digest.value(size)

    same = value((0, b"a" * 4096))
    assert same == value((0, b"a" * 4096))
    assert len({same, value((4096, b"a" * 4096)), value((0, b"b" * 4096)), value((0, b"a" * 4096), size=2 * MIB)}) == 4

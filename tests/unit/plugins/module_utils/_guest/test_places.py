# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import Place
from ansible_collections.vdisk.parallels.plugins.module_utils._guest import places as module
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.places import SharedRanges, common, whole_blocks
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort


def test_what_is_shared_is_known_to_the_byte() -> None:
    port = MemoryPort()
    for name in ("/source", "/other", "/target"):
        port.plant_file(name, bytes(4096))
    source, other, target = port.open_read("/source"), port.open_read("/other"), port.open_write("/target")
    shared_ranges = SharedRanges()
    shared_ranges.add(source, 40960, target, 8192, 8192)
    shared_ranges.add(source, 49152, target, 16384, 4096)
    shared_ranges.add(source, 4096, target, 20480, 4096)
    assert shared_ranges.held(source, 40960, target, 8192, 12288) == 12288
    assert shared_ranges.held(source, 41000, target, 8232, 8000) == 8000
    assert shared_ranges.held(source, 4096, target, 20480, 4096) == 4096
    assert shared_ranges.held(source, 40960, target, 8192, 12289) == 12288
    assert shared_ranges.held(source, 4096, target, 20480, 4097) == 4096
    assert shared_ranges.held(source, 40959, target, 8191, 10) == 0
    assert shared_ranges.held(source, 40961, target, 8192, 10) == 0
    assert shared_ranges.held(other, 40960, target, 8192, 4096) == 0
    assert shared_ranges.held(source, 40960, other, 8192, 4096) == 0
    assert shared_ranges.resolved(lambda path: "/other").held(source, 40960, other, 8192, 12289) == 12288


def test_what_two_disks_have_in_common() -> None:
    chance = random.Random(5)
    for _round in range(300):
        maps = []
        for name in ("one", "other"):
            places, position = [], 0
            while position < 60:
                length = chance.randrange(1, 9)
                if chance.random() < 0.7:
                    places.append(Place(position, length, name, chance.randrange(1000)))  # type: ignore[arg-type]
                position += length
            maps.append(places)
        known = [
            {guest + step: offset + step for guest, length, _name, offset in places for step in range(length)}
            for places in maps
        ]
        found = {}
        for guest, length, one, offset, other, place in common(maps[0], maps[1]):
            assert (one, other) == ("one", "other")
            assert length > 0
            found.update({guest + step: (offset + step, place + step) for step in range(length)})
        assert found == {guest: (known[0][guest], known[1][guest]) for guest in known[0] if guest in known[1]}


@pytest.mark.parametrize(
    "place, expected",
    [
        ((0, 3, 5), [(0, 3, 5)]),
        ((1, 7, 5), [(1, 4, 5), (5, 3, 9)]),
        ((0, 4.5, 5), [(0, 4, 5)]),
        ((0, 0.5, 5), []),
        ((0.5, 3, 5), []),
        ((0, 3, 5.25), []),
    ],
)
def test_whole_blocks_are_what_a_host_shares(
    monkeypatch: pytest.MonkeyPatch, place: Tuple[float, float, float], expected: List[Tuple[int, int, int]]
) -> None:
    monkeypatch.setattr(module, "LONGEST", 4 * 4096)
    file = MemoryPort().create("/d")
    start, length, offset = (int(number * 4096) for number in place)
    found = list(whole_blocks([Place(start, length, file, offset)]))
    assert found == [(start * 4096, length * 4096, file, offset * 4096) for start, length, offset in expected]

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.read_ahead import read_ahead

MIB = 1 << 20
SLICE = 256 << 10


class File:
    def __init__(self, path, log):
        self.path = path
        self._log = log

    def will_need(self, offset, length):
        self._log.append((self.path, offset, length))


class View:
    """Guest clusters of 1 MiB that lie in the order of ``places``."""

    def __init__(self, places):
        self.log = []
        self._places = places
        self._file = File("/a", self.log)

    def places(self, start, length):
        position = start
        while position < start + length:
            cluster = position // MIB
            stop = min((cluster + 1) * MIB, start + length)
            if self._places[cluster] is not None:
                yield position, stop - position, self._file, self._places[cluster] * MIB + position % MIB
            position = stop


def slices_of(clusters):
    return [(cluster * MIB + part, SLICE) for cluster in clusters for part in range(0, MIB, SLICE)]


@pytest.mark.parametrize("seed", range(10))
def test_all_slices_come_in_order_and_all_that_is_read_was_announced_once(seed):
    chance = random.Random(seed)
    places = list(range(80))
    chance.shuffle(places)
    view = View([None if chance.random() < 0.2 else place for place in places])
    slices = slices_of(sorted(chance.sample(range(80), chance.randrange(1, 80))))
    assert list(read_ahead(view, iter(slices))) == slices
    told = [(offset, offset + length) for _path, offset, length in view.log]
    needed = {
        at
        for start, length in slices
        for _g, count, _f, offset in view.places(start, length)
        for at in range(offset, offset + count, SLICE)
    }
    assert sorted(at for start, end in told for at in range(start, end, SLICE)) == sorted(needed)


def test_the_host_hears_of_a_batch_before_the_one_before_it_is_read():
    view = View(list(range(64)))
    reader = read_ahead(view, slices_of(range(64)))
    next(reader)
    assert view.log == [("/a", 0, 16 * MIB), ("/a", 16 * MIB, 16 * MIB)]
    for _number in range(64):
        next(reader)
    assert view.log[-1] == ("/a", 32 * MIB, 16 * MIB)


def test_places_are_announced_in_their_own_order_and_joined():
    view = View([3, 2, 1, 0, None, 9])
    assert len(list(read_ahead(view, slices_of(range(6))))) == 24
    assert view.log == [("/a", 0, 4 * MIB), ("/a", 9 * MIB, MIB)]


def test_what_has_no_place_gets_no_help():
    view = View([None, None])
    assert list(read_ahead(view, iter([(0, 1), (5, 2)]))) == [(0, 1), (5, 2)]
    assert view.log == []
    assert not list(read_ahead(View([]), iter(())))

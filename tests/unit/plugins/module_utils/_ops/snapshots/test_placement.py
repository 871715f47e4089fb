# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One group of layers in one storage: who wins each cluster, what it costs, and where it goes."""

from __future__ import annotations

from typing import Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._change.slots import Slots
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import new_header
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.placement import (
    CLEAR,
    Candidate,
    Group,
    grown_header,
    may_receive,
    place_in_expanding,
    visible_extents,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer
from ansible_collections.vdisk.parallels.tests.support.groups import CLUSTER, COUNT, SECTORS, group_of
from ansible_collections.vdisk.parallels.tests.support.images import fill


def candidate(group: Group, index: int) -> Candidate:
    return Candidate(group, visible_extents(group), index)


def shown(group: Group) -> List[Tuple[int, int, str, int]]:
    """Extents in clusters; the layer of what is absent does not matter."""
    return [
        (e.start // CLUSTER, e.length // CLUSTER, e.kind, -1 if e.kind == ABSENT else e.layer)
        for e in visible_extents(group)
    ]


def filled(*indexes: int) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER) for index in indexes}


def test_the_topmost_holder_of_a_cluster_wins_it() -> None:
    with group_of(filled(0, 1, 2, 3), filled(1, 2), filled(2, 5)) as group:
        assert shown(group) == [
            (0, 1, DATA, 2),
            (1, 1, DATA, 1),
            (2, 1, DATA, 0),
            (3, 1, DATA, 2),
            (4, 1, ABSENT, -1),
            (5, 1, DATA, 0),
        ]


def test_zeros_must_be_kept_only_where_they_hide_something() -> None:
    with group_of(filled(0, 2), {0: b"", 1: b""}, {2: b"", 3: b""}, below=1) as group:
        assert shown(group) == [
            (0, 1, ZERO, 1),
            (1, 1, CLEAR, 1),
            (2, 1, ZERO, 0),
            (3, 1, CLEAR, 0),
            (4, 2, ABSENT, -1),
        ]
    with group_of(filled(0, 2), {0: b"", 1: b""}) as group:
        assert shown(group) == [(0, 2, CLEAR, 0), (2, 1, DATA, 1), (3, 3, ABSENT, -1)]


def test_what_a_receiver_holds_already_costs_nothing() -> None:
    with group_of(filled(0, 1, 2, 3), filled(1, 2), filled(2, 5)) as group:
        assert [candidate(group, receiver).cost // CLUSTER for receiver in (0, 1, 2)] == [3, 4, 3]


def test_zeros_over_data_cost_what_must_be_cleared() -> None:
    with group_of(filled(0, 1), {0: b"", 4: b""}) as group:
        assert [candidate(group, receiver).cost // CLUSTER for receiver in (0, 1)] == [1, 1]
        placed = place_in_expanding(candidate(group, 1), Slots((), 1 << 20), 1)
        assert [move.length for move in placed.overwrites] == [CLUSTER]


@given(
    held=st.lists(st.lists(st.integers(0, COUNT - 1), unique=True), min_size=2, max_size=4),
    receiver=st.integers(0, 3),
    reusable=st.lists(st.integers(1, 3), max_size=3),
)
def test_places_are_disjoint_and_reusable_ones_are_taken_first(
    held: List[List[int]], receiver: int, reusable: List[int]
) -> None:
    with group_of(*[filled(*indexes) for indexes in held]) as group:
        receiver %= len(held)
        slots, position = [], 100 * CLUSTER
        for count in reusable:
            slots.append((position, position + count * CLUSTER))
            position += (count + 2) * CLUSTER
        placed = place_in_expanding(candidate(group, receiver), Slots(tuple(slots), position), 2)
        own = set(held[len(held) - 1 - receiver])
        needed = sorted({index for indexes in held for index in indexes} - own)
        assert [cluster for cluster, _offset in placed.entries] == needed
        free = [start + number * CLUSTER for start, end in slots for number in range((end - start) // CLUSTER)]
        expected = (free + [position + number * CLUSTER for number in range(COUNT)])[: len(needed)]
        assert [offset for _cluster, offset in placed.entries] == expected
        assert placed.size_after == position + max(0, len(needed) - len(free)) * CLUSTER
        lost = [index for index in own if any(index in indexes for indexes in held[len(held) - receiver :])]
        assert sum(move.length for move in placed.overwrites) == len(lost) * CLUSTER
        assert placed.filled == 0


def test_a_file_of_version_one_does_not_grow_beyond_its_entries() -> None:
    with group_of({}, filled(0)) as group:
        room = Slots((), (1 << 32) * 512)
        with pytest.raises(Unsupported):
            place_in_expanding(candidate(group, 1), room, 1)
        assert place_in_expanding(candidate(group, 1), room, 2).entries


def test_images_outside_and_those_that_cannot_grow_receive_nothing() -> None:
    from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace

    short = Layer(disks.TOP, clusters=filled(0), size_sectors=2 * SECTORS)
    with group_of(layers=[short]) as group:
        image = group.images[0]
        longer = replace(image, size=COUNT * CLUSTER)
        assert may_receive(image, image)
        assert may_receive(image, longer)
        assert not may_receive(replace(image, outside=True), image)
        assert may_receive(replace(image, kind="plain", header=None), longer)


@pytest.mark.parametrize(
    "sectors, more, grows",
    [(2 * SECTORS, SECTORS, True), (2 * SECTORS, 1, True), (2 * SECTORS + 1, SECTORS, False), (2 * SECTORS, 0, False)],
)
def test_a_header_grows_from_a_whole_cluster_on(sectors: int, more: int, grows: bool) -> None:
    header = new_header(size_bytes=sectors * 512, cluster_bytes=CLUSTER, version=1)
    grown = grown_header(header, (sectors + more) * 512)
    assert (grown is not None) == grows
    if grown is not None:
        assert (grown.size_sectors, grown.bat_entries, grown.data_off) == (sectors + more, 3, header.data_off)


def test_a_header_does_not_grow_into_the_data_area() -> None:
    room = (CLUSTER - 64) // 4
    header = new_header(size_bytes=CLUSTER, cluster_bytes=CLUSTER, version=1)
    grown = grown_header(header, room * CLUSTER)
    assert grown is not None and grown.table_end == header.data_start
    assert grown_header(header, (room + 1) * CLUSTER) is None

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, DiskError, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.arrangement import ALIGNMENT, Part, arrange, choose

MIB = 1 << 20
DATA, WINRE, ESP = (
    "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7",
    "de94bba4-06d1-4d40-a16a-bfd50179d6ac",
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
)
LDM, CORE = "af9b60a0-1431-4f62-bc68-3311714a69ad", "53746f72-6167-11aa-aa11-00306543ecac"


def part(number: int, start: int, end: int, kind: str = DATA, name: Optional[str] = None, **other: object) -> Part:
    """A partition; places in MiB."""
    return Part(number, kind, f"{number:08x}", name, start * MIB, end * MIB, start * MIB, **other)  # type: ignore[arg-type]


WINDOWS = [part(1, 1, 5, ESP), part(2, 5, 80, name="data"), part(3, 80, 90, WINRE)]


def test_the_last_that_holds_data_is_chosen_unless_another_is_named() -> None:
    assert choose(WINDOWS, None).number == 2
    for wanted in ("2", "data", "00000002", "{00000002}"):
        assert choose(WINDOWS, wanted).number == 2
    assert choose(WINDOWS, "3").number == 3


@pytest.mark.parametrize(
    ("parts", "wanted", "error"),
    [
        (WINDOWS, "4", BadRequest),
        (WINDOWS, "", BadRequest),
        ([part(1, 1, 2, name="a"), part(2, 2, 3, name="a")], "a", BadRequest),
        ([part(1, 1, 2, WINRE)], None, BadRequest),
        ([], None, BadRequest),
        ([part(1, 1, 2), part(2, 2, 3, ESP)], None, Unsupported),
        ([part(1, 1, 2, LDM)], None, Unsupported),
        ([part(1, 1, 2, CORE), part(2, 2, 3)], "2", Unsupported),
        ([part(1, 1, 2, "0x42")], "1", Unsupported),
    ],
)
def test_what_cannot_grow_is_refused_with_a_way_out(parts: List[Part], wanted: Optional[str], error: type) -> None:
    with pytest.raises(error) as caught:
        choose(parts, wanted)
    assert caught.value.hint


def test_a_recovery_partition_goes_to_the_end_and_makes_room() -> None:
    found = arrange(WINDOWS, WINDOWS[1], 128 * MIB - 17 * 1024, size=128 * MIB)
    assert found.end == 117 * MIB and found.moved == ((WINDOWS[2], 117 * MIB),)


def test_without_room_nothing_moves() -> None:
    found = arrange(WINDOWS, WINDOWS[1], 90 * MIB + 1000, size=91 * MIB)
    assert found == (80 * MIB, ())


def test_a_partition_with_others_in_it_moves_when_they_all_may() -> None:
    for inner, moves in ((("0x82",), True), (("0x82", "0x83"), False), ((), False)):
        parts = [part(1, 1, 40, "0x83"), part(2, 40, 50, "0x05", inner=inner)]
        if moves:
            assert arrange(parts, parts[0], 100 * MIB, size=100 * MIB).end == 90 * MIB
        else:
            with pytest.raises(Unsupported):
                arrange(parts, parts[0], 100 * MIB, size=100 * MIB)


def test_an_active_partition_is_never_moved() -> None:
    parts = [part(1, 1, 40, "0x83"), part(2, 40, 50, "0x27", active=True)]
    with pytest.raises(Unsupported):
        arrange(parts, parts[0], 100 * MIB, size=100 * MIB)


def test_a_move_by_less_than_its_length_is_refused_with_the_size_that_does() -> None:
    parts = [part(1, 1, 100), part(2, 100, 140, WINRE)]
    with pytest.raises(BadRequest) as caught:
        arrange(parts, parts[0], 160 * MIB, size=161 * MIB)
    least = int(str(caught.value.expected).split()[2])
    found = arrange(parts, parts[0], least - MIB, size=least)
    assert found.moved and "partition 2" in str(caught.value)
    # For a few MiB it is not worth a refusal.
    assert arrange(parts, parts[0], 150 * MIB, size=151 * MIB) == (100 * MIB, ())


@given(st.data())
def test_nothing_overlaps_old_or_new_and_a_second_look_finds_nothing(data: st.DataObject) -> None:
    step = MIB // 4
    parts, at = [], data.draw(st.integers(1, 8))
    for number in range(1, data.draw(st.integers(1, 5)) + 1):
        start = at + data.draw(st.integers(0, 6))
        at = start + data.draw(st.integers(1, 40))
        parts.append(
            Part(number, data.draw(st.sampled_from([DATA, WINRE])), None, None, start * step, at * step, start * step)
        )
    limit = (at + data.draw(st.integers(0, 300))) * step
    target = data.draw(st.sampled_from(parts))
    try:
        found = arrange(parts, target, limit, size=limit + step)
    except DiskError as error:
        assert error.hint
        return
    places = {one.number: (one.start, one.end) for one in parts}
    now = {**places, target.number: (target.start, found.end)}
    now.update({one.number: (place, place + one.end - one.start) for one, place in found.moved})
    ordered = sorted(now.values())
    assert all(one[1] <= other[0] for one, other in zip(ordered, ordered[1:])) and ordered[-1][1] <= max(
        limit, at * step
    )
    assert found.end >= target.end and (found.end == target.end or found.end % ALIGNMENT == 0)
    for one, place in found.moved:
        assert place % ALIGNMENT == 0
        assert all(
            place + one.end - one.start <= start or place >= end
            for start, end in places.values()
            if start >= target.end
        )
    after = [moved_part(one, now) for one in parts]
    again = arrange(after, next(one for one in after if one.number == target.number), limit, size=limit + step)
    assert again == (now[target.number][1], ())


def moved_part(one: Part, now: dict) -> Part:
    start, end = now[one.number]
    return Part(one.number, one.kind, one.guid, one.name, start, end, start)

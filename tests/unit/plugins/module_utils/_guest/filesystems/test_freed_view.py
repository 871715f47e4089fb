# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Iterator, List, Sequence

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent, coalesce
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.freed_view import (
    FreedView,
    common_ranges,
    dropped_ranges,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.runs import Runs
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import ComposedView, LayerStack

SIZE, LAYERS = 24, 4


class Plain:
    """A layer in memory, by byte: a number is data, 0 a stored zero, None is left to those below."""

    def __init__(self, content: Sequence) -> None:
        self.content = list(content)
        self.size = len(self.content)

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        kinds = {True: ABSENT, False: DATA}
        yield from coalesce(
            Extent(n, 1, ZERO if self.content[n] == 0 else kinds[self.content[n] is None])
            for n in range(start, start + length)
        )

    def pread_into(self, offset: int, buffer) -> None:
        buffer[:] = bytes(value or 0 for value in self.content[offset : offset + len(buffer)])

    def places(self, start: int, length: int):
        return iter(())

    def close(self) -> None:
        pass


def view_of(layers: List[Plain]) -> ComposedView:
    return ComposedView(SIZE, [(0, LayerStack(layers, [SIZE] * len(layers), SIZE))])  # type: ignore[type-var]


def content(view, size: int = SIZE) -> List[int]:
    buffer = bytearray(size)
    view.pread_into(0, buffer)
    return list(buffer)


def runs_of(numbers) -> Runs:
    return Runs((number, number + 1) for number in sorted(numbers))


BYTES = st.one_of(st.none(), st.integers(0, 5))
CHAINS = st.lists(st.lists(BYTES, min_size=SIZE, max_size=SIZE), min_size=1, max_size=LAYERS)
FREE = st.lists(st.sets(st.integers(0, SIZE - 1)), min_size=LAYERS, max_size=LAYERS)


@given(CHAINS, FREE, st.integers(1, 5))
def test_no_view_of_the_copied_chain_loses_a_byte_that_is_not_free_in_it(chain, free, grain: int) -> None:
    """The chain is copied as conversion does it: every grain that a layer touches, as its freed view shows it."""
    view, depth = view_of([Plain(layer) for layer in chain]), len(chain)
    freed = FreedView(view, dropped_ranges(view, [runs_of(one) for one in free[:depth]]))
    copied: List[Plain] = []
    for number in range(depth - 1, -1, -1):
        shown = content(freed.below(number))
        if number == depth - 1:
            layer = [shown[n] for n in range(SIZE)]
        else:
            own = [e for e in freed.own_extents(number) if e.kind != ABSENT]
            touched = {n // grain for e in own for n in range(e.start, e.end)}
            layer = [shown[n] if n // grain in touched else None for n in range(SIZE)]
        copied.insert(0, Plain(layer))
        before, after = content(view.below(number)), content(view_of(copied))
        assert all(after[n] == before[n] for n in range(SIZE) if n not in free[number])
    for number in range(depth):
        before, after = content(view.below(number)), content(view_of(copied[number:]))
        assert all(after[n] == before[n] for n in range(SIZE) if n not in free[number])


@given(CHAINS, st.sets(st.integers(0, SIZE - 1)), st.integers(0, SIZE), st.integers(0, SIZE))
def test_free_bytes_read_as_zeros(chain, free, start: int, end: int) -> None:
    view = view_of([Plain(layer) for layer in chain])
    freed = FreedView(view, [runs_of(free)] * len(chain))
    expected = [0 if n in free else value for n, value in enumerate(content(view))]
    assert content(freed) == expected
    start, end = min(start, end), max(start, end)
    extents = list(freed.extents(start, end - start))
    assert [n for e in extents for n in range(e.start, e.end)] == list(range(start, end))
    assert all(expected[n] == 0 for e in extents if e.kind == ZERO for n in range(e.start, e.end))
    assert not [n for e in extents if e.kind == DATA for n in range(e.start, e.end) if n in free]
    assert content(freed.grown(SIZE + 8), SIZE + 8) == expected + [0] * 8


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_common_ranges(one, other) -> None:
    found = list(common_ranges(runs_of(one), runs_of(other)))
    assert [n for start, end in found for n in range(start, end)] == sorted(one & other)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stored zeros on whole blocks: all of them, nothing else, and none twice."""

from __future__ import annotations

from typing import List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.stored_zeros import (
    ZeroScan,
    data_within,
    grain_of,
    joined,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PAGE = 4096


def planted(content: bytes) -> MemoryPort:
    port = MemoryPort()
    port.plant_file("/f", content)
    return port


def zeros(
    port: MemoryPort, parts: List[Tuple[int, int]], *, block: int = PAGE, smallest: int = 1
) -> List[Tuple[int, int]]:
    file = port.open_read("/f")
    try:
        return ZeroScan(file, block).ranges(parts, smallest)
    finally:
        file.close()


def test_short_runs_are_left() -> None:
    port = planted(b"x" * PAGE + bytes(3 * PAGE) + b"x" * PAGE + bytes(2 * PAGE))
    assert zeros(port, [(0, 7 * PAGE)], smallest=3 * PAGE) == [(PAGE, 4 * PAGE)]


def test_a_run_goes_on_over_slices_and_parts() -> None:
    port = planted(bytes(600 << 10) + b"x")
    assert zeros(port, [(0, 300 << 10), (300 << 10, 700 << 10)], smallest=500 << 10) == [(0, 600 << 10)]


@pytest.mark.parametrize("block", [PAGE, 4 * PAGE, 1 << 20, 1 << 25])
def test_only_whole_blocks_count(block: int) -> None:
    grain = min(block, 1 << 20)
    port = planted(b"x" + bytes(2 * grain + 5) + b"x" + bytes(grain + 77))
    assert zeros(port, [(0, 1 << 30)], block=block) == [(grain, 2 * grain)]
    assert grain_of(block) == grain


def test_the_end_of_a_file_within_a_block_is_left() -> None:
    assert zeros(planted(bytes(PAGE + 100)), [(0, 1 << 20)]) == [(0, PAGE)]


def test_neighbours_become_one() -> None:
    assert list(joined([(0, 5), (5, 7), (9, 10), (10, 12)])) == [(0, 7), (9, 12)]
    assert list(joined([])) == []


@given(
    kinds=st.lists(st.sampled_from("x0_ab"), min_size=1, max_size=24),
    cuts=st.lists(st.integers(0, 24 * PAGE), max_size=4, unique=True),
    smallest=st.integers(1, 4),
)
def test_what_is_found_is_stored_zero_and_gone_once_it_is_punched(
    kinds: List[str], cuts: List[int], smallest: int
) -> None:
    pages = {"x": b"x" * PAGE, "a": b"a" + bytes(PAGE - 1), "b": bytes(PAGE - 1) + b"b"}
    port = planted(b"".join(pages.get(kind, bytes(PAGE)) for kind in kinds))
    content = port.content("/f")
    file = port.open_write("/f")
    for index, kind in enumerate(kinds):
        if kind == "_":
            file.punch_hole(index * PAGE, PAGE)
    edges = sorted(cuts)
    parts = list(zip(edges[::2], edges[1::2]))
    found = zeros(port, parts, smallest=smallest * PAGE)
    wanted = set()
    for low, high in parts:
        wanted.update(i for i, kind in enumerate(kinds) if kind == "0" and low <= i * PAGE and (i + 1) * PAGE <= high)
    runs = [run for run in _runs(sorted(wanted)) if run[1] - run[0] >= smallest]
    assert found == [(low * PAGE, high * PAGE) for low, high in runs]
    before = port.stat("/f")
    for start, end in found:
        assert file.punch_hole(start, end - start)
    after = port.stat("/f")
    assert before is not None and after is not None
    assert before.allocated - after.allocated == sum(end - start for start, end in found)
    assert port.content("/f") == content
    assert zeros(port, parts, smallest=smallest * PAGE) == []
    assert list(data_within(file, found, PAGE)) == []
    file.close()


def _runs(indexes: List[int]) -> List[Tuple[int, int]]:
    found: List[Tuple[int, int]] = []
    for index in indexes:
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.guest_write import GuestWriter
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
STEP = disks.SMALL_CLUSTER


def with_layers(port: MemoryPort, **options: object) -> MemoryPort:
    """Two layers; the lower one has clusters 1 and 2, the current one has cluster 2."""
    disks.new_disk(port, PATH, size=8 * STEP, **options)
    disks.write(port, PATH, STEP, fill(1, 2 * STEP))
    disks.take(port, PATH, guid_of(1))
    disks.write(port, PATH, 2 * STEP + 100, b"upper")
    return port


def written(port: MemoryPort, *pieces: tuple) -> GuestWriter:
    state = disks.state_of(port, PATH)
    writer = GuestWriter(port, state, state)
    for offset, content in pieces[:-1]:
        writer.write(offset, content)
    writer.commit(*pieces[-1])
    before, last, after = writer.steps_around_commit()
    disks.apply(port, Plan("test", (*before, last, *after)))
    return writer


@given(
    st.lists(st.tuples(st.integers(0, 8 * STEP - 1), st.integers(1, 3 * STEP)), min_size=1, max_size=4),
    st.sampled_from([{}, {"part_size": 3 * STEP}, {"version": 2}]),
)
def test_the_guest_reads_what_was_written_and_all_else_as_before(pieces: list, options: dict) -> None:
    port = MemoryPort()
    port.plant_directory("/vm")
    with_layers(port, **options)
    model, below = bytearray(disks.read_naively(port, PATH)), disks.read_naively(port, PATH, guid_of(1))
    contents = [
        (offset, fill(number, min(length, 8 * STEP - offset), 9)) for number, (offset, length) in enumerate(pieces)
    ]
    for offset, content in contents:
        model[offset : offset + len(content)] = content
    written(port, *contents)
    assert disks.read_naively(port, PATH) == model
    assert disks.read_naively(port, PATH, guid_of(1)) == below


def test_a_cluster_that_is_there_is_written_in_its_place(port: MemoryPort) -> None:
    with_layers(port)
    writer = written(port, (2 * STEP + 200, b"more"))
    assert (writer.growth, writer.bytes_read, writer.bytes_written) == (0, 0, 0)


def test_a_cluster_that_is_not_there_comes_with_what_lies_below(port: MemoryPort) -> None:
    with_layers(port)
    writer = written(port, (STEP + 200, b"more"))
    assert (writer.growth, writer.bytes_read) == (STEP, STEP)


def test_free_places_are_used_first_and_cleared(port: MemoryPort) -> None:
    disks.new_disk(port, PATH, size=8 * STEP)
    for number in (0, 1):
        disks.write(port, PATH, number * STEP, fill(number, STEP))
    disks.leak(port, PATH, index=0)
    writer = written(port, (5 * STEP + 7, b"new"))
    assert writer.growth == 0
    assert disks.read_naively(port, PATH)[5 * STEP : 6 * STEP] == (bytes(7) + b"new").ljust(STEP, b"\0")


@pytest.mark.parametrize("kind", ["expanding", "plain"])
def test_the_prediction_is_the_disk_afterwards(port: MemoryPort, kind: str) -> None:
    disks.new_disk(port, PATH, size=8 * STEP, kind=kind)
    writer = written(port, (3 * STEP - 5, b"over a border"), (7 * STEP, b"x"))
    assert disks.facts_of(port, disks.state_of(port, PATH)) == disks.facts_of(port, writer.after())


@given(
    st.integers(0, 3 * STEP),
    st.integers(1, 3 * STEP),
    st.integers(4 * STEP, 7 * STEP),
    st.sampled_from([{}, {"part_size": 3 * STEP}, {"version": 2}, {"kind": "plain"}]),
    st.booleans(),
)
def test_a_range_is_copied_from_all_layers_over_what_is_there(
    start: int, length: int, target: int, options: dict, is_dirty: bool
) -> None:
    end, port = min(start + length, 4 * STEP), MemoryPort()
    end = min(end, start + 8 * STEP - target)
    port.plant_directory("/vm")
    with_layers(port, **options)
    if is_dirty:
        disks.write(port, PATH, 5 * STEP + 9, fill(5, 2 * STEP))
    model, below = bytearray(disks.read_naively(port, PATH)), disks.read_naively(port, PATH, guid_of(1))
    model[target : target + end - start] = model[start:end]
    model[:3] = b"all"
    state = disks.state_of(port, PATH)
    writer = GuestWriter(port, state, state)
    writer.copy(start, end, target)
    writer.commit(0, b"all")
    before, commit, after = writer.steps_around_commit()
    disks.apply(port, Plan("test", (*before, commit, *after)))
    assert disks.read_naively(port, PATH) == model and disks.read_naively(port, PATH, guid_of(1)) == below
    assert disks.facts_of(port, disks.state_of(port, PATH)) == disks.facts_of(port, writer.after())


def test_zeros_onto_nothing_take_no_space(port: MemoryPort) -> None:
    disks.new_disk(port, PATH, size=8 * STEP)
    disks.write(port, PATH, 0, b"x" * STEP)
    state = disks.state_of(port, PATH)
    writer = GuestWriter(port, state, state)
    writer.copy(0, 3 * STEP, 4 * STEP)
    assert writer.growth == STEP and (writer.bytes_read, writer.bytes_written) == (STEP, STEP)

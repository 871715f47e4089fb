# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps that change an image in place."""

from __future__ import annotations

import struct
from typing import Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._change.image import (
    close_steps,
    entry_steps,
    mark_steps,
    table_growth_steps,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan, Sync, WriteBytes
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import new_header
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, PATH, part_size=4 * disks.SMALL_CLUSTER)
    return port


def test_the_mark_reaches_the_medium_behind_a_barrier(port: MemoryPort) -> None:
    images = disks.state_of(port, PATH).layer(TOP)
    steps = list(mark_steps(images))
    assert isinstance(steps[-1], Sync) and steps[-1].files == tuple(image.path for image in images)
    execute(port, Plan("test", tuple(steps)))
    assert all(image.is_dirty for image in disks.state_of(port, PATH).images.values())


@pytest.mark.parametrize("flags, left", [(0, 0), (1, 0), (2, 2), (3, 2), (0xFFFFFFFF, 0), (0x100, 0x100)])
def test_closing_clears_the_mark_and_the_flag_of_emptiness(port: MemoryPort, flags: int, left: int) -> None:
    file = disks.file_of(port, PATH)
    disks.patch(port, file, 44, b"Ynot")
    disks.patch(port, file, 52, struct.pack("<I", flags))
    disks.patch(port, file, 56, struct.pack("<Q", 77))
    images = disks.state_of(port, PATH).layer(TOP)[:1]
    execute(port, Plan("test", tuple(close_steps(images, keep_extension=True))))
    assert struct.unpack("<IIIQ", port.content(file)[44:64])[::2] == (0, left)
    assert struct.unpack("<Q", port.content(file)[56:64]) == (0,)


def test_nothing_to_do_is_no_step() -> None:
    assert list(mark_steps([])) == list(close_steps([], keep_extension=False)) == []
    header = new_header(size_bytes=1 << 20, cluster_bytes=32768, version=1)
    assert list(entry_steps("/x", header, [])) == []
    assert [type(step) for step in table_growth_steps("/x", header, header, ())] == [Sync, WriteBytes]


ENTRIES = st.dictionaries(st.integers(0, 200), st.integers(0, 50), max_size=60)


@given(ENTRIES, st.sampled_from([1, 2]))
def test_table_entries_are_written_in_runs_and_arrive_where_they_belong(wanted: Dict[int, int], version: int) -> None:
    header = new_header(size_bytes=201 * 32768, cluster_bytes=32768, version=version)
    entries: List[Tuple[int, int]] = [(cluster, place * 32768) for cluster, place in sorted(wanted.items())]
    steps = list(entry_steps("/x", header, entries))
    table = bytearray(b"\xee" * (64 + 4 * 201))
    for step in steps:
        assert isinstance(step, WriteBytes)
        table[step.offset : step.offset + len(step.content)] = step.content
    found = struct.unpack("<201I", table[64:])
    unit = 512 if version == 1 else 32768
    assert [entry * unit if index in wanted else entry for index, entry in enumerate(found)] == [
        wanted[index] * 32768 if index in wanted else 0xEEEEEEEE for index in range(201)
    ]
    assert len(steps) == sum(1 for cluster in wanted if cluster - 1 not in wanted)


def test_long_runs_are_cut_into_pieces_of_bounded_length() -> None:
    header = new_header(size_bytes=200_000 * 32768, cluster_bytes=32768, version=2)
    steps = list(entry_steps("/x", header, [(cluster, 0) for cluster in range(200_000)]))
    assert max(len(step.content) for step in steps if isinstance(step, WriteBytes)) <= 1 << 18
    assert sum(len(step.content) for step in steps if isinstance(step, WriteBytes)) == 800_000


def test_an_offset_that_no_entry_can_say_is_refused() -> None:
    header = new_header(size_bytes=1 << 20, cluster_bytes=32768, version=1)
    for offset in (100, 512 << 32):
        with pytest.raises(Unsupported):
            list(entry_steps("/x", header, [(0, offset)]))


def test_a_table_grows_on_the_medium_before_the_header_counts_it() -> None:
    """Behind its end an image hides what lies below it, so nothing of the new range may be seen too early."""
    header, grown = (new_header(size_bytes=count * 32768, cluster_bytes=32768, version=1) for count in (2, 5))
    steps = list(table_growth_steps("/x", header, grown, [(3, 10 * 32768)]))
    headers = [number for number, step in enumerate(steps) if isinstance(step, WriteBytes) and step.offset == 0]
    barriers = [number for number, step in enumerate(steps) if isinstance(step, Sync)]
    assert len(headers) == 1
    writes = [
        step
        for step in steps[: max(number for number in barriers if number < headers[0])]
        if isinstance(step, WriteBytes)
    ]
    table = bytearray(b"\xee" * (64 + 4 * 5))
    for step in writes:
        table[step.offset : step.offset + len(step.content)] = step.content
    assert struct.unpack("<5I", table[64:])[2:] == (0, 10 * 64, 0)
    counted = steps[headers[0]]
    assert isinstance(counted, WriteBytes) and counted.content[44:48] == b"Ynot"

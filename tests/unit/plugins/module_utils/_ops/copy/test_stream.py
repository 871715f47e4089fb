# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.digests import ContentDigest, LayerDigest
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_view
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.stream import stream_disk, stream_layer
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
STEP = disks.SMALL_CLUSTER
SIZE = 32 * STEP


class Kept:
    """A writer that keeps what it was given."""

    grain = STEP
    properties: dict = {}

    def __init__(self) -> None:
        self.disk = bytearray(b"\xaa" * SIZE)
        self.calls: List[Tuple[str, int, int]] = []

    def write(self, offset: int, buffer: memoryview) -> None:
        self.disk[offset : offset + len(buffer)] = buffer
        self.calls.append((DATA, offset, len(buffer)))

    def write_zeros(self, offset: int, length: int) -> None:
        self.disk[offset : offset + length] = bytes(length)
        self.calls.append((ZERO, offset, length))

    def finish(self, identity: str) -> None:
        del identity


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    """A disk with data, zeros that are stored, and clusters that are not."""
    disks.new_disk(port, PATH, size=SIZE)
    disks.write(port, PATH, 2 * STEP + 5000, fill(1, 3 * STEP))
    disks.write(port, PATH, 10 * STEP, bytes(2 * STEP))
    disks.write(port, PATH, SIZE - 700, fill(2, 700))
    return port


@pytest.mark.parametrize("sparse", [True, False])
def test_the_whole_disk_goes_through_and_zeros_only_when_asked(port: MemoryPort, sparse: bool) -> None:
    state = disks.state_of(port, PATH)
    view = open_view(port, state, state.tree.top)
    writer, reached = Kept(), []
    flow = stream_disk(view, writer, [], sparse=sparse, digest=None, on_progress=reached.append)
    view.close()
    expected = disks.read_naively(port, PATH)
    written = bytearray(b"\xaa" * SIZE)
    for _kind, offset, length in writer.calls:
        written[offset : offset + length] = expected[offset : offset + length]
    assert writer.disk == written
    assert flow.written == sum(length for _kind, _offset, length in writer.calls)
    assert (flow.written == SIZE) is not sparse
    # What was not written is zero.
    assert not any(byte for byte, got in zip(expected, written) if byte != got)
    assert reached == sorted(reached) and reached[-1] <= SIZE


def test_the_digest_does_not_depend_on_how_zeros_are_written(port: MemoryPort) -> None:
    found = set()
    for sparse in (True, False):
        state = disks.state_of(port, PATH)
        view = open_view(port, state, state.tree.top)
        digest = ContentDigest()
        stream_disk(view, Kept(), [], sparse=sparse, digest=digest)
        view.close()
        found.add(digest.value(SIZE))
    assert len(found) == 1


def test_a_layer_has_its_own_extents_in_whole_grains(port: MemoryPort) -> None:
    state = disks.state_of(port, PATH)
    view = open_view(port, state, state.tree.top)
    own = [
        Extent(0, 2 * STEP, ABSENT),
        Extent(2 * STEP, 512, DATA),
        Extent(2 * STEP + 512, 8 * STEP - 512, ABSENT),
        Extent(10 * STEP, STEP, DATA),
        Extent(11 * STEP, STEP, ZERO),
        Extent(12 * STEP, SIZE - 12 * STEP, ABSENT),
    ]
    writer, digest = Kept(), LayerDigest()
    flow = stream_layer(view, own, writer, [], digest=digest)
    view.close()
    expected = disks.read_naively(port, PATH)
    touched = {
        number for _kind, offset, length in writer.calls for number in range(offset // STEP, (offset + length) // STEP)
    }
    assert touched == {2, 10, 11}
    for number in touched:
        assert writer.disk[number * STEP : (number + 1) * STEP] == expected[number * STEP : (number + 1) * STEP]
    # Stored zeros become zeros that hide what lies below, not data.
    assert {offset // STEP for kind, offset, _length in writer.calls if kind == DATA} == {2}
    assert flow.written == STEP

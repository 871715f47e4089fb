# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import open_hds
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.reader import RawImage
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import ComposedView, LayerStack
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.parts_writer import parts_writer
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.stream import Sink, stream_disk, stream_layer
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

CLUSTER = 65536
SIZE = 20 * CLUSTER


def content() -> bytes:
    """Data with zeros of whole clusters and of pages."""
    made = bytearray(random.Random(1).getrandbits(8 * SIZE).to_bytes(SIZE, "little"))
    for start, length in ((0, CLUSTER), (5 * CLUSTER + 4096, 8192), (9 * CLUSTER, 4 * CLUSTER)):
        made[start : start + length] = bytes(length)
    return bytes(made)


def view_of(port: MemoryPort) -> ComposedView:
    port.plant_file("/source", content())
    image = RawImage(port.open_read("/source"), SIZE)
    return ComposedView(SIZE, [(0, LayerStack([image], [SIZE], SIZE))])


@pytest.mark.parametrize("shares", [False, True], ids=["copied", "shared"])
@pytest.mark.parametrize("sparse", [False, True], ids=["all of it", "without zeros"])
def test_a_disk_is_written_from_its_start_to_its_end(sparse: bool, shares: bool) -> None:
    port = MemoryPort()
    port.kernel_shares = True
    view = view_of(port)
    file = port.create("/out")
    writer = parts_writer(Shape(SIZE, "plain", cluster_bytes=CLUSTER), [file])
    told: List[int] = []
    flow = stream_disk(view, Sink(writer, [file], None, told.append), sparse=sparse, shares=shares)
    writer.finish("")
    assert port.content("/out") == content()
    assert flow.read == SIZE
    assert flow.written == (SIZE - 5 * CLUSTER - 8192 if sparse else SIZE)
    assert told == sorted(told) and told[-1] == SIZE
    assert (("share_from", "/out") in port.calls) == shares


def test_a_layer_has_what_is_its_own_and_hides_with_zeros() -> None:
    port = MemoryPort()
    view = view_of(port)
    own = [
        Extent(0, 2 * CLUSTER, DATA),
        Extent(2 * CLUSTER, 7 * CLUSTER, ABSENT),
        Extent(9 * CLUSTER, CLUSTER, ZERO),
        Extent(10 * CLUSTER, SIZE - 10 * CLUSTER, ABSENT),
    ]
    file = port.create("/out")
    writer = parts_writer(Shape(SIZE, cluster_bytes=CLUSTER), [file], is_overlay=True)
    flow = stream_layer(view, own, Sink(writer, [file]))
    writer.finish("")
    image = open_hds(port, "/out")
    allocated: List[Tuple[int, int]] = [(run.cluster, run.count) for run in image.table.runs()]
    assert allocated == [(0, 2), (9, 1)]
    buffer = bytearray(2 * CLUSTER)
    image.pread_into(0, buffer)
    assert buffer == content()[: 2 * CLUSTER]
    assert flow.written == CLUSTER
    image.close()

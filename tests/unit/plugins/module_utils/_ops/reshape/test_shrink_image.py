# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan, Resize, WriteBytes
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.shrink_image import cut_image, cut_steps
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
STEP = disks.SMALL_CLUSTER


def filled(port: MemoryPort, clusters: int, **options: object) -> MemoryPort:
    disks.new_disk(port, PATH, size=8 * STEP, **options)
    for number in range(clusters):
        disks.write(port, PATH, number * STEP, fill(number, STEP))
    return port


@pytest.mark.parametrize("version", [1, 2])
def test_what_lies_past_the_new_end_goes_and_the_rest_stays(port: MemoryPort, version: int) -> None:
    filled(port, 8, version=version)
    state = disks.state_of(port, PATH)
    cut = cut_image(state.images[(0, state.tree.top)], 5 * STEP - 512)
    assert cut.header is not None
    assert (cut.header.bat_entries, cut.header.size_bytes) == (5, 5 * STEP - 512)
    assert cut.size_after == state.images[(0, state.tree.top)].stat.size - 3 * STEP
    disks.apply(port, Plan("test", tuple(cut_steps(cut))))
    raw = port.content(cut.image.path)
    assert len(raw) == cut.size_after
    assert struct.unpack_from("<I", raw, 32)[0] == 5
    # The entries that are no more are cleared.
    assert raw[64 + 4 * 5 : 64 + 4 * 8] == bytes(12)
    assert raw[44:48] == bytes(4)


def test_clusters_of_the_rest_may_lie_anywhere_and_keep_the_length(port: MemoryPort) -> None:
    disks.new_disk(port, PATH, size=8 * STEP)
    for number in (7, 1):
        disks.write(port, PATH, number * STEP, fill(number, STEP))
    state = disks.state_of(port, PATH)
    image = state.images[(0, state.tree.top)]
    assert cut_image(image, 4 * STEP).size_after == image.stat.size


def test_the_header_is_short_and_durable_before_anything_is_cut(port: MemoryPort) -> None:
    filled(port, 8)
    state = disks.state_of(port, PATH)
    steps = list(cut_steps(cut_image(state.images[(0, state.tree.top)], STEP)))
    kinds = [type(step).__name__ for step in steps]
    first_cut = next(number for number, step in enumerate(steps) if isinstance(step, Resize))
    headers = [number for number, step in enumerate(steps) if isinstance(step, WriteBytes) and step.offset == 0]
    assert headers and headers[0] < first_cut and "Sync" in kinds[headers[0] : first_cut]


def test_a_plain_image_is_just_cut(port: MemoryPort) -> None:
    disks.new_disk(port, PATH, size=8 * STEP, kind="plain")
    state = disks.state_of(port, PATH)
    steps = list(cut_steps(cut_image(state.images[(0, state.tree.top)], 3 * STEP)))
    assert [type(step).__name__ for step in steps] == ["Resize", "Sync"]
    disks.apply(port, Plan("test", tuple(steps)))
    assert len(port.content(steps[0].path)) == 3 * STEP

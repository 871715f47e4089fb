# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Space-efficient sparse extents of vSphere."""

from __future__ import annotations

import random
import struct
from typing import Any, Dict, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, DiskError, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.caches import Caches
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.reader import open_vmdk
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.sesparse import SeSparseExtent
from ansible_collections.vdisk.parallels.tests.support import vmdk_files
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.places import checked_places

GRAIN = 4096


def opened(raw: bytes) -> SeSparseExtent:
    port = MemoryPort()
    port.plant_file("/d-sesparse.vmdk", bytes(raw))
    return SeSparseExtent(port.open_read("/d-sesparse.vmdk"), Caches())


def read(extent: SeSparseExtent, start: int, end: int) -> bytes:
    buffer = bytearray(b"?" * (end - start))
    extent.pread_into(start, memoryview(buffer))
    return bytes(buffer)


def kinds(extent: SeSparseExtent, start: int, end: int) -> List[Tuple[int, int, str]]:
    return [(part.start, part.end, part.kind) for part in extent.extents(start, end, ABSENT)]


@given(st.dictionaries(st.integers(0, 30), st.sampled_from([1, 2, 3])), st.randoms(), st.data())
def test_any_extent_reads_as_its_model(cells: Dict[int, int], chance: random.Random, data: st.DataObject) -> None:
    stored = [number for number, kind in cells.items() if kind == 3]
    chance.shuffle(stored)
    zeroed = {number: kind for number, kind in cells.items() if kind < 3}
    capacity = 31 * 8 - 3
    raw = vmdk_files.sesparse(capacity=capacity, grains={n: fill(n, GRAIN) for n in stored}, zeroed=zeroed).raw
    extent = opened(raw)
    model = b"".join(fill(n, GRAIN) if cells.get(n) == 3 else bytes(GRAIN) for n in range(31))[: capacity * 512]
    start = data.draw(st.integers(0, len(model) - 1))
    end = data.draw(st.integers(start + 1, len(model)))
    assert read(extent, start, end) == model[start:end]
    for begin, stop, kind in kinds(extent, start, end):
        for number in range(begin // GRAIN, -(-stop // GRAIN)):
            assert kind == {None: ABSENT, 1: ZERO, 2: ZERO, 3: DATA}[cells.get(number)]
    for place in extent.places(start, end):
        assert raw[place.offset : place.offset + place.length] == model[place.start : place.end]


def test_tables_and_grains_are_found_far_away() -> None:
    far = 3 * 4096 + 5
    built = vmdk_files.sesparse(capacity=4 * 4096 * 8, grains={far: fill(1, GRAIN), 7: fill(2, GRAIN)})
    extent = opened(built.raw)
    assert read(extent, far * GRAIN, (far + 1) * GRAIN) == fill(1, GRAIN)
    assert read(extent, 7 * GRAIN, 8 * GRAIN) == fill(2, GRAIN)
    assert kinds(extent, 4096 * GRAIN, 3 * 4096 * GRAIN) == [
        (4096 * GRAIN, 2 * 4096 * GRAIN, ABSENT),
        (2 * 4096 * GRAIN, 3 * 4096 * GRAIN, ABSENT),
    ]


def test_a_delta_of_vsphere_is_an_overlay() -> None:
    text = vmdk_files.text("seSparse", ['RW 80 SESPARSE "d-sesparse.vmdk"'], parent="ABC", hint="base.vmdk")
    port = MemoryPort()
    port.plant_file("/d.vmdk", text)
    port.plant_file("/d-sesparse.vmdk", bytes(vmdk_files.sesparse(capacity=80, grains={3: fill(3, GRAIN)}).raw))
    image = open_vmdk(port, "/d.vmdk", lambda name: port.open_read(f"/{name}"))
    assert image.parent is not None and image.properties["cluster_size"] == GRAIN
    assert [part.kind for part in image.extents(0, image.size)] == [ABSENT, DATA, ABSENT]
    checked_places(image, 0, image.size)


def field(index: int, value: int) -> Any:
    return lambda raw: struct.pack_into("<Q", raw, 8 * index, value)


@pytest.mark.parametrize(
    "change, error",
    [
        pytest.param(field(0, 1), Damaged, id="magic"),
        pytest.param(field(1, 1), Unsupported, id="version"),
        pytest.param(field(2, 0), Damaged, id="no size"),
        pytest.param(field(2, 1 << 60), Damaged, id="absurd size"),
        pytest.param(field(2, 1 << 42), Unsupported, id="too many tables"),
        pytest.param(field(2, 1 << 22), Damaged, id="directory too short"),
        pytest.param(field(3, 16), Unsupported, id="grain"),
        pytest.param(field(4, 32), Unsupported, id="table"),
        pytest.param(field(5, 1), Unsupported, id="flags"),
        pytest.param(field(10, 1 << 40), Damaged, id="second header beyond the file"),
        pytest.param(field(10, 0), Damaged, id="second header elsewhere"),
        pytest.param(field(8 * 64 + 3, 1), Unsupported, id="journal"),
        pytest.param(field(16, 1 << 40), Damaged, id="directory beyond the file"),
        pytest.param(field(16 * 64, 2 << 60), Damaged, id="kind of a directory entry"),
        pytest.param(field(16 * 64, 1 << 60 | 0xFFFFFFFF), Damaged, id="table beyond the file"),
        pytest.param(field(17 * 64, 4 << 60), Damaged, id="kind of an entry"),
        pytest.param(field(17 * 64, 5), Damaged, id="entry without a kind"),
        pytest.param(field(17 * 64 + 1, 3 << 60), Damaged, id="two entries for one grain"),
        pytest.param(field(17 * 64, 3 << 60 | 99 << 48), Damaged, id="grain beyond the file"),
    ],
)
def test_what_is_wrong_is_refused(change: Any, error: type) -> None:
    raw = vmdk_files.sesparse(capacity=80, grains={0: fill(1, GRAIN), 2: fill(2, GRAIN)}).raw
    change(raw)
    with pytest.raises(error):
        read(opened(bytes(raw)), 0, 80 * 512)


def test_noise_ends_in_bytes_or_in_an_error_of_ours() -> None:
    good = vmdk_files.sesparse(capacity=80, grains={0: fill(1, GRAIN), 2: fill(2, GRAIN)}, zeroed={5: 1}).raw
    chance = random.Random(3)
    weighty = [index for index, byte in enumerate(good[: 20 * 512]) if byte]
    for _index in range(400):
        raw = bytearray(good)
        at = chance.choice(weighty)
        raw[at] = chance.choice((0, 0xFF, chance.randrange(256)))
        try:
            extent = opened(bytes(raw))
            read(extent, 0, min(extent.size, 1 << 20))
        except DiskError:
            pass

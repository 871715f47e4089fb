# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import random
from typing import List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import open_hds
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.writer import HdsWriter, ReservedHdsWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import Place
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.raw.writer import RawWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.copy.parts_writer import PartsWriter, parts_writer
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

CLUSTER = 4096
SIZE = 10 * CLUSTER
SPLIT = 4 * CLUSTER


def writer_of(port: MemoryPort, *, is_overlay: bool = False, **options: object) -> PartsWriter:
    shape = Shape(SIZE, cluster_bytes=CLUSTER, **options)  # type: ignore[arg-type]
    files = [port.create(f"/part{number}") for number in range(len(shape.parts))]
    return parts_writer(shape, files, is_overlay=is_overlay)


def test_a_disk_in_parts_is_cut_at_their_borders() -> None:
    port = MemoryPort()
    writer = writer_of(port, kind="plain", part_size=SPLIT)
    content = random.Random(1).getrandbits(8 * SIZE).to_bytes(SIZE, "little")
    for start in range(0, SIZE, 3000):
        writer.write(start, content[start : start + 3000])
    writer.finish("")
    parts = [port.content(f"/part{number}") for number in range(3)]
    assert [len(part) for part in parts] == [SPLIT, SPLIT, SIZE - 2 * SPLIT]
    assert b"".join(parts) == content


@pytest.mark.parametrize("version", [1, 2])
def test_what_is_stored_at_its_places_is_read_as_what_is_written(version: int) -> None:
    port = MemoryPort()
    writer = writer_of(port, part_size=SPLIT, version=version)
    content = random.Random(2).getrandbits(8 * SIZE).to_bytes(SIZE, "little")
    ranges: List[Tuple[int, int]] = [(CLUSTER, 4 * CLUSTER), (5 * CLUSTER, CLUSTER), (7 * CLUSTER + 100, 2 * CLUSTER)]
    for start, length in ranges:
        places = writer.places(start, length)
        assert sum(place.length for place in places) == length
        assert all(isinstance(place, Place) for place in places)
        for place in places:
            place.file.pwrite(place.offset, content[place.start : place.end])
    writer.finish("")
    seen = bytearray()
    for number in range(3):
        image = open_hds(port, f"/part{number}")
        buffer = bytearray(image.size)
        image.pread_into(0, buffer)
        seen += buffer
        image.close()
    model = bytearray(SIZE)
    for start, length in ranges:
        model[start : start + length] = content[start : start + length]
    assert seen == model


def test_zeros_of_a_layer_have_clusters_and_those_of_a_plain_disk_none() -> None:
    port = MemoryPort()
    layer = writer_of(port, part_size=SPLIT, is_overlay=True)
    layer.write_zeros(3 * CLUSTER, 2 * CLUSTER)
    assert [writer.table().clusters_used for writer in layer.writers if isinstance(writer, HdsWriter)] == [1, 1, 0]
    plain = writer_of(MemoryPort(), kind="plain")
    plain.write_zeros(3 * CLUSTER, 2 * CLUSTER)
    assert len(plain.writers) == 1


@pytest.mark.parametrize(
    "options, kind",
    [
        ({}, HdsWriter),
        ({"preallocate": True}, ReservedHdsWriter),
        ({"kind": "plain"}, RawWriter),
        ({"kind": "plain", "is_overlay": True}, HdsWriter),
        ({"preallocate": True, "is_overlay": True}, HdsWriter),
    ],
)
def test_the_shape_chooses_the_writer(options: dict, kind: type) -> None:
    writer = writer_of(MemoryPort(), **options)
    assert [type(one) for one in writer.writers] == [kind]
    assert writer.grain == CLUSTER

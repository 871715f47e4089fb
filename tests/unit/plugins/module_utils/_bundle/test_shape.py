# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a disk may be like and how it is cut into parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor import validate
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import (
    EXPANDING,
    PLAIN,
    Shape,
    descriptor_of,
    part_size_of,
    shape_of,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import GIB, KIB, MIB, TIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import max_size_bytes


@pytest.mark.parametrize(
    "size, version",
    [
        (512, 1),
        (64 * GIB, 1),
        (max_size_bytes(1, MIB), 1),
        (max_size_bytes(1, MIB) + 512, 2),
        (2 * TIB - 512, 2),
        (2 * TIB, 2),
        (2 * TIB + MIB, 2),
        (16 * TIB, 2),
    ],
)
def test_version_one_is_chosen_as_long_as_it_can_hold_the_disk(size: int, version: int) -> None:
    assert shape_of(size=size).version == version


def test_the_largest_disk_of_version_one_is_a_little_less_than_two_tebibytes() -> None:
    assert 2 * TIB - 16 * MIB < max_size_bytes(1, MIB) < 2 * TIB
    with pytest.raises(BadRequest) as caught:
        shape_of(size=2 * TIB, version=1)
    assert caught.value.found == 2 * TIB
    assert str(max_size_bytes(1, MIB)) in str(caught.value.expected)


def test_parts_of_a_split_disk_count_for_the_version_each_on_their_own() -> None:
    assert shape_of(size=2 * TIB, split_size=4 * GIB).version == 1


@pytest.mark.parametrize("cluster", [32 * KIB, 64 * KIB, MIB, 64 * MIB])
def test_the_limits_of_the_cluster_size_are_allowed(cluster: int) -> None:
    assert shape_of(size=GIB, cluster_bytes=cluster).cluster_bytes == cluster


@pytest.mark.parametrize("cluster", [-MIB, 0, 1, 512, 16 * KIB, 48 * KIB, MIB + 512, 128 * MIB, 1 << 62])
def test_other_clusters_are_refused(cluster: int) -> None:
    with pytest.raises(BadRequest):
        shape_of(size=GIB, cluster_bytes=cluster)


@pytest.mark.parametrize("size", [-512, 0, 1, 511, 513, MIB + 1])
def test_a_disk_has_whole_sectors_and_at_least_one(size: int) -> None:
    with pytest.raises(BadRequest):
        shape_of(size=size)


@pytest.mark.parametrize("size", [1 << 60, 1 << 63, 1 << 70])
def test_a_size_beyond_any_table_is_refused(size: int) -> None:
    with pytest.raises(BadRequest):
        shape_of(size=size)


def test_small_clusters_limit_what_version_two_can_hold() -> None:
    most = max_size_bytes(2, 32 * KIB)
    assert shape_of(size=most, cluster_bytes=32 * KIB).version == 2
    with pytest.raises(BadRequest):
        shape_of(size=most + 512, cluster_bytes=32 * KIB)


def test_a_limit_of_two_gibibytes_gives_the_parts_that_parallels_makes() -> None:
    assert part_size_of(2 * GIB, MIB) // 512 == 3989504
    shape = shape_of(size=5 * GIB, split_size=2 * GIB)
    assert [length // 512 for _start, length in shape.parts] == [3989504, 3989504, 5 * GIB // 512 - 2 * 3989504]


def test_a_disk_below_the_limit_has_one_part() -> None:
    assert shape_of(size=GIB, split_size=2 * GIB).parts == ((0, GIB),)


@pytest.mark.parametrize("split", [0, 1, 100 * MIB, 100 * MIB + 512, 101 * MIB - 1])
def test_a_part_must_hold_a_cluster(split: int) -> None:
    with pytest.raises(BadRequest):
        part_size_of(split, MIB)


def test_more_parts_than_a_descriptor_may_name_are_refused() -> None:
    assert len(shape_of(size=1024 * MIB, split_size=101 * MIB).parts) == 1024
    with pytest.raises(BadRequest):
        shape_of(size=1025 * MIB, split_size=101 * MIB)


@given(st.integers(1, 1 << 22), st.integers(0, 1 << 30), st.sampled_from([32 * KIB, MIB, 4 * MIB]))
def test_parts_cover_the_disk_and_all_but_the_last_are_equal_and_on_the_grid(
    sectors: int, more: int, cluster: int
) -> None:
    shape = shape_of(size=sectors * 512, cluster_bytes=cluster, split_size=105 * MIB + more)
    position = 0
    for start, length in shape.parts:
        assert start == position
        position += length
    assert position == sectors * 512
    assert {length for _start, length in shape.parts[:-1]} <= {shape.part_size}
    assert shape.part_size is not None and shape.part_size % cluster == 0


@pytest.mark.parametrize("kind, image_type", [(EXPANDING, "Compressed"), (PLAIN, "Plain")])
@pytest.mark.parametrize("part", [None, 64 * KIB])
def test_the_descriptor_of_a_shape_is_valid(kind: str, image_type: str, part: int) -> None:
    shape = Shape(200 * KIB, kind, 32 * KIB, 1, part)
    descriptor = descriptor_of(shape, name="a", base="a.hdd", uid=None)
    validate(descriptor, path="/a.hdd")
    assert {image.type for storage in descriptor.storages for image in storage.images} == {image_type}
    assert [
        (storage.start_sector * 512, (storage.end_sector - storage.start_sector) * 512)
        for storage in descriptor.storages
    ] == list(shape.parts)


@pytest.mark.parametrize("kind, reserved", [(EXPANDING, True), (PLAIN, False)])
def test_only_reserved_expanding_images_are_marked_as_preallocated(kind: str, reserved: bool) -> None:
    descriptor = descriptor_of(Shape(MIB, kind, preallocate=True), name="a", base="a.hdd", uid=None)
    assert descriptor.storages[0].preallocated is reserved

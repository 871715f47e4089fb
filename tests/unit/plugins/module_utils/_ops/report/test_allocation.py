# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which stretches of the guest disk each layer holds."""

from __future__ import annotations

from array import array
from typing import Any, Dict, List, Sequence, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat import RunTable
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.report.allocation import allocation_map, held_between
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

CLUSTER = disks.SMALL_CLUSTER
ONE = guid_of(1)


def table_of(clusters: Sequence[int], joined: bool) -> RunTable:
    """The clusters as runs: neighbours in one run, or each in its own."""
    runs: List[List[int]] = []
    for cluster in clusters:
        if joined and runs and sum(runs[-1]) == cluster:
            runs[-1][1] += 1
        else:
            runs.append([cluster, 1])
    starts, counts = array("I", [run[0] for run in runs]), array("I", [run[1] for run in runs])
    return RunTable(512, CLUSTER, starts, counts, array("I", range(1, len(runs) + 1)), len(clusters), 0)


def map_of(port: Any, path: str, buckets: int) -> Dict[str, Any]:
    return allocation_map(disks.state_of(port, path), buckets)


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(
    "clusters", [(), (0,), (9,), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 6, 8), (0, 9), (4, 5)]
)
@pytest.mark.parametrize(
    "borders", [(0, 10), (0, 5, 10), (0, 3, 4, 4, 9, 20), (2, 6), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10), (5, 5)]
)
def test_sums_over_slices_are_those_of_counting_one_by_one(
    clusters: Tuple[int, ...], borders: Tuple[int, ...], joined: bool
) -> None:
    expected = [sum(start <= cluster < end for cluster in clusters) for start, end in zip(borders, borders[1:])]
    assert held_between(table_of(clusters, joined), borders) == expected


def test_random_tables_are_counted_right() -> None:
    given = pytest.importorskip("hypothesis").given
    strategies = pytest.importorskip("hypothesis").strategies
    numbers = strategies.integers(0, 60)

    @given(strategies.sets(numbers), strategies.lists(numbers, min_size=1), strategies.booleans())
    def check(clusters: Any, borders: Any, joined: bool) -> None:
        ordered, marks = sorted(clusters), sorted(borders)
        expected = [sum(start <= cluster < end for cluster in ordered) for start, end in zip(marks, marks[1:])]
        assert held_between(table_of(ordered, joined), marks) == expected

    check()


def test_every_layer_of_the_tree_is_told_parents_first(tmp_path: Any) -> None:
    layers = [
        Layer(guid_of(1), clusters={0: fill(0, 1 << 20), 7: fill(7, 1 << 20)}),
        Layer(TOP, guid_of(2), {3: fill(3, 1 << 20)}),
        Layer(guid_of(2), guid_of(1), {1: fill(1, 1 << 20), 2: fill(2, 1 << 20), 3: fill(3, 1 << 20)}),
        Layer(guid_of(3), guid_of(1), {}),
    ]
    path = str(tmp_path / "a.hdd")
    build_bundle(path, size_sectors=8 * 2048, layers=layers)
    found = map_of(OsPort(), path, 4)
    assert found["bucket_size"] == 2 << 20
    told = {
        layer["guid"]: (layer["parent"], layer["current"], layer["used_clusters"], layer["used_size"])
        for layer in found["layers"]
    }
    assert told == {
        guid_of(1): (None, False, [1, 0, 0, 1], 2 << 20),
        guid_of(2): (guid_of(1), False, [1, 2, 0, 0], 3 << 20),
        guid_of(3): (guid_of(1), False, [0, 0, 0, 0], 0),
        TOP: (guid_of(2), True, [0, 1, 0, 0], 1 << 20),
    }
    assert [layer["guid"] for layer in found["layers"]] in (
        [guid_of(1), guid_of(2), guid_of(3), TOP],
        [guid_of(1), guid_of(3), guid_of(2), TOP],
    )
    assert all(
        layer["file_size"] > 0 and layer["cluster_size"] == 1 << 20 and not layer["outside"]
        for layer in found["layers"]
    )


@pytest.mark.parametrize("buckets", [1, 2, 3, 5, 7, 8, 100])
def test_every_cluster_is_counted_once_whatever_the_division(tmp_path: Any, buckets: int) -> None:
    path = str(tmp_path / "a.hdd")
    build_bundle(
        path,
        size_sectors=7 * 2048 + 9,
        layers=line_of_layers({number: fill(number, 1 << 20) for number in range(8)}, {5: fill(5, 1 << 20)}),
    )
    found = map_of(OsPort(), path, buckets)
    assert [sum(layer["used_clusters"]) for layer in found["layers"]] == [8, 1]
    assert len(found["layers"][0]["used_clusters"]) <= min(buckets, 8)
    assert found["bucket_size"] % (1 << 20) == 0


def test_the_parts_of_a_split_disk_are_put_together(tmp_path: Any) -> None:
    path = str(tmp_path / "a.hdd")
    clusters = {number: fill(number, 1 << 20) for number in (0, 3, 4, 9)}
    build_bundle(
        path, size_sectors=10 * 2048, split=[4 * 2048, 4 * 2048, 2 * 2048], layers=[Layer(TOP, clusters=clusters)]
    )
    assert map_of(OsPort(), path, 10)["layers"][0]["used_clusters"] == [1, 0, 0, 1, 1, 0, 0, 0, 0, 1]
    assert map_of(OsPort(), path, 3)["layers"][0]["used_clusters"] == [2, 1, 1]


def test_a_plain_image_holds_everything() -> None:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, "/vm/p.hdd", kind="plain", size=4 * CLUSTER + 512)
    disks.take(port, "/vm/p.hdd", ONE)
    found = map_of(port, "/vm/p.hdd", 2)
    assert [layer["used_clusters"] for layer in found["layers"]] == [[3, 2], [0, 0]]


@pytest.mark.parametrize("buckets", [-1, 4097])
def test_a_number_that_makes_no_picture_is_refused(buckets: int) -> None:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, "/vm/a.hdd")
    with pytest.raises(BadRequest):
        map_of(port, "/vm/a.hdd", buckets)

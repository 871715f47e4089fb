# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which clusters nobody would miss."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.droppable import (
    EQUAL,
    METADATA,
    ZERO,
    ZEROS,
    find_droppable,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import Layer, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill

PORT = OsPort()
CLUSTER = 512 << 10
SECTORS = CLUSTER // 512


def droppable(directory: str, guid: str = TOP, *, reason: str = ZERO) -> tuple[List[int], int]:
    state = disks.state_of(PORT, directory)
    found = find_droppable(PORT, state, state.layer(guid)[0], scan=ZEROS)
    parts = found.clusters[reason].ranges() if reason in found.clusters else ()
    return [cluster for first, end in parts for cluster in range(first, end)], found.bytes_read


def test_a_cluster_with_a_single_byte_is_kept_wherever_it_lies(tmp_path: Path) -> None:
    places = [0, 1, 4095, 4096, (256 << 10) - 1, 256 << 10, CLUSTER - 1]
    clusters = {index: bytes(place) + b"\1" + bytes(CLUSTER - place - 1) for index, place in enumerate(places)}
    built = build_bundle(
        str(tmp_path / "a.hdd"),
        size_sectors=8 * SECTORS,
        layers=line_of_layers({**clusters, 7: bytes(CLUSTER)}),
        cluster_sectors=SECTORS,
    )
    assert droppable(built.directory)[0] == [7]


def test_holes_are_not_read(tmp_path: Path) -> None:
    built = build_bundle(
        str(tmp_path / "a.hdd"),
        size_sectors=8 * SECTORS,
        layers=line_of_layers({0: b"", 1: b"", 2: b"x"}),
        cluster_sectors=SECTORS,
    )
    if os.stat(built.files[(0, TOP)]).st_blocks * 512 > CLUSTER:
        pytest.skip("this file system has no holes")
    found, read = droppable(built.directory)
    assert found == [0, 1]
    assert read <= 4096


def test_a_cluster_is_read_no_further_than_it_takes_to_tell(tmp_path: Path) -> None:
    built = build_bundle(
        str(tmp_path / "a.hdd"),
        size_sectors=SECTORS,
        layers=line_of_layers({0: fill(0, CLUSTER)}),
        cluster_sectors=SECTORS,
    )
    assert droppable(built.directory) == ([], 4096)
    late = {0: bytes(5000) + fill(0, CLUSTER - 5000)}
    built = build_bundle(
        str(tmp_path / "b.hdd"), size_sectors=SECTORS, layers=line_of_layers(late), cluster_sectors=SECTORS
    )
    assert droppable(built.directory) == ([], 4096 + (256 << 10))


def test_the_tables_alone_find_nothing_to_drop_and_read_nothing(tmp_path: Path) -> None:
    built = build_bundle(
        str(tmp_path / "a.hdd"),
        size_sectors=SECTORS,
        layers=line_of_layers({0: bytes(CLUSTER)}),
        cluster_sectors=SECTORS,
    )
    state = disks.state_of(PORT, built.directory)
    found = find_droppable(PORT, state, state.layer(TOP)[0], scan=METADATA)
    assert (len(found.all()), found.bytes_read) == (0, 0)


def test_what_the_layers_below_hold_as_well_may_go(tmp_path: Path) -> None:
    same = {index: fill(index, CLUSTER) for index in (0, 1, 2, 4)}
    changed = {2: same[2][:-1] + b"\xff", 3: fill(3, CLUSTER), 4: bytes(CLUSTER)}
    layers = line_of_layers(same, {}, {**same, **changed, 5: bytes(CLUSTER)})
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=8 * SECTORS, layers=layers, cluster_sectors=SECTORS)
    assert droppable(built.directory, reason=EQUAL)[0] == [0, 1]
    assert droppable(built.directory, reason=ZERO)[0] == [5]


def test_a_cluster_that_is_equal_but_for_a_hole_over_zeros_goes(tmp_path: Path) -> None:
    layers = line_of_layers({0: fill(0, 4096) + bytes(CLUSTER - 4096), 1: bytes(CLUSTER)}, {0: fill(0, 4096), 1: b""})
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=2 * SECTORS, layers=layers, cluster_sectors=SECTORS)
    assert (droppable(built.directory, reason=EQUAL)[0], droppable(built.directory, reason=ZERO)[0]) == ([0], [1])


def test_what_a_plain_root_holds_counts_as_well(tmp_path: Path) -> None:
    layers = [
        Layer(guid_of(1), type="Plain", clusters={0: fill(0, CLUSTER)}),
        Layer(TOP, guid_of(1), {0: fill(0, CLUSTER), 1: b"x"}),
    ]
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=2 * SECTORS, layers=layers, cluster_sectors=SECTORS)
    assert droppable(built.directory, reason=EQUAL)[0] == [0]


def test_clusters_in_windows_far_apart_are_found(tmp_path: Path) -> None:
    far = {0: bytes(CLUSTER), 127: b"x", 128: bytes(CLUSTER), 1000: b"", 1023: bytes(CLUSTER)}
    built = build_bundle(
        str(tmp_path / "a.hdd"),
        size_sectors=1024 * SECTORS,
        layers=line_of_layers({5: b"y", 1023: bytes(9)}, far),
        cluster_sectors=SECTORS,
    )
    assert droppable(built.directory)[0] == [0, 128, 1000, 1023]


def test_a_plain_image_has_no_clusters(tmp_path: Path) -> None:
    built = build_bundle(str(tmp_path / "a.hdd"), size_sectors=SECTORS, layers=[Layer(TOP, type="Plain")])
    assert droppable(built.directory) == ([], 0)


def test_what_is_found_is_kept_as_ranges(tmp_path: Path) -> None:
    number = 100_000
    path = str(tmp_path / "a.hdd")
    build_hds(path, size_sectors=number, clusters=dict.fromkeys(range(number), b""), cluster_sectors=1)
    state = disks.state_of(PORT, path)
    tracemalloc.start()
    try:
        found = find_droppable(PORT, state, state.layer(TOP)[0], scan=ZEROS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert list(found.all().ranges()) == [(0, number)]
    # A number for each cluster would take 3 MB; the buffers of a comparison take 1 MB.
    assert peak < 2_000_000


@given(data=st.data())
def test_a_cluster_goes_exactly_when_no_view_changes_without_it(data: st.DataObject) -> None:
    """Judged by the bytes of the layers alone."""
    import tempfile

    contents = st.sampled_from([b"", bytes(512), b"x" * 512, bytes(511) + b"x"])
    kinds = st.dictionaries(st.integers(0, 3), contents, max_size=4)
    layers = data.draw(st.lists(kinds, min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as scratch:
        built = build_bundle(f"{scratch}/a.hdd", size_sectors=4, layers=line_of_layers(*layers), cluster_sectors=1)
        for number, layer in enumerate(layers, 1):
            guid = TOP if number == len(layers) else guid_of(number)
            below = built.guest(guid_of(number - 1)) if number > 1 else bytes(2048)
            same = [
                index
                for index in sorted(layer)
                if layer[index].ljust(512, b"\0") == below[index * 512 : index * 512 + 512]
            ]
            assert droppable(built.directory, guid, reason=ZERO)[0] == [
                index for index in same if not any(layer[index])
            ]
            assert droppable(built.directory, guid, reason=EQUAL)[0] == [index for index in same if any(layer[index])]

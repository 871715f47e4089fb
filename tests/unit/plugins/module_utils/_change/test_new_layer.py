# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images of a new, empty current layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._change.new_layer import new_image_steps, new_images
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import CreateFile, Sync, WriteBytes
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import pack_header
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.built import built
from ansible_collections.vdisk.parallels.tests.support.bundles import NONE, TOP, Layer, guid_of
from ansible_collections.vdisk.parallels.tests.support.images import build_hds

ONE, TWO, THREE = guid_of(1), guid_of(2), guid_of(3)
TIB = 1 << 40


@pytest.fixture(name="state")
def _state(tmp_path: Path) -> BundleState:
    return built(tmp_path, [Layer(ONE), Layer(TOP, ONE)])


def names_of(state: BundleState, parent: str, *, base: str = TOP) -> Tuple[str, ...]:
    return tuple(name for name, _header in new_images(state, parent, base=base))


def headers_of(state: BundleState, base: str) -> Any:
    return [header for _name, header in new_images(state, TWO, base=base)]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("cluster_sectors", [1, 63, 128])
def test_a_layer_is_like_the_one_below_it(tmp_path: Path, version: int, cluster_sectors: int) -> None:
    (header,) = headers_of(
        built(tmp_path, [Layer(TOP)], size_sectors=640, cluster_sectors=cluster_sectors, version=version), TOP
    )
    assert (header.version, header.cluster_sectors, header.size_sectors) == (version, cluster_sectors, 640)
    assert (header.in_use, header.ext_off, header.bat_entries) == (0, 0, -(-640 // cluster_sectors))


def test_the_number_of_heads_is_taken_over(tmp_path: Path) -> None:
    state = built(tmp_path, [Layer(TOP)])
    build_hds(state.layer(TOP)[0].path, size_sectors=8, clusters={}, cluster_sectors=1, heads=4)
    assert headers_of(disks.state_of(OsPort(), state.location.directory), TOP)[0].heads == 4


def test_a_layer_is_as_long_as_the_disk_even_where_those_below_are_not(tmp_path: Path) -> None:
    state = built(tmp_path, [Layer(ONE, size_sectors=3), Layer(TOP, ONE, size_sectors=5)])
    assert [header.size_sectors for guid in (ONE, TOP) for header in headers_of(state, guid)] == [8, 8]


def test_the_layer_that_counts_is_the_one_below_not_the_current_one(tmp_path: Path) -> None:
    state = built(tmp_path, [Layer(ONE), Layer(TWO, NONE), Layer(TOP, TWO)])
    build_hds(state.layer(ONE)[0].path, size_sectors=8, clusters={}, cluster_sectors=2, version=2)
    state = disks.state_of(OsPort(), state.location.directory)
    assert [(header.version, header.cluster_sectors) for guid in (ONE, TOP) for header in headers_of(state, guid)] == [
        (2, 2),
        (1, 1),
    ]


def test_each_part_has_its_own_length(tmp_path: Path) -> None:
    assert [header.size_sectors for header in headers_of(built(tmp_path, [Layer(TOP)], split=[4, 3, 1]), TOP)] == [
        4,
        3,
        1,
    ]


@pytest.mark.parametrize(("size", "version"), [(1 << 20, 1), (TIB, 1), (2 * TIB, 2), (3 * TIB, 2)])
def test_on_a_plain_root_the_version_follows_from_the_size(tmp_path: Path, size: int, version: int) -> None:
    state = built(tmp_path, [Layer(TOP, type="Plain", size_sectors=8)], size_sectors=size // 512, cluster_sectors=2048)
    (header,) = headers_of(state, TOP)
    assert (header.version, header.cluster_sectors, header.size_bytes) == (version, 2048, size)


def test_an_expanding_layer_further_down_counts_more_than_a_plain_root(tmp_path: Path) -> None:
    state = built(tmp_path, [Layer(ONE, type="Plain"), Layer(TWO, ONE), Layer(TOP, TWO)], version=2)
    assert headers_of(state, TWO)[0].version == headers_of(state, TOP)[0].version == 2


# Steps


def test_new_files_are_whole_and_on_the_medium_before_anybody_names_them(tmp_path: Path) -> None:
    state = built(tmp_path, [Layer(TOP)], split=[4, 4])
    created = new_images(state, ONE, base=TOP)
    paths = [f"{state.location.directory}/{name}" for name, _header in created]
    *steps, barrier = new_image_steps(state, created, like=TOP)
    assert barrier == Sync(files=tuple(paths), directories=(state.location.directory,))
    for number, (path, (_name, header)) in enumerate(zip(paths, created)):
        assert steps[2 * number] == CreateFile(path, header.data_start, like=state.layer(TOP)[number].path)
        assert steps[2 * number + 1] == WriteBytes(path, 0, pack_header(header))
    assert len(steps) == 4

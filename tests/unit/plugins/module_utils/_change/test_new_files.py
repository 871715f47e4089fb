# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._change.new_files import nothing_at, unused_names
from ansible_collections.vdisk.parallels.plugins.module_utils._change.new_layer import new_images
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.built import built
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, guid_of

ONE, TWO = guid_of(1), guid_of(2)


@pytest.fixture(name="state")
def _state(tmp_path: Path) -> BundleState:
    return built(tmp_path, [Layer(ONE), Layer(TOP, ONE)])


def names_of(state: BundleState, parent: str, *, base: str = TOP) -> Tuple[str, ...]:
    return tuple(name for name, _header in new_images(state, parent, base=base))


def test_names_are_those_of_parallels_desktop_and_the_same_on_every_run(state: BundleState, tmp_path: Path) -> None:
    (name,) = names_of(state, TWO)
    assert name.startswith("a.hdd.0.{") and name.endswith("}.hds")
    assert names_of(disks.state_of(OsPort(), str(tmp_path / "a.hdd")), TWO) == (name,)


def test_each_snapshot_has_names_of_its_own(state: BundleState) -> None:
    assert names_of(state, ONE) != names_of(state, TWO)
    assert unused_names(state, [0], "merged", ONE) != unused_names(state, [0], "layer on", ONE)


def test_the_parts_of_a_split_disk_have_the_same_name_but_for_the_number(tmp_path: Path) -> None:
    names = names_of(built(tmp_path, [Layer(TOP)], split=[4, 2, 2]), ONE)
    assert [name.split(".")[2] for name in names] == ["0", "1", "2"]
    assert len({name.split(".")[3] for name in names}) == 1


def test_a_name_in_the_bundle_is_passed_over(state: BundleState, tmp_path: Path) -> None:
    found = []
    for _round in range(4):
        found += names_of(disks.state_of(OsPort(), str(tmp_path / "a.hdd")), TWO)
        (tmp_path / "a.hdd" / found[-1]).touch()
    assert len(set(found)) == 4


def test_a_name_that_is_taken_in_one_part_is_taken_in_all(tmp_path: Path) -> None:
    state = built(tmp_path, [Layer(TOP)], split=[4, 4])
    names = names_of(state, ONE)
    (tmp_path / "a.hdd" / names[1]).touch()
    again = names_of(disks.state_of(OsPort(), str(tmp_path / "a.hdd")), ONE)
    assert not set(again) & set(names)


def test_the_name_of_an_image_is_passed_over_even_where_the_descriptor_writes_it_in_another_way(tmp_path: Path) -> None:
    (name,) = names_of(built(tmp_path, [Layer(TOP)]), ONE)
    for number, written in enumerate([name, f"./{name}"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert names_of(built(folder, [Layer(TOP, file=written)]), ONE) != (name,)


def test_a_link_to_an_image_has_a_name_that_is_taken(tmp_path: Path) -> None:
    (name,) = names_of(built(tmp_path, [Layer(TOP)]), ONE)
    other = built(tmp_path, [Layer(TOP, file="real.hds")], name="b.hdd")
    folder = other.location.directory
    linked = name.replace("a.hdd", "b.hdd")
    os.symlink("real.hds", os.path.join(folder, linked))
    text = Path(folder, "DiskDescriptor.xml").read_text(encoding="utf-8")
    Path(folder, "DiskDescriptor.xml").write_text(text.replace("real.hds", linked), encoding="utf-8")
    assert names_of(disks.state_of(OsPort(), folder), ONE) != (linked,)


def test_a_file_that_turns_up_where_a_new_one_should_go_makes_a_plan_stale(state: BundleState) -> None:
    assert nothing_at(state, ["x", "y"]) == (
        (f"{state.location.directory}/x", None),
        (f"{state.location.directory}/y", None),
    )

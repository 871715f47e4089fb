# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which snapshot a user means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import NoSuchSnapshot
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.names import snapshot_guid, wanted_guid
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import UID, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import build_hds

ONE, TWO, FAR = guid_of(1), guid_of(2), guid_of(77)


def disk(tmp_path: Path, name: str = "a.hdd", **options: Any) -> BundleState:
    layers = line_of_layers({}, {}, {})
    return disks.state_of(
        OsPort(),
        build_bundle(str(tmp_path / name), size_sectors=8, cluster_sectors=1, layers=layers, **options).directory,
    )


@pytest.fixture(name="state")
def _state(tmp_path: Path) -> BundleState:
    return disk(tmp_path)


def test_a_name_stands_for_the_same_guid_on_every_run(state: BundleState, tmp_path: Path) -> None:
    assert (
        snapshot_guid(state, "before")
        == snapshot_guid(disk(tmp_path, "copy.hdd"), "before")
        == guids.derive("snapshot", UID, "before")
    )
    assert guids.is_guid(snapshot_guid(state, "before"))


def test_other_names_and_other_disks_have_other_guids(state: BundleState, tmp_path: Path) -> None:
    text = (tmp_path / "a.hdd" / "DiskDescriptor.xml").read_text(encoding="utf-8")
    (tmp_path / "a.hdd" / "DiskDescriptor.xml").write_text(text.replace(UID, guid_of(99)), encoding="utf-8")
    other = disks.state_of(OsPort(), str(tmp_path / "a.hdd"))
    found = [
        snapshot_guid(state, "before"),
        snapshot_guid(state, "Before"),
        snapshot_guid(state, "before "),
        snapshot_guid(other, "before"),
    ]
    assert len(set(found)) == len(found)


def test_a_disk_without_a_uid_has_names_all_the_same(tmp_path: Path) -> None:
    build_hds(str(tmp_path / "a.hdd"), size_sectors=8, clusters={}, cluster_sectors=1)
    state = disks.state_of(OsPort(), str(tmp_path / "a.hdd"))
    assert snapshot_guid(state, "before") == guids.derive("snapshot", guids.NONE, "before")


@pytest.mark.parametrize("spelling", [ONE, ONE.upper(), ONE.strip("{}"), f" {ONE} "])
@pytest.mark.parametrize("vm_names", [{}, {TWO: "two"}])
def test_a_guid_means_the_snapshot_that_has_it(state: BundleState, spelling: str, vm_names: Any) -> None:
    assert wanted_guid(state, spelling, vm_names) == ONE


def test_a_guid_that_the_disk_lacks_is_itself(state: BundleState) -> None:
    assert wanted_guid(state, FAR.strip("{}").upper(), {}) == FAR


def test_a_name_of_the_machine_means_its_snapshot(state: BundleState) -> None:
    assert wanted_guid(state, "same", {TWO: "same", ONE: "other"}) == TWO


def test_of_several_with_that_name_the_one_of_this_disk_is_meant(state: BundleState) -> None:
    assert wanted_guid(state, "same", {FAR: "same", ONE: "same"}) == ONE


def test_a_name_that_several_snapshots_of_the_disk_have_is_refused(state: BundleState) -> None:
    with pytest.raises(NoSuchSnapshot) as caught:
        wanted_guid(state, "same", {ONE: "same", TWO: "same"})
    assert ONE in caught.value.message and TWO in caught.value.message


def test_a_snapshot_of_the_machine_that_the_disk_lacks_is_still_meant(state: BundleState) -> None:
    """That is how it is after the snapshot was deleted from the disk: the machine goes on naming it."""
    assert wanted_guid(state, "same", {FAR: "same"}) == FAR


def test_a_snapshot_that_was_taken_under_that_name_comes_first(tmp_path: Path) -> None:
    own = snapshot_guid(disk(tmp_path), "same")
    disks.take(OsPort(), str(tmp_path / "a.hdd"), own)
    assert wanted_guid(disks.state_of(OsPort(), str(tmp_path / "a.hdd")), "same", {FAR: "same"}) == own


def test_any_other_name_is_one_of_our_own(state: BundleState) -> None:
    assert wanted_guid(state, "before", {ONE: "one", FAR: "far"}) == snapshot_guid(state, "before")

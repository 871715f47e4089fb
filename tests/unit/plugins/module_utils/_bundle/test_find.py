# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from pathlib import Path
from typing import List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.find import bundles_in, disks_at
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    DiskError,
    IoFailure,
    NotFound,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle


class Locked(OsPort):
    """A host on which one directory may not be listed."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def list_directory(self, path: str) -> List[str]:
        if os.path.basename(path) == self._name:
            raise IoFailure("Cannot list", path=path)
        return super().list_directory(path)


@pytest.fixture(name="shelf")
def _shelf(tmp_path: Path) -> Path:
    """Bundles at several depths, one of them beside a link to it, one within another."""
    shelf = tmp_path / "shelf"
    for folder in ("a.pvm", "deep/er/b.pvm", "deep/plain.hdd-not", "c.hdd"):
        (shelf / folder).mkdir(parents=True)
    for bundle in ("a.pvm/two.hdd", "a.pvm/one.hdd", "deep/er/b.pvm/three.hdd", "lone.hdd", "lone.hdd/nested"):
        build_bundle(str(shelf / bundle), size_sectors=2048, images=False)
    (shelf / "link.hdd").symlink_to(shelf / "lone.hdd")
    (shelf / "up").symlink_to(shelf)
    return shelf


def names(shelf: Path, *, recurse: bool) -> List[str]:
    return [os.path.relpath(found, shelf) for found in bundles_in(OsPort(), str(shelf), recurse=recurse)]


def test_a_directory_stands_for_its_bundles_and_those_of_its_machines(shelf: Path) -> None:
    assert names(shelf, recurse=False) == ["a.pvm/one.hdd", "a.pvm/two.hdd", "lone.hdd"]


def test_with_recursion_all_are_found_but_none_within_a_bundle_or_behind_a_link(shelf: Path) -> None:
    assert names(shelf, recurse=True) == ["a.pvm/one.hdd", "a.pvm/two.hdd", "deep/er/b.pvm/three.hdd", "lone.hdd"]


def test_a_machine_stands_for_its_bundles(shelf: Path) -> None:
    assert names(shelf / "a.pvm", recurse=False) == ["one.hdd", "two.hdd"]


@pytest.mark.parametrize("name", ["lone.hdd", "lone.hdd/DiskDescriptor.xml", "lone.hdd/lone.hdd", "link.hdd"])
def test_a_bundle_or_a_file_stands_for_itself(shelf: Path, name: str) -> None:
    path = str(shelf / name)
    assert bundles_in(OsPort(), path, recurse=True) == [path]


def test_nothing_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        bundles_in(OsPort(), str(tmp_path / "gone"), recurse=False)


def test_an_endless_tree_is_searched_to_a_limit(tmp_path: Path) -> None:
    build_bundle(str(tmp_path / "near.hdd"), size_sectors=2048, images=False)
    folder = str(tmp_path)
    for _level in range(60):
        folder = os.path.join(folder, "d")
        os.mkdir(folder)
    build_bundle(os.path.join(folder, "far.hdd"), size_sectors=2048, images=False)
    assert names(tmp_path, recurse=True) == ["near.hdd"]


def test_a_directory_that_cannot_be_listed_is_named_among_the_disks(shelf: Path) -> None:
    found = bundles_in(Locked("a.pvm"), str(shelf), recurse=True)
    assert [os.path.relpath(path, shelf) for path in found] == ["a.pvm", "deep/er/b.pvm/three.hdd", "lone.hdd"]
    with pytest.raises(DiskError):
        bundles_in(Locked("shelf"), str(shelf), recurse=True)


def test_disks_at_several_paths_are_there_once_whatever_leads_to_them(tmp_path: Path) -> None:
    root = Path(os.path.realpath(tmp_path))
    disk = root / "vms" / "a.hdd"
    disk.parent.mkdir()
    build_bundle(str(disk), size_sectors=64, cluster_sectors=8)
    (disk / "a.hdd").touch()
    (root / "link.hdd").symlink_to(disk)
    ways = [disk, root, disk / "DiskDescriptor.xml", disk / "a.hdd", root / "link.hdd"]
    for way in ways:
        assert len(disks_at(OsPort(), [str(disk), str(way)], recurse=True).disks) == 1
    found = disks_at(OsPort(), [str(root), str(root / "none"), str(root / "vms")], recurse=False)
    assert found.disks == (str(disk),)
    assert [(path, error.code) for path, error in found.failed] == [
        (str(root), "not_a_bundle"),
        (str(root / "none"), "not_found"),
    ]

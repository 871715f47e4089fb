# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""File names in a bundle."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle import naming
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids

GUID = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"


def test_an_image_is_named_as_parallels_desktop_names_it() -> None:
    assert (
        naming.image_name("expanding.hdd", 0, guids.TOP) == "expanding.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds"
    )


def test_a_directory_without_the_ending_gives_names_with_it() -> None:
    assert naming.image_name("mac", 3, GUID) == "mac.hdd.3." + GUID + ".hds"
    assert naming.marker_name("mac") == "mac.hdd"


@pytest.mark.parametrize(
    ("base", "name"), [("mac.hdd", "mac"), ("MAC.HDD", "MAC"), ("mac", "mac"), (".hdd", ".hdd"), ("a.hdd.hdd", "a.hdd")]
)
def test_the_name_of_a_disk_is_its_directory_without_the_ending(base: str, name: str) -> None:
    assert naming.without_suffix(base) == name


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("DiskDescriptor.xml", "descriptor"),
        ("DiskDescriptor.xml.Backup", "backup"),
        ("mac.hdd", "marker"),
        ("mac.hdd.0." + GUID + ".hds", "image"),
        ("root.hds", "image"),
        ("root.hds." + GUID, "image"),
        ("mac.hdd.drh", "companion"),
        (".DS_Store", "companion"),
        ("._root.hds", "companion"),
        ("DiskDescriptor.xml.lck", "lock"),
        ("DiskDescriptor.xml.tmp", "ploop_leftover"),
        ("root.hds.idx", "ploop_leftover"),
        (".statfs", "ploop_leftover"),
        ("root.hds.mnt", "ploop_leftover"),
        (".vdisk-journal", "ours"),
        (".vdisk-journal-old.hdd", "ours"),
        (naming.temporary_name("DiskDescriptor.xml", "7"), "ours"),
        (naming.temporary_name("root.hds", "7"), "ours"),
        (naming.temporary_name(naming.JOURNAL, "7"), "ours"),
        ("notes.txt", "foreign"),
        ("notes." + GUID, "foreign"),
        (".notes.tmp", "foreign"),
        ("mac.vdisk-7.tmp", "foreign"),
        ("diskdescriptor.xml", "foreign"),
    ],
)
def test_every_kind_of_name_is_told_apart(name: str, kind: str) -> None:
    assert naming.classify(name) == kind


def test_a_temporary_name_belongs_to_its_final_name_alone() -> None:
    name = naming.temporary_name("a.hds", "77")
    assert name == ".a.hds.vdisk-77.tmp"
    assert naming.is_temporary_of(name, "a.hds")
    assert not naming.is_temporary_of(name, "a")
    assert not naming.is_temporary_of(naming.temporary_name("a.vdisk-x", "77"), "a")
    assert not naming.is_temporary_of(".a.hds.vdisk-.tmp", "a.hds")


def test_a_name_that_a_descriptor_can_hold() -> None:
    assert naming.writable("größe?.hdd") == "größe?.hdd"
    assert naming.writable("b\udcff\udce9.hdd") == "b__.hdd"
    assert naming.image_name("b\udcff.hdd", 0, "{X}") == "b_.hdd.0.{X}.hds"

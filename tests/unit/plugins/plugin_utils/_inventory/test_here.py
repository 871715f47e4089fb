# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The disks of the controller itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="the glue needs ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, NotFound
from ansible_collections.vdisk.parallels.plugins.plugin_utils._inventory.here import disks_here
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle
from ansible_collections.vdisk.parallels.tests.support.farm import break_down, machine


def test_disks_are_described_and_nothing_is_changed(root: str) -> None:
    built = machine(f"{root}/mac.pvm")
    before = {name: os.stat(f"{built.directory}/{name}").st_mtime_ns for name in os.listdir(built.directory)}
    told = disks_here([root], recurse=True, check=False)
    assert (told.host, told.failed, told.message) == ("localhost", [], None)
    assert [(one["path"], one["vm"]["name"], "check" in one) for one in told.disks] == [(built.directory, "Mac", False)]
    assert {name: os.stat(f"{built.directory}/{name}").st_mtime_ns for name in os.listdir(built.directory)} == before


def test_a_check_finds_what_facts_do_not_say(root: str) -> None:
    built = machine(f"{root}/mac.pvm")
    image = next(iter(built.files.values()))
    os.truncate(image, os.path.getsize(image) + (1 << 20))
    (disk,) = disks_here([f"{root}/mac.pvm"], recurse=False, check=True).disks
    assert "leak_tail" in [one["code"] for one in disk["check"]["findings"]]


@pytest.mark.parametrize("check", [False, True])
def test_a_bad_disk_does_not_stop_the_others(root: str, check: bool) -> None:
    break_down(machine(f"{root}/bad.pvm"))
    good = machine(f"{root}/good.pvm")
    told = disks_here([root], recurse=True, check=check)
    assert [one["path"] for one in told.disks] == [good.directory]
    assert [(one["path"], one["error_code"]) for one in told.failed] == [(f"{root}/bad.pvm/a.hdd", "damaged")]
    assert ("descriptor_unreadable" in [one["code"] for one in told.failed[0]["findings"]]) is check


def test_a_path_that_leads_nowhere_is_an_error(root: str) -> None:
    with pytest.raises(NotFound):
        disks_here([f"{root}/none"], recurse=True, check=False)
    with pytest.raises(BadRequest):
        disks_here([" "], recurse=True, check=False)


def test_a_folder_without_disks_is_named(root: str) -> None:
    os.mkdir(f"{root}/empty")
    told = disks_here([f"{root}/empty"], recurse=True, check=False)
    assert told.disks == [] and f"{root}/empty" in str(told.message)


def test_a_disk_that_several_paths_name_is_there_once(root: str) -> None:
    built = build_bundle(f"{root}/a.hdd", size_sectors=2048)
    told = disks_here([root, built.directory, f"{built.directory}/DiskDescriptor.xml"], recurse=True, check=False)
    assert [one["path"] for one in told.disks] == [built.directory]


def test_names_that_are_not_utf8_can_be_shown(root: str) -> None:
    try:
        os.mkdir(os.fsencode(root) + b"/\xff")
    except OSError:
        pytest.skip("this file system has no such names")
    build_bundle(str(Path(os.fsdecode(os.fsencode(root) + b"/\xff"), "a.hdd")), size_sectors=2048)
    (disk,) = disks_here([root], recurse=True, check=True).disks
    assert disk["path"] == f"{root}/\\xff/a.hdd"

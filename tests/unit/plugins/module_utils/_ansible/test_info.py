# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.info import describe_disks
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, Layer, build_bundle
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.tasks import Failed, Task

MIB = 1 << 20
DISK = dict(size_sectors=2048 * 4, layers=[Layer(TOP, clusters={0: fill(0, MIB), 2: bytes(MIB)})])


def described(**options: Any) -> dict:
    usual = dict(recurse=False, allow_outside=False, scan="metadata", checksum="none")
    return describe_disks(Task(**{**usual, **options}))  # type: ignore[arg-type]


def test_every_path_stands_for_its_disks(root: str, path: str, built: object) -> None:
    os.mkdir(f"{root}/deep")
    build_bundle(f"{root}/deep/b.hdd", **DISK)  # type: ignore[arg-type]
    result = described(paths=[root, f"{root}/none.hdd"], recurse=True)
    assert [(one["path"], one["exists"]) for one in result["disks"]] == [
        (path, True),
        (f"{root}/deep/b.hdd", True),
        (f"{root}/none.hdd", False),
    ]
    assert (result["totals"]["disks"], result["failed_disks"], result["changed"]) == (2, [], False)


def test_a_disk_that_cannot_be_described_is_one_failure_among_others(root: str, path: str, built: object) -> None:
    build_bundle(f"{root}/bad.hdd", size_sectors=2048)
    with open(f"{root}/bad.hdd/DiskDescriptor.xml", "w", encoding="utf-8") as stream:
        stream.write("<broken")
    result = described(paths=[path, f"{root}/bad.hdd"])
    assert [one["path"] for one in result["disks"]] == [path]
    assert [(one["path"], bool(one["error_code"])) for one in result["failed_disks"]] == [(f"{root}/bad.hdd", True)]
    with pytest.raises(Failed) as caught:
        described(path=f"{root}/bad.hdd")
    assert caught.value.result["failed_disks"][0]["path"] == f"{root}/bad.hdd"


def test_scan_checksum_and_map_are_only_there_when_asked_for(path: str, built: object) -> None:
    (plain,) = described(path=path)["disks"]
    assert plain.get("checksum") is None and plain.get("map") is None and plain["reclaimable"]["zero"] is None
    (full,) = described(path=path, scan="zeros", checksum="sha256", map=4)["disks"]
    assert full["reclaimable"]["zero"] == MIB and len(full["checksum"]) == 64
    assert full["map"]["layers"][0]["used_clusters"] == [1, 0, 1, 0]


def test_a_folder_without_a_disk_suggests_to_look_deeper(root: str) -> None:
    os.makedirs(f"{root}/vms/deep")
    build_bundle(f"{root}/vms/deep/a.hdd", **DISK)  # type: ignore[arg-type]
    with pytest.raises(Failed) as caught:
        described(path=f"{root}/vms")
    assert caught.value.result["error_code"] == "not_a_bundle" and "recurse: true" in caught.value.result["msg"]
    assert len(described(path=f"{root}/vms", recurse=True)["disks"]) == 1

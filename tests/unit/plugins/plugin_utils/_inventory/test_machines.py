# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the facts of disks to machines."""

from __future__ import annotations

import json
from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.plugin_utils._inventory.machines import machines_of
from ansible_collections.vdisk.parallels.tests.support.reports import GIB, disk, finding, snapshot

VM = {"name": "Mac", "uuid": "{u}", "os": "macos", "config": "/v/mac.pvm/config.pvs", "suspended": False}


def machines(*disks: Dict[str, Any], failed: Any = (), by_disk: bool = False) -> List[Dict[str, Any]]:
    return machines_of("h", disks, failed, by_disk=by_disk)


def test_the_disks_of_a_machine_are_together() -> None:
    (mac,) = machines(
        disk("/v/mac.pvm/b.hdd", vm={**VM, "size_mismatch": False}, depth=3),
        disk("/v/mac.pvm/a.hdd", vm=VM, snapshots=[snapshot("{1}"), snapshot("{2}", name="x")]),
    )
    assert (mac["name"], mac["host"], mac["path"], mac["machine"]) == ("Mac", "h", "/v/mac.pvm", "/v/mac.pvm")
    assert (mac["uuid"], mac["os"], mac["state"], mac["attention"]) == ("{u}", "macos", "clean", [])
    assert [one["path"] for one in mac["disks"]] == ["/v/mac.pvm/a.hdd", "/v/mac.pvm/b.hdd"]
    assert [(one["layers"], one["snapshots"], one["orphan_layers"]) for one in mac["disks"]] == [(1, 2, 1), (3, 0, 0)]
    assert (mac["virtual_size"], mac["file_size"], mac["reclaimable"]) == (128 * GIB, 20 * GIB, 2 * GIB)
    assert mac["orphan_layers"] == 1


def test_machines_are_plain_data() -> None:
    found = machines(disk("/a.hdd"), failed=[{"path": "/b.hdd", "error_code": "damaged", "msg": "m"}])
    assert json.loads(json.dumps(found)) == found


def test_a_disk_without_a_machine_stands_alone() -> None:
    (alone,) = machines(disk("/images/base.hdd"))
    assert (alone["name"], alone["path"], alone["machine"], alone["os"]) == ("base", "/images/base.hdd", None, None)
    assert alone["disks"][0]["orphan_layers"] is None


def test_a_machine_whose_configuration_is_gone_is_known_by_its_folder() -> None:
    (mac,) = machines(disk("/v/mac.PVM/sub/a.hdd"))
    assert (mac["name"], mac["path"]) == ("mac", "/v/mac.PVM")


def test_each_disk_alone() -> None:
    found = machines(disk("/v/mac.pvm/a.hdd", vm=VM), disk("/v/mac.pvm/b.hdd", vm=VM), disk("/c.hdd"), by_disk=True)
    assert [(one["name"], one["path"], one["machine"]) for one in found] == [
        ("c", "/c.hdd", None),
        ("Mac_a", "/v/mac.pvm/a.hdd", "/v/mac.pvm"),
        ("Mac_b", "/v/mac.pvm/b.hdd", "/v/mac.pvm"),
    ]


@pytest.mark.parametrize(
    ("facts", "state", "attention"),
    [
        ({}, "clean", []),
        ({"state": "in_use"}, "in_use", []),
        ({"state": "dirty"}, "dirty", ["image_dirty"]),
        ({"vm": {**VM, "suspended": True}}, "suspended", []),
        ({"state": "in_use", "vm": {**VM, "suspended": True}}, "in_use", []),
        ({"state": "strange"}, "unreadable", []),
        ({"vm": {**VM, "size_mismatch": True}}, "clean", ["vm_size"]),
        ({"orphan_files": ["x.hds"]}, "clean", ["orphan_file"]),
        ({"leftovers": [".vdisk-journal"]}, "clean", ["interrupted"]),
        ({"leftovers": [".vdisk-journal-a.hds", ".x.vdisk-1.tmp"]}, "clean", ["interrupted", "leftover_ours"]),
        ({"leftovers": ["DiskDescriptor.xml.tmp"]}, "clean", ["leftover_ploop"]),
        ({"check": {"error_code": "io_error", "findings": []}}, "clean", ["io_error"]),
        (
            {
                "check": {
                    "findings": [finding("vm_size", "warning"), finding("geometry", "info"), finding("x", "error")]
                }
            },
            "clean",
            ["vm_size", "x"],
        ),
        ({"check": {"findings": [{**finding("x", "error"), "repaired": True}]}}, "clean", []),
    ],
)
def test_the_state_and_what_needs_attention(facts: Dict[str, Any], state: str, attention: List[str]) -> None:
    (one,) = machines(disk("/a.hdd", **facts))
    assert (one["state"], one["attention"]) == (state, attention)
    assert one["disks"][0]["attention"] == attention


def test_a_disk_that_cannot_be_read_needs_attention() -> None:
    failure = {"path": "/v/mac.pvm/a.hdd", "error_code": "damaged", "msg": "bad", "findings": [finding("x", "error")]}
    (mac,) = machines(disk("/v/mac.pvm/b.hdd", vm=VM), failed=[failure])
    assert (mac["name"], mac["state"], mac["attention"]) == ("Mac", "unreadable", ["damaged", "x"])
    assert [(one["state"], one["message"]) for one in mac["disks"]] == [("unreadable", "bad"), ("clean", None)]


def test_what_is_used_comes_before_what_cannot_be_read() -> None:
    (mac,) = machines(disk("/v/mac.pvm/b.hdd", vm=VM, state="in_use"), failed=[{"path": "/v/mac.pvm/a.hdd"}])
    assert (mac["state"], mac["attention"]) == ("in_use", ["io_error"])


def test_what_does_not_exist_is_no_machine() -> None:
    assert machines({"path": "/x.hdd", "exists": False}) == []

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.descriptor import Shot
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.pvm import VmFacts, VmReport, VmSnapshot
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.tree import build_tree
from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.machine import DiskFacts, examine_vm
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of

TREE = build_tree((Shot(guids.TOP, guid_of(1)), Shot(guid_of(1), guids.NONE)), declared_top=None, path="/d")
SNAPSHOT = VmSnapshot("one", "poweroff", True, "")


def codes(*, warnings=(), size=1 << 20, disk_suspended=False, tree=TREE, facts=True, kind="expanding", **fields):
    known = {
        "name": "m",
        "uuid": None,
        "config": "/m/config.pvs",
        "disk_index": 0,
        "config_size_mib": 1,
        "interface": None,
        "suspended": False,
    }
    vm = VmFacts(**{**known, "snapshots": {guid_of(1): SNAPSHOT}, **fields}) if facts else None
    found = examine_vm(VmReport(vm, tuple(warnings)), DiskFacts("/m/a.hdd", size, disk_suspended, tree, kind=kind))
    return [one.code for one in found]


def test_a_machine_that_fits_is_no_finding():
    assert codes() == []
    assert codes(facts=False) == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"facts": False, "warnings": ["what"]}, ["vm_unclear"]),
        ({"warnings": ["not named"]}, ["vm_disk_not_named"]),
        ({"warnings": ["unclear"], "snapshots_known": False}, ["vm_unclear"]),
        ({"warnings": ["not named", "unclear"], "snapshots_known": False}, ["vm_disk_not_named", "vm_unclear"]),
        ({"suspended": True}, ["vm_suspended"]),
        ({"disk_suspended": True, "facts": False}, ["vm_suspended"]),
        ({"config_size_mib": 2}, ["vm_size"]),
        ({"config_size_mib": 2, "size": None}, []),
        ({"config_size_mib": None}, []),
        ({"config_kind": "plain"}, ["vm_disk_type"]),
        ({"config_kind": "expanding"}, []),
        ({"config_kind": "plain", "kind": None}, []),
        ({"snapshots": {}}, ["layer_without_vm_snapshot"]),
        ({"snapshots": {guid_of(1): SNAPSHOT, guid_of(2): SNAPSHOT}}, ["vm_snapshot_without_layer"]),
        ({"snapshots": {}, "tree": None}, []),
    ],
)
def test_each_difference_is_named(options, expected):
    assert codes(**options) == expected

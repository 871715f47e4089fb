# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules tell of a disk."""

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.pvm import VmFacts, VmReport, VmSnapshot
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.report.facts import absent_facts, disk_facts, totals
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.disks import TOP
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd"
ONE, TWO = guid_of(1), guid_of(2)
CLUSTER = disks.SMALL_CLUSTER


@pytest.fixture(name="port")
def port_fixture(port: MemoryPort) -> MemoryPort:
    disks.new_disk(port, PATH)
    return port


def facts(port: Any, **options: Any) -> Dict[str, Any]:
    return disk_facts(port, disks.state_of(port, PATH), **options)


def test_the_facts_of_a_new_disk(port: MemoryPort) -> None:
    found = facts(port)
    layer = found.pop("layers")
    assert found == {
        "path": PATH,
        "name": "a",
        "uid": disks.UID,
        "exists": True,
        "format": "bundle",
        "type": "expanding",
        "split": False,
        "format_version": 1,
        "virtual_size": 8 * CLUSTER,
        "cluster_size": CLUSTER,
        "geometry": {"cylinders": 1, "heads": 16, "sectors": 32},
        "encrypted": False,
        "file_size": CLUSTER,
        "allocated_size": 4096,
        "used_size": 0,
        "state": "clean",
        "locks": [],
        "snapshots": [],
        "depth": 1,
        "clones": None,
        "orphan_files": [],
        "leftovers": [],
        "backup_differs": None,
        "reclaimable": {"leaked": 0, "zero": None, "equal": None, "free_in_filesystem": None},
        "vm": None,
        "warnings": [],
    }
    path = disks.file_of(port, PATH)
    file = {
        "path": path,
        "storage": 0,
        "type": "expanding",
        "size": CLUSTER,
        "allocated": 4096,
        "used_clusters": 0,
        "in_use": False,
    }
    assert layer == [{"guid": TOP, "files": [file], "outside": False}]


def test_a_disk_that_does_not_exist_has_a_path_only() -> None:
    assert absent_facts("/x") == {"path": "/x", "exists": False}


def test_clusters_in_use_and_leaked_ones_are_told_apart(port: MemoryPort) -> None:
    disks.write(port, PATH, 0, b"x" * 3 * CLUSTER)
    disks.leak(port, PATH, index=1)
    found = facts(port)
    assert (found["used_size"], found["reclaimable"]["leaked"], found["file_size"]) == (
        2 * CLUSTER,
        CLUSTER,
        4 * CLUSTER,
    )
    assert found["reclaimable"] == {
        "leaked": CLUSTER,
        "zero": None,
        "equal": None,
        "free_in_filesystem": None,
    }


def test_snapshots_know_their_neighbours(port: MemoryPort) -> None:
    disks.take(port, PATH, ONE)
    disks.take(port, PATH, TWO)
    disks.switch(port, PATH, ONE, kept_as=guid_of(3))
    found = {one["guid"]: one for one in facts(port)["snapshots"]}
    assert set(found) == {ONE, TWO, guid_of(3)}
    assert (found[ONE]["parent"], found[ONE]["children"], found[ONE]["depth"], found[ONE]["current"]) == (
        None,
        [TWO],
        1,
        True,
    )
    assert (found[TWO]["parent"], found[TWO]["children"], found[TWO]["depth"], found[TWO]["current"]) == (
        ONE,
        [guid_of(3)],
        2,
        False,
    )
    assert [layer["guid"] for layer in facts(port)["layers"]] == [TOP, ONE]


@pytest.mark.parametrize("kind, state", [("write", "in_use"), ("flock", "in_use"), ("read", "clean")])
def test_who_holds_the_disk_decides_whether_it_is_in_use(port: MemoryPort, kind: str, state: str) -> None:
    port.plant_holder(disks.file_of(port, PATH), Holder(kind, "somebody"))
    found = facts(port)
    assert (found["state"], found["locks"]) == (state, [{"kind": kind, "owner": "somebody"}])


def test_a_mark_without_a_holder_makes_a_disk_dirty(port: MemoryPort) -> None:
    disks.marked_in_use(port, PATH)
    assert facts(port)["state"] == "dirty"
    assert facts(port)["layers"][0]["files"][0]["in_use"]


def test_a_snapshot_over_a_plain_root_makes_the_disk_mixed(port: MemoryPort) -> None:
    disks.new_disk(port, "/vm/p.hdd", kind="plain", size=CLUSTER + 512)
    found = disk_facts(port, disks.state_of(port, "/vm/p.hdd"))
    assert (found["type"], found["format_version"], found["used_size"], found["cluster_size"]) == (
        "plain",
        None,
        CLUSTER + 512,
        CLUSTER,
    )
    disks.take(port, "/vm/p.hdd", ONE)
    assert disk_facts(port, disks.state_of(port, "/vm/p.hdd"))["type"] == "mixed"


def test_other_files_are_told_by_what_they_are(port: MemoryPort) -> None:
    for name in ("orphan.hds", ".x.vdisk-1.tmp", "DiskDescriptor.xml.tmp", "notes.txt"):
        port.plant_file(f"{PATH}/{name}", b"x")
    found = facts(port)
    assert found["orphan_files"] == ["orphan.hds"]
    assert sorted(found["leftovers"]) == [".x.vdisk-1.tmp", "DiskDescriptor.xml.tmp"]


def test_a_backup_of_the_descriptor_is_compared(port: MemoryPort) -> None:
    port.plant_file(f"{PATH}/DiskDescriptor.xml.Backup", port.content(f"{PATH}/DiskDescriptor.xml"))
    assert facts(port)["backup_differs"] is False
    port.plant_file(f"{PATH}/DiskDescriptor.xml.Backup", b"older")
    assert facts(port)["backup_differs"] is True
    port.plant_other(f"{PATH}/DiskDescriptor.xml.Backup")
    assert facts(port)["backup_differs"] is True


def test_an_interrupted_run_is_told(port: MemoryPort) -> None:
    port.plant_file(
        f"{PATH}/.vdisk-journal",
        (
            b'{"version": 1, "operation": "merge", "phase": "apply", "created": [], "discarded": [], "images": '
            b'[], "request": {}}'
        ),
    )
    assert any("interrupted" in text and f"{PATH}/.vdisk-journal" in text for text in facts(port)["warnings"])


def test_the_machine_around_the_disk_is_told(port: MemoryPort) -> None:
    disks.take(port, PATH, ONE)
    disks.take(port, PATH, TWO)
    vm = VmFacts(
        "vm",
        "{u}",
        "/vm/config.pvs",
        0,
        7,
        "sata",
        False,
        {ONE: VmSnapshot("before", "poweroff", True, "2026-01-01 00:00:00")},
    )
    found = facts(port, machine=VmReport(vm))
    assert found["vm"] == {
        "name": "vm",
        "uuid": "{u}",
        "config": "/vm/config.pvs",
        "os": None,
        "suspended": False,
        "disk_index": 0,
        "size_mismatch": True,
    }
    assert [(one["guid"], one["name"], one["vm_snapshot"]) for one in found["snapshots"]] == [
        (TWO, None, False),
        (ONE, "before", True),
    ]


def test_sums_are_over_the_disks_that_exist(port: MemoryPort) -> None:
    disks.take(port, PATH, ONE)
    one = facts(port)
    one["reclaimable"].update(zero=5)
    found = totals([one, one, absent_facts("/x")])
    assert found == {
        "disks": 2,
        "virtual_size": 16 * CLUSTER,
        "file_size": 4 * CLUSTER,
        "allocated_size": 2 * one["allocated_size"],
        "used_size": 0,
        "snapshots": 2,
        "reclaimable": 10,
    }
    assert totals([])["disks"] == 0


def test_looking_changes_nothing(port: MemoryPort) -> None:
    before = len(port.effects)
    facts(port)
    assert len(port.effects) == before
    assert not any(port.opened.values())

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.snapshot import ensure_snapshot
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, NoSuchSnapshot
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.tasks import Task

MIB = 1 << 20
ONE = guid_of(1)
DISK = dict(size_sectors=2048 * 4, layers=line_of_layers({0: fill(0, MIB)}, {1: fill(1, MIB)}))


def asked(path: str, state: str = "present", **options: Any) -> dict:
    return ensure_snapshot(Task(path=path, state=state, **{"force": False, "descendants": "keep", **options}))  # type: ignore[arg-type]


def test_a_snapshot_is_taken_found_again_gone_back_to_and_deleted(path: str, built: object) -> None:
    taken = asked(path, name="new")
    guid = taken["snapshot"]["guid"]
    assert taken["changed"] and taken["snapshot"]["name"] == "new"
    assert not asked(path, guid=guid)["changed"]
    assert asked(path, "reverted", guid=ONE)["changed"]
    gone = asked(path, "absent", guid=guid)
    assert gone["changed"] and gone["snapshot"]["guid"] == guid and gone["freed"] > 0
    assert not asked(path, "absent", guid=guid)["changed"]


def test_a_snapshot_that_never_was_is_described_by_its_name(path: str, built: object) -> None:
    described = asked(path, "absent", name="none")["snapshot"]
    assert (described["name"], described["depth"], described["parent"], described["children"]) == (
        "none",
        None,
        None,
        [],
    )
    with pytest.raises(NoSuchSnapshot):
        asked(path, "reverted", name="none")


def test_a_name_that_only_the_machine_has_is_not_taken_again(root: str) -> None:
    path = f"{root}/a.pvm/a.hdd"
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=4, snapshots={guid_of(7): "elsewhere"})
    build_bundle(path, **DISK)  # type: ignore[arg-type]
    with pytest.raises(NoSuchSnapshot):
        asked(path, name="elsewhere")
    assert asked(path, guid=guid_of(7))["changed"]


@pytest.mark.parametrize("options", [{"guid": "no guid"}, {"name": " "}])
def test_what_names_no_snapshot_is_refused_before_the_disk_is_looked_at(options: dict) -> None:
    with pytest.raises(BadRequest):
        asked("/none.hdd", **options)

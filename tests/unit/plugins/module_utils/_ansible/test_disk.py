# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.disk import change_disk, open_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._change.bundle_plan import ChangeFacts, unchanged
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, StalePlan
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import PREPARE, Journal, pack_journal
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.rename import plan_rename
from ansible_collections.vdisk.parallels.tests.support.bundles import TOP, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import tree
from ansible_collections.vdisk.parallels.tests.support.tasks import Task

ONE = guid_of(1)
DISK = dict(size_sectors=2048, layers=line_of_layers({}, {}))


def interrupted(path: str) -> None:
    with open(f"{path}/.vdisk-journal", "wb") as stream:
        stream.write(pack_journal(Journal("merge", PREPARE, request={})))


def test_names_of_snapshots_are_those_of_the_machine(root: str) -> None:
    make_machine(f"{root}/a.pvm", disk="a.hdd", snapshots={ONE: "before", guid_of(7): ""})
    build_bundle(f"{root}/a.pvm/a.hdd", **DISK)  # type: ignore[arg-type]
    disk = open_disk(Task(path=f"{root}/a.pvm/a.hdd"))  # type: ignore[arg-type]
    assert disk.machine.snapshot_names == {ONE: "before"}
    assert disk.facts()["vm"]["name"] == "Mac"


def test_a_disk_outside_of_a_machine_has_no_names(path: str, built: object) -> None:
    disk = open_disk(Task(path=path))  # type: ignore[arg-type]
    assert (disk.machine.snapshot_names, disk.machine.facts, disk.recovered) == ({}, None, ())


def test_what_an_earlier_run_left_is_ended_first_but_not_in_check_mode(root: str, path: str, built: object) -> None:
    interrupted(path)
    before = tree(root)
    disk = open_disk(Task(path=path, check=True))  # type: ignore[arg-type]
    assert tree(root) == before and not disk.recovered and "interrupted" in " ".join(disk.warnings)
    disk = open_disk(Task(path=path))  # type: ignore[arg-type]
    assert disk.recovered and ".vdisk-journal" not in os.listdir(path)


def test_a_change_is_reported_with_what_differs(root: str, path: str, built: object) -> None:
    for check in (True, False):
        before = tree(root)
        task = Task(path=path, check=check)
        result, plan, _disk = change_disk(task, lambda disk: plan_rename(disk.state, "other"))  # type: ignore[arg-type]
        assert result["changed"] and (tree(root) == before) is check
        assert (result["diff"]["before"]["name"], result["diff"]["after"]["name"]) == ("a", "other")
        assert result["disk"]["name"] == "other"
    result, plan, _disk = change_disk(Task(path=path), lambda disk: unchanged("x", ChangeFacts(disk.state)))  # type: ignore[arg-type]
    assert not result["changed"] and result["diff"]["before"] == result["diff"]["after"] == {}


def test_a_disk_that_changes_while_it_is_looked_at_is_stale_and_not_damaged(path: str, built: object) -> None:
    def planner(disk: object) -> Plan:
        os.truncate(built.files[(0, TOP)], 1 << 21)  # type: ignore[attr-defined]
        raise BadRequest("seems to be damaged")

    with pytest.raises(StalePlan):
        change_disk(Task(path=path), planner)  # type: ignore[arg-type]


def test_what_cannot_be_predicted_says_why(path: str, built: object) -> None:
    def planner(disk: object) -> Plan:
        raise BadRequest("no", hint="another hint")

    interrupted(path)
    with pytest.raises(BadRequest) as caught:
        change_disk(Task(path=path, check=True), planner)  # type: ignore[arg-type]
    assert "cannot be predicted" in str(caught.value.hint)

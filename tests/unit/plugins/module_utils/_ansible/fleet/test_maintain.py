# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any, Dict

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.fleet import maintain as subject
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.fleet.maintain import maintain_disks
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.maintain.budget import Budget
from ansible_collections.vdisk.parallels.tests.support.farm import by_path, clone_of, machine
from ansible_collections.vdisk.parallels.tests.support.tasks import Failed, Task

USUAL = dict(
    recurse=True,
    exclude=[],
    clones_in=[],
    check_data=False,
    orphans=False,
    compact=True,
    scan="zeros",
    swap="keep",
    busy="skip",
    fail_on="failed",
    allow_outside=False,
    force=False,
)


def maintained(*, is_check: bool = False, **options: Any) -> Dict[str, Any]:
    task = Task(check=is_check, **{**USUAL, **options})
    # The option and the mode of the task have one name.
    task.params["check"] = True
    return maintain_disks(task)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_check", [True, False])
def test_the_time_is_no_limit_of_a_prediction(root: str, monkeypatch, is_check: bool) -> None:
    path = machine(f"{root}/a.pvm").directory
    now = [0.0]

    def clock() -> float:
        now[0] += 1000.0
        return now[0]

    monkeypatch.setattr(subject, "Budget", lambda *limits: Budget(*limits, clock=clock))
    result = maintained(paths=[root], max_duration=1, is_check=is_check)
    assert by_path(result) == {path: "changed" if is_check else "skipped"}
    assert result["unfinished"] == ([] if is_check else [path])


@pytest.mark.parametrize("option", ["max_duration", "max_bytes"])
def test_a_limit_of_nothing_is_refused(root: str, option: str) -> None:
    with pytest.raises(BadRequest) as caught:
        maintained(paths=[root], **{option: 0 if option == "max_duration" else "0"})
    assert option in str(caught.value)


def test_each_disk_is_visited_once_whatever_names_it(root: str) -> None:
    path = machine(f"{root}/a.pvm").directory
    os.symlink(path, f"{root}/link.hdd")
    result = maintained(paths=[root, path, f"{root}/link.hdd", f"{path}/DiskDescriptor.xml"])
    assert result["totals"]["disks"] == 1 and by_path(result) == {path: "changed"}


def test_a_failure_tells_all_that_was_done(root: str) -> None:
    path = machine(f"{root}/a.pvm").directory
    with pytest.raises(Failed) as caught:
        maintained(paths=[path, f"{root}/none"])
    failure = caught.value.result
    assert failure["error_code"] == "not_found" and failure["changed"] and by_path(failure) == {path: "changed"}


def test_a_clone_in_a_further_folder_keeps_its_parent(root: str) -> None:
    parent = machine(f"{root}/vms/a.pvm")
    clone_of(parent, f"{root}/clones/deep/b.hdd")
    result = maintained(paths=[parent.directory], clones_in=[f"{root}/clones", f"{root}/none"])
    assert by_path(result) == {parent.directory: "skipped"} and [f"{root}/none" in w for w in result["warnings"]] == [
        True
    ]
    assert by_path(maintained(paths=[parent.directory])) == {parent.directory: "changed"}

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
from typing import Any, Dict, List

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.fleet.each_disk import change_each, each_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle
from ansible_collections.vdisk.parallels.tests.support.module_runner import succeed, warnings
from ansible_collections.vdisk.parallels.tests.support.tasks import Failed, Task

NO_DIFF = {"before": {}, "after": {}}


class Subjects:
    def __init__(self) -> None:
        self.told: List[Any] = []

    def subject(self, *subject: Any) -> None:
        self.told.append(subject)


@pytest.fixture(name="shelf")
def _shelf(root: str) -> List[str]:
    paths = [f"{root}/deep/{name}.hdd" for name in "abc"]
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        build_bundle(path, size_sectors=64, cluster_sectors=8)
    return paths


def answer(path: str) -> Dict[str, Any]:
    """What a module would return for a disk; the second one is damaged, the third one changes."""
    if path.endswith("b.hdd"):
        raise Damaged("It is broken", path=path)
    is_third = path.endswith("c.hdd")
    diff = {"before": {"size": 2}, "after": {"size": 1}} if is_third else NO_DIFF
    return {"changed": is_third, "diff": diff, "bytes_read": 2, "elapsed": 0.5, "warnings": [path], "commits": [path]}


def test_one_disk_is_answered_as_it_always_was(shelf: List[str]) -> None:
    assert each_disk(Task(path=shelf[0], recurse=False), answer) == answer(shelf[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("by_path", [False, True])
def test_the_bad_disk_is_one_among_others_and_nobody_waits_for_it(root: str, shelf: List[str], by_path: bool) -> None:
    task = Task(recurse=True, **({"path": root} if by_path else {"paths": [root, shelf[0]]}))
    task.progress = Subjects()
    result = each_disk(task, answer)  # type: ignore[arg-type]
    assert [(one["path"], one["changed"], "diff" in one) for one in result["disks"]] == [
        (shelf[0], False, False),
        (shelf[2], True, False),
    ]
    assert [(one["path"], one["error_code"]) for one in result["failed_disks"]] == [(shelf[1], "damaged")]
    assert (result["changed"], result["bytes_read"], result["bytes_written"], result["elapsed"]) == (True, 4, 0, 1.0)
    assert result["diff"] == [answer(shelf[2])["diff"]]
    assert result["warnings"] == result["commits"] == [shelf[0], shelf[2]]
    assert task.progress.told == [(path, number, 3) for number, path in enumerate(shelf)]


def test_a_path_that_leads_to_no_disk_is_a_failure_with_advice(root: str, shelf: List[str]) -> None:
    task = Task(paths=[shelf[0], f"{root}/none", root], recurse=False)
    failed = each_disk(task, answer)["failed_disks"]  # type: ignore[arg-type]
    assert [(one["path"], one["error_code"]) for one in failed] == [
        (f"{root}/none", "not_found"),
        (root, "not_a_bundle"),
    ]
    assert "recurse: true" in failed[1]["msg"]


def test_a_change_of_several_disks_fails_at_the_end_with_all_its_results(root: str, shelf: List[str]) -> None:
    task = Task(path=root, recurse=True)
    with pytest.raises(Failed) as caught:
        change_each(task, answer)  # type: ignore[arg-type]
    failure = caught.value.result
    assert failure["msg"].startswith("1 of 3 disks failed.") and shelf[1] in failure["msg"]
    assert (failure["error_code"], failure["error_context"]["path"]) == ("damaged", shelf[1])
    assert failure["changed"] and len(failure["disks"]) == 2
    assert task.warnings == [shelf[0], shelf[2]]
    os.rename(shelf[1], f"{shelf[1]}-gone")
    os.remove(f"{shelf[1]}-gone/DiskDescriptor.xml")
    assert change_each(task, answer)["changed"]  # type: ignore[arg-type]


@pytest.mark.parametrize("module", ["hdd_info", "hdd_check", "hdd_merge", "hdd_compact", "hdd_maintain"])
def test_an_empty_list_of_paths_is_told(module: str) -> None:
    for check in (True, False):
        result = succeed(module, check=check, paths=[])
        assert result["disks"] == [] and not result["changed"]
        assert "the list is empty" in " ".join(warnings(result))

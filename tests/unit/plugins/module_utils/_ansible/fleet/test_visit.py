# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import fcntl
import os
import sys
from typing import Any, List

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.fleet.visit import Run, visit
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.maintain.budget import Budget
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.maintain.policy import Policy
from ansible_collections.vdisk.parallels.tests.support.farm import MIB, ONE, THREE, TWO, clone_of, machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import tree
from ansible_collections.vdisk.parallels.tests.support.table_reads import noted_reads, settled_images
from ansible_collections.vdisk.parallels.tests.support.tasks import Task

ALL = Policy(max_layers=1)
CHECK = Policy(compacts=False)


def run_of(policy: Policy = ALL, *, budget: Any = None, others: Any = (), **options: Any) -> Run:
    port = OsPort()
    task = Task(**{"busy": "skip", "facts": False, "map": 0, "allow_outside": policy.allow_outside, **options})
    return Run(task, port, policy, budget or Budget(None, None), others)  # type: ignore[arg-type]


def test_a_visit_does_it_all(root: str) -> None:
    built = machine(f"{root}/a.pvm")
    run = run_of()
    one = visit(run, built.directory)
    assert (one["outcome"], one["merged"], one["reclaimed"]) == ("changed", [ONE, TWO, THREE], MIB)
    assert one["after"]["layers"] == 1 and one["freed"] > 0 and isinstance(one["findings"], list)
    assert run.has_changed and run.budget.written == one["written"] > 0


def test_each_table_is_read_once_unless_its_file_changes(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built = machine(f"{root}/a.pvm")
    images, reads = settled_images(built.directory), noted_reads(monkeypatch)
    assert visit(run_of(CHECK), built.directory)["outcome"] == "unchanged"
    assert sorted(reads) == images
    reads.clear()
    # A file that has just been written is read again.
    os.utime(f"{built.directory}/{images[0]}")
    visit(run_of(CHECK), built.directory)
    assert sorted(reads) == sorted([images[0], *images])


def test_a_clone_that_comes_between_the_plan_and_the_change_is_seen(root: str) -> None:
    parent = machine(f"{root}/a.pvm")
    run = run_of()
    run.others.standing.look_around(f"{root}/a.pvm")
    clone = clone_of(parent, f"{root}/b.pvm/b.hdd")
    before = tree(root)
    one = visit(run, parent.directory)
    assert (one["outcome"], one["error_code"]) == ("skipped", "shared_layer") and clone in one["reason"]
    assert tree(root) == before and not run.has_changed


def test_a_clone_that_has_gone_meanwhile_keeps_nobody_from_anything(root: str) -> None:
    parent = machine(f"{root}/a.pvm")
    clone = clone_of(parent, f"{root}/far/b.pvm/b.hdd")
    run = run_of(others=[clone])
    os.rename(f"{root}/far", f"{root}/gone")
    os.remove(f"{root}/gone/b.pvm/b.hdd/DiskDescriptor.xml")
    assert visit(run, parent.directory)["outcome"] == "changed"


@pytest.mark.parametrize("exhausted_after, expected", [(0, "skipped"), (1, "changed")])
def test_a_limit_that_is_reached_is_told_by_the_disk_it_stops(root: str, exhausted_after: int, expected: str) -> None:
    built = machine(f"{root}/a.pvm")
    looks: List[int] = []

    class Tight(Budget):
        @property
        def exhausted(self) -> Any:
            looks.append(1)
            return "No more." if len(looks) > exhausted_after else None

    run = run_of(budget=Tight(None, None))
    one = visit(run, built.directory)
    assert (one["outcome"], one["reason"], one["reclaimed"]) == (expected, "No more.", 0)
    assert run.unfinished == [built.directory]


@pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells who holds a flock without taking it")
@pytest.mark.parametrize("checks", [True, False])
def test_a_held_disk_is_left_alone_with_and_without_a_check(root: str, checks: bool) -> None:
    built = machine(f"{root}/a.pvm")
    descriptor = os.open(next(iter(built.files.values())), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        before = tree(root)
        one = visit(run_of(Policy(checks=checks, max_layers=1), busy="predict"), built.directory)
        assert (one["outcome"], one["error_code"]) == ("skipped", "in_use") and str(os.getpid()) in one["reason"]
        assert one["worthwhile"] is True
        assert tree(root) == before
    finally:
        os.close(descriptor)


def test_a_path_that_has_gone_is_a_failure_of_its_own(root: str) -> None:
    assert visit(run_of(), f"{root}/none.hdd")["error_code"] == "not_found"

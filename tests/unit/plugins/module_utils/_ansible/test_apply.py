# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a task returns of a plan, and shows in diff mode."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Dict, List

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.apply import apply_plan, diff_of, draw_tree
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import InUse
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Cleanup, CreateFile, Plan, Rename
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PLAN = Plan(
    "test",
    (CreateFile("/vm/new.tmp", 512), Rename("/vm/new.tmp", "/vm/new")),
    bytes_written=512,
    cleanup=Cleanup(remove=("/vm/new.tmp",)),
    warnings=("a warning",),
)


def module(*, check: bool = False) -> Any:
    return SimpleNamespace(check_mode=check, progress=None)


def a_port() -> MemoryPort:
    port = MemoryPort()
    port.plant_directory("/vm")
    return port


def test_a_plan_is_applied_and_reported() -> None:
    port = a_port()
    result, outcome = apply_plan(module(), port, PLAN, recovered=("finished a merge",))
    assert outcome is not None and port.stat("/vm/new") is not None
    assert (result["changed"], result["warnings"]) == (True, ["finished a merge", "a warning"])


def test_check_mode_reports_what_the_plan_says_and_changes_nothing() -> None:
    port = a_port()
    result, outcome = apply_plan(module(check=True), port, PLAN)
    assert outcome is None and port.stat("/vm/new") is None
    assert (result["changed"], result["bytes_written"], result["elapsed"]) == (True, 512, 0.0)


def test_check_mode_refuses_what_a_run_would() -> None:
    port = a_port()
    port.plant_file("/vm/held", b"")
    port.plant_holder("/vm/held", Holder("write", "qemu (7)"))
    with pytest.raises(InUse):
        apply_plan(module(check=True), port, Plan("test", PLAN.steps, lock_files=("/vm/held",)))


@pytest.mark.parametrize("recovered", [(), ("finished a merge",)])
def test_an_empty_plan_changes_only_what_was_recovered(recovered: Any) -> None:
    result, outcome = apply_plan(module(), a_port(), Plan("test"), recovered=recovered)
    assert outcome is None and result["changed"] == bool(recovered)


def snapshot(guid: str, parent: str, depth: int, children: List[str], **more: Any) -> Dict[str, Any]:
    return {"guid": guid, "parent": parent, "depth": depth, "children": children, "name": "", "current": False, **more}


def test_the_tree_is_drawn_with_parents_above_children() -> None:
    snapshots = [
        snapshot("{b}", "{a}", 2, [], current=True),
        snapshot("{a}", "", 1, ["{b}", "{c}"], name="base"),
        snapshot("{c}", "{a}", 2, []),
    ]
    assert draw_tree(snapshots) == ["{a} base", "  {b} <- current", "  {c}"]


def test_only_what_differs_is_shown() -> None:
    absent = {"exists": False, "path": "/vm/a.hdd"}
    assert diff_of(absent, absent) == {
        "before": {},
        "after": {},
        "before_header": "/vm/a.hdd (disk)",
        "after_header": "/vm/a.hdd (disk)",
    }

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Dirty, StalePlan
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    CopyRanges,
    ReplaceFile,
    Sync,
    WriteBytes,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.check_and_repair import is_in_order
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.repair import plan_repair
from ansible_collections.vdisk.parallels.tests.support.faults import FAULTS, put, top_of

PORT = OsPort()
BY_NAME = {fault.name: fault for fault in FAULTS}


def examined_at(path):
    return examine(PORT, locate_damaged(PORT, path))


def test_a_sound_disk_gives_an_empty_plan(path):
    BY_NAME["twins"].sound(path)
    assert plan_repair(PORT, examined_at(path), level="all").is_empty


def test_a_header_alone_is_one_write(path):
    BY_NAME["said to be empty"].build(path)
    steps = plan_repair(PORT, examined_at(path), level="safe").steps
    assert [type(step) for step in steps] == [WriteBytes, Sync] and (steps[0].offset, len(steps[0].content)) == (0, 64)


def test_the_record_comes_first_and_the_journal_before_the_mark(path):
    BY_NAME["twins"].build(path)
    steps = plan_repair(PORT, examined_at(path), level="all").steps
    replaced = [number for number, step in enumerate(steps) if isinstance(step, ReplaceFile)]
    first_write = next(number for number, step in enumerate(steps) if isinstance(step, WriteBytes))
    assert len(replaced) == 2 and max(replaced) < first_write
    record = json.loads(steps[replaced[0]].content.decode())
    assert {change["offset"] for change in record["changes"]} == {0, 64 + 4 * 4}
    copied = next(number for number, step in enumerate(steps) if isinstance(step, CopyRanges))
    named = [number for number, step in enumerate(steps) if isinstance(step, WriteBytes) and step.offset == 64 + 4 * 4]
    assert any(isinstance(step, Sync) for step in steps[copied : named[0]])


def test_a_marked_image_needs_force_unless_the_mark_is_of_an_own_repair(path):
    built = BY_NAME["twins"].build(path)
    put(top_of(built), 44, b"Ynot")
    with pytest.raises(Dirty):
        plan_repair(PORT, examined_at(path), level="all")
    journal = {"version": 1, "phase": "apply", "operation": "repair", "created": [], "discarded": [], "request": {}}
    journal["images"] = [{"name": os.path.basename(top_of(built)), "size": 1, "in_use": 0}]
    with open(os.path.join(path, ".vdisk-journal"), "w", encoding="utf-8") as stream:
        json.dump(journal, stream)
    assert not is_in_order(PORT, examined_at(path))
    execute(PORT, plan_repair(PORT, examined_at(path), level="all"))
    assert is_in_order(PORT, examined_at(path)) and ".vdisk-journal" not in os.listdir(path)


def test_a_mark_stays_while_anything_is_wrong_with_the_image(path):
    built = BY_NAME["twins"].build(path)
    put(top_of(built), 44, b"Ynot")
    put(top_of(built), 52, b"\1")
    execute(PORT, plan_repair(PORT, examined_at(path), level="safe", force=True))
    with open(top_of(built), "rb") as stream:
        assert stream.read(64)[44:56] == b"Ynot" + (64).to_bytes(4, "little") + bytes(4)


def test_a_disk_that_changed_since_is_not_repaired(path):
    built = BY_NAME["twins"].build(path)
    plan = plan_repair(PORT, examined_at(path), level="all")
    put(top_of(built), 70000, b"x")
    os.utime(top_of(built), ns=(1, 1))
    with pytest.raises(StalePlan):
        execute(PORT, plan)


def test_the_journal_of_another_operation_is_not_replaced(path):
    built = BY_NAME["twins"].build(path)
    journal = {
        "version": 1,
        "phase": "prepare",
        "operation": "merge",
        "created": [],
        "discarded": [],
        "images": [],
        "request": {},
    }
    with open(os.path.join(path, ".vdisk-journal"), "w", encoding="utf-8") as stream:
        json.dump(journal, stream)
    execute(PORT, plan_repair(PORT, examined_at(path), level="all"))
    with open(os.path.join(path, ".vdisk-journal"), encoding="utf-8") as stream:
        assert json.load(stream)["operation"] == "merge"
    assert os.path.exists(top_of(built)) and is_in_order(PORT, examined_at(path))

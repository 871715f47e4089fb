# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A check from end to end: what is planned, what is reported, and what is left alone."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Dirty,
    NotAWholeDisk,
    StalePlan,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import found
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check import (
    check_and_repair as whole,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.check_and_repair import (
    CheckRequest,
    check_and_repair,
    is_in_order,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examine import examine, locate_damaged
from ansible_collections.vdisk.parallels.tests.support.faults import FAULTS, put, top_of

PORT = OsPort()
BY_NAME = {fault.name: fault for fault in FAULTS}


@pytest.fixture(name="path")
def path_fixture(tmp_path):
    return os.path.join(os.path.realpath(str(tmp_path)), "a.hdd")


class Applied:
    """Carries plans out, unless it only predicts, and keeps them with what was said of earlier runs."""

    def __init__(self, *, really=True):
        self.really = really
        self.plans = []
        self.sentences = []

    def __call__(self, plan, recovered):
        self.plans.append(plan)
        self.sentences += recovered
        if self.really and not plan.is_empty:
            execute(PORT, plan)
        return {"bytes_read": 7}


def checked(path, apply=None, **options):
    request = CheckRequest(**{"allow_outside": False, **options})
    return check_and_repair(PORT, locate_damaged(PORT, path), request, apply or Applied())


def codes(result):
    return [(one.code, one.repaired) for one in result.findings if one.code != "geometry"]


def interrupt(built):
    journal = {"version": 1, "phase": "prepare", "operation": "merge", "created": [], "discarded": [], "images": []}
    with open(f"{built.directory}/.vdisk-journal", "w", encoding="utf-8") as stream:
        json.dump({**journal, "request": {}}, stream)


def test_a_check_alone_plans_nothing(path):
    BY_NAME["said to be empty"].build(path)
    apply = Applied()
    result = checked(path, apply)
    assert (codes(result), apply.plans) == ([("flag_empty", False)], [])
    assert (result.is_changed, result.applied, result.backup, result.data_read) == (False, None, None, None)


def test_a_repair_reports_what_is_gone(path):
    BY_NAME["twins"].build(path)
    result = checked(path, repair="all")
    assert dict(codes(result))["entry_duplicate"] and result.is_changed and result.applied == {"bytes_read": 7}
    assert os.path.exists(result.backup)
    again = checked(path, repair="all")
    assert "entry_duplicate" not in dict(codes(again)) and not again.is_changed and again.backup is None


def test_a_prediction_changes_nothing_and_names_the_same(path):
    BY_NAME["twins"].build(path)
    with open(path + "/a.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds", "rb") as stream:
        before = stream.read()
    predicted = checked(path, Applied(really=False), repair="all", is_prediction=True)
    with open(path + "/a.hdd.0.{5fbaabe3-6958-40ff-92a7-860e329aab41}.hds", "rb") as stream:
        assert stream.read() == before
    assert predicted.is_changed
    assert codes(predicted) == codes(checked(path, repair="all"))


def test_what_was_cut_off_is_ended_before_a_repair(path):
    interrupt(BY_NAME["said to be empty"].build(path))
    predicted = checked(path, Applied(really=False), repair="safe", is_prediction=True)
    apply = Applied()
    done = checked(path, apply, repair="safe")
    assert codes(done) == codes(predicted) == [("flag_empty", True), ("interrupted", True)]
    assert len(apply.sentences) == 1 and not os.path.exists(f"{path}/.vdisk-journal")


def test_what_was_cut_off_is_ended_even_when_nothing_else_is_wrong(path):
    interrupt(BY_NAME["said to be empty"].sound(path))
    assert checked(path, Applied(really=False), repair="safe", is_prediction=True).is_changed
    done = checked(path, repair="safe")
    assert codes(done) == [("interrupted", True)] and done.is_changed


def test_a_disk_in_disorder_is_repaired_before_what_was_cut_off_is_ended(path):
    built = BY_NAME["twins"].build(path)
    interrupt(built)
    assert not is_in_order(PORT, examine(PORT, locate_damaged(PORT, path)))
    done = checked(path, repair="all")
    assert dict(codes(done)) == {"entry_duplicate": True, "interrupted": True}
    assert not os.path.exists(f"{path}/.vdisk-journal")


def test_what_only_shows_after_a_repair_comes_last(path):
    first = examine(PORT, locate_damaged(PORT, BY_NAME["said to be empty"].build(path).directory))
    new = found("leak_inside", "/new", "text")
    merged = whole._merged(first, (), (new,))
    assert merged[-1] == new and all(one.repaired for one in merged[:-1])


def test_a_marked_image_is_refused_without_force(path):
    built = BY_NAME["said to be empty"].build(path)
    put(top_of(built), 44, b"Ynot")
    with pytest.raises(Dirty):
        checked(path, repair="safe")
    assert dict(codes(checked(path, repair="safe", force=True))) == {"flag_empty": True, "image_dirty": True}


def test_a_disk_that_changes_while_a_repair_is_planned_is_stale(path):
    built = BY_NAME["said to be empty"].build(path)
    put(top_of(built), 44, b"Ynot")
    looked = []

    class Changing(OsPort):
        def open_read(self, path):
            looked.append(path)
            return super().open_read(path)

        def holders(self, paths):
            os.utime(top_of(built), ns=(1, 1))
            return super().holders(paths)

        def stat(self, path):
            if looked and path == top_of(built):
                os.utime(path, ns=(1, os.stat(path).st_mtime_ns + 1))
            return super().stat(path)

    request = CheckRequest(allow_outside=False, repair="safe")
    with pytest.raises(StalePlan):
        check_and_repair(Changing(), locate_damaged(PORT, path), request, Applied())


def test_data_are_read_when_asked_for(path):
    BY_NAME["said to be empty"].build(path)
    assert checked(path, reads_data=True).data_read > 0


def test_a_layer_of_a_bundle_is_no_disk(path):
    built = BY_NAME["said to be empty"].build(path)
    with pytest.raises(NotAWholeDisk):
        checked(top_of(built))

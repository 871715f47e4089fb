# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
    DiskError,
    HasSnapshots,
    InUse,
    NoSpace,
    SharedLayer,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import found
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.maintain.outcome import (
    Outcome,
    figures,
    totals_of,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.report.facts import disk_facts
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill

SIZES = {"layers": 3, "file_size": 30, "used_size": 20, "allocated_size": 30}
LESS = {**SIZES, "layers": 1, "file_size": 10}


def changed(error: Any = None) -> Dict[str, Any]:
    outcome = Outcome("/a.hdd")
    outcome.before, outcome.after = SIZES, LESS
    outcome.is_changed, outcome.merged, outcome.written = True, ("{a}", "{b}"), 7
    if error is not None:
        outcome.complain(error)
    return outcome.as_result()


def test_a_disk_without_anything_to_do_stays_what_it_was() -> None:
    outcome = Outcome("/a.hdd")
    outcome.before = SIZES
    result = outcome.as_result()
    assert (result["outcome"], result["reason"], result["error_code"]) == ("unchanged", None, None)
    assert result["after"] == result["before"] == SIZES


@pytest.mark.parametrize(
    "error, expected",
    [
        (None, "changed"),
        (HasSnapshots("The machine lists them"), "changed"),
        (NoSpace("Full"), "failed"),
        (Damaged("Broken"), "failed"),
    ],
)
def test_a_change_counts_unless_something_went_wrong_after_it(error: Any, expected: str) -> None:
    assert changed(error)["outcome"] == expected


@pytest.mark.parametrize("error", [InUse("Held"), SharedLayer("A clone stands on it")])
def test_what_may_not_be_changed_now_is_skipped_and_says_why(error: DiskError) -> None:
    outcome = Outcome("/a.hdd")
    outcome.complain(error)
    outcome.complain(error)
    result = outcome.as_result()
    assert (result["outcome"], result["error_code"]) == ("skipped", error.code)
    assert result["reason"] == str(error)


def test_errors_of_a_check_fail_the_disk_and_warnings_do_not() -> None:
    outcome = Outcome("/a.hdd")
    assert outcome.judge([found("orphan_file", "/a.hdd/x.hds", "Nobody names it.")])
    assert outcome.as_result()["outcome"] == "unchanged"
    assert not outcome.judge([found("entry_cut", f"/a.hdd/{number}", "Cut.") for number in range(5)])
    result = outcome.as_result()
    assert (result["outcome"], result["error_code"], len(result["findings"])) == ("failed", "unhealthy", 5)
    assert "(5 errors)" in result["reason"] and "And 2 more." in result["reason"]


def test_one_that_is_left_out_is_skipped_unless_something_was_done_before() -> None:
    outcome = Outcome("/a.hdd")
    outcome.note("The time is up.")
    assert outcome.as_result(is_left_out=True)["outcome"] == "skipped"
    outcome.is_changed = True
    assert outcome.as_result(is_left_out=True)["outcome"] == "changed"


def test_totals_are_sums_and_a_disk_that_was_not_opened_has_no_size() -> None:
    left = Outcome("/b.hdd")
    left.complain(InUse("Held"))
    totals = totals_of([changed(), left.as_result()])
    assert totals == {
        "disks": 2,
        "changed": 1,
        "unchanged": 0,
        "skipped": 1,
        "failed": 0,
        "merged": 2,
        "freed": 0,
        "reclaimed": 0,
        "written": 7,
        "size_before": 30,
        "size_after": 10,
    }


def test_the_figures_are_those_of_the_disk(tmp_path) -> None:
    layers = line_of_layers({0: fill(0, 1 << 20)}, {1: fill(1, 1 << 20)})
    path = build_bundle(str(tmp_path / "a.hdd"), size_sectors=8192, layers=layers).directory
    state = disks.state_of(OsPort(), path)
    facts = disk_facts(OsPort(), state)
    told = figures(state)
    assert told.pop("layers") == facts["depth"] == 2
    assert told == {key: facts[key] for key in ("file_size", "used_size", "allocated_size")}

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of maintenance reports."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.plugin_utils._maintain.report import disk_entry, host_report
from ansible_collections.vdisk.parallels.tests.support.maintenance import (
    BEFORE,
    GIB,
    HELD,
    SKIPPED,
    compacted,
    merged,
)


def entry_of(
    disk: Dict[str, Any], *, check: Any = None, merge: Any = None, compact: Any = None, **run: bool
) -> Dict[str, Any]:
    return disk_entry(
        disk,
        check=check or {},
        merge=merge or {},
        compact=compact or {},
        is_over=run.get("over", False),
        is_predicted=run.get("predicted", False),
    )


def report_of(
    entries: List[Dict[str, Any]], *, failed_disks: Any = (), absent: Any = (), predicted: bool = False
) -> Dict[str, Any]:
    return host_report(entries, failed_disks=failed_disks, absent=absent, is_predicted=predicted)


@pytest.mark.parametrize(
    "disk, answers, status, reason",
    [
        (BEFORE, {}, "unchanged", None),
        (BEFORE, {"check": SKIPPED, "merge": SKIPPED, "compact": SKIPPED}, "unchanged", None),
        (HELD, {"compact": SKIPPED}, "skipped", "Held by prl_vm_app (pid 7)."),
        (BEFORE, {"compact": SKIPPED, "over": True}, "skipped", "used up"),
        (BEFORE, {"merge": {"error_code": "in_use", "msg": "held"}}, "skipped", "held"),
        (BEFORE, {"merge": {"error_code": "has_snapshots", "msg": "kept"}, "compact": compacted()}, "changed", "kept"),
        (BEFORE, {"compact": {"error_code": "shared_layer", "msg": "a clone"}}, "skipped", "a clone"),
        (
            {**BEFORE, "clones": [{"disk": "/c", "image": "/i"}]},
            {"compact": SKIPPED},
            "skipped",
            "clone /c stands on /i",
        ),
        (BEFORE, {"compact": {"error_code": "suspended", "msg": "asleep"}}, "skipped", "asleep"),
        (BEFORE, {"merge": {"error_code": "no_space", "msg": "full"}}, "failed", "full"),
        (BEFORE, {"check": {"error_code": "unhealthy", "msg": "ill", "findings": []}}, "failed", "ill"),
        (BEFORE, {"merge": merged(), "compact": {"error_code": "io_error", "msg": "no"}}, "failed", "no"),
        (
            BEFORE,
            {"merge": {"msg": "MODULE FAILURE", "module_stderr": "Traceback", "changed": False}},
            "failed",
            "MODULE FAILURE",
        ),
        (BEFORE, {"merge": merged(), "compact": SKIPPED, "predicted": True}, "changed", "known after the merge"),
    ],
)
def test_the_status_says_how_it_went(disk: Dict[str, Any], answers: Dict[str, Any], status: str, reason: Any) -> None:
    entry = entry_of(disk, **answers)
    assert entry["status"] == status
    assert entry["reason"] is None if reason is None else reason in entry["reason"]


def test_findings_are_told_by_their_codes_once() -> None:
    findings = [
        {"code": code, "severity": severity, "repaired": False}
        for code, severity in (("b", "warning"), ("a", "error"), ("b", "warning"), ("c", "info"))
    ]
    assert entry_of(BEFORE, check={"findings": findings})["findings"] == ["b", "a"]


def test_the_report_adds_up() -> None:
    entries = [
        entry_of(BEFORE, merge=merged(), compact=compacted()),
        entry_of(HELD),
        entry_of(BEFORE),
    ]
    report = report_of(
        entries, failed_disks=[{"path": "/bad.hdd", "msg": "broken", "error_code": "damaged"}], absent=["/none"]
    )
    assert {key: report[key] for key in ("changed", "unchanged", "skipped", "failed")} == {
        "changed": 1,
        "unchanged": 1,
        "skipped": 1,
        "failed": 1,
    }
    assert (report["size_before"], report["size_after"], report["bytes_written"]) == (30 * GIB, 27 * GIB, 7)
    assert report["summary"] == [
        "4 disks: 1 changed, 1 unchanged, 1 skipped, 1 failed; 30 GiB -> 27 GiB, 7 B written",
        "changed   /a.hdd; 10 GiB -> 7 GiB; 4 -> 2 layers; 1 GiB compacted",
        "skipped   /a.hdd; Held by prl_vm_app (pid 7).",
        "unchanged /a.hdd",
        "failed    /bad.hdd; broken",
        "absent    /none",
    ]


def test_a_prediction_is_told_as_one() -> None:
    report = report_of([entry_of(BEFORE, merge=merged(), compact=SKIPPED, predicted=True)], predicted=True)
    assert (
        report["predicted"]
        and report["summary"][0]
        == "1 disk: 1 would change, 0 unchanged, 0 skipped, 0 failed; 10 GiB -> 8 GiB, 3 B to write"
    )

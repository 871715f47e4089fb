# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of maintenance tells."""

from __future__ import annotations

from typing import Any, Dict

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible.errors import AnsibleFilterError

from ansible_collections.vdisk.parallels.plugins.filter.human_size import human_size
from ansible_collections.vdisk.parallels.plugins.filter.maintain_entry import maintain_entry
from ansible_collections.vdisk.parallels.plugins.filter.maintain_report import maintain_report

GIB = 1 << 30
BEFORE: Dict[str, Any] = {
    "path": "/a.hdd",
    "name": "a",
    "depth": 4,
    "file_size": 10 * GIB,
    "state": "clean",
    "locks": [],
}
HELD = {**BEFORE, "state": "in_use", "locks": [{"kind": "flock", "owner": "prl_vm_app (pid 7)"}] * 2}
HEALTHY = {"findings": [], "healthy": True}
SKIPPED = {"skipped": True, "changed": False}


def merged(**others: Any) -> Dict[str, Any]:
    return {
        "changed": True,
        "merged": ["{a}", "{b}"],
        "bytes_written": 3,
        "disk": {**BEFORE, "depth": 2, "file_size": 8 * GIB},
        **others,
    }


def compacted(**others: Any) -> Dict[str, Any]:
    return {
        "changed": True,
        "reclaimed": GIB,
        "bytes_written": 4,
        "disk": {**BEFORE, "depth": 2, "file_size": 7 * GIB},
        **others,
    }


def test_what_was_done_is_told() -> None:
    entry = maintain_entry(BEFORE, check=HEALTHY, merge=merged(), compact=compacted())
    assert entry == {
        "path": "/a.hdd",
        "name": "a",
        "status": "changed",
        "reason": None,
        "error_code": None,
        "findings": [],
        "layers_before": 4,
        "layers_after": 2,
        "size_before": 10 * GIB,
        "size_after": 7 * GIB,
        "merged": 2,
        "reclaimed": GIB,
        "bytes_written": 7,
    }


@pytest.mark.parametrize(
    "disk, answers, status, reason",
    [
        (BEFORE, {}, "unchanged", None),
        (BEFORE, {"check": SKIPPED, "merge": SKIPPED, "compact": SKIPPED}, "unchanged", None),
        (HELD, {"compact": SKIPPED}, "skipped", "Held by prl_vm_app (pid 7)."),
        (BEFORE, {"compact": SKIPPED, "over": True}, "skipped", "used up"),
        (BEFORE, {"merge": {"error_code": "in_use", "msg": "held"}}, "skipped", "held"),
        (BEFORE, {"merge": {"error_code": "has_snapshots", "msg": "kept"}, "compact": compacted()}, "changed", "kept"),
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
    entry = maintain_entry(disk, **answers)
    assert entry["status"] == status
    assert entry["reason"] is None if reason is None else reason in entry["reason"]


def test_findings_are_told_by_their_codes_once() -> None:
    findings = [
        {"code": code, "severity": severity, "repaired": False}
        for code, severity in (("b", "warning"), ("a", "error"), ("b", "warning"), ("c", "info"))
    ]
    assert maintain_entry(BEFORE, check={"findings": findings})["findings"] == ["b", "a"]


def test_the_report_adds_up() -> None:
    entries = [
        maintain_entry(BEFORE, merge=merged(), compact=compacted()),
        maintain_entry(HELD),
        maintain_entry(BEFORE),
    ]
    report = maintain_report(
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
    report = maintain_report([maintain_entry(BEFORE, merge=merged(), compact=SKIPPED, predicted=True)], predicted=True)
    assert (
        report["predicted"]
        and report["summary"][0]
        == "1 disk: 1 would change, 0 unchanged, 0 skipped, 0 failed; 10 GiB -> 8 GiB, 3 B to write"
    )


def test_sizes_are_for_people() -> None:
    assert [human_size(one) for one in (0, "1536", 3 << 30, -(5 << 20))] == ["0 B", "1.5 KiB", "3 GiB", "-5 MiB"]
    for wrong in ("many", None, [1]):
        with pytest.raises(AnsibleFilterError):
            human_size(wrong)

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What runs of maintenance report."""

from __future__ import annotations

from typing import Any, Dict, List

from ansible_collections.vdisk.parallels.plugins.plugin_utils._maintain.report import host_report, machines_of

GIB = 1 << 30


def disk(path: str, outcome: str = "unchanged", **others: Any) -> Dict[str, Any]:
    """An entry of hdd_maintain."""
    before = {"layers": 4, "file_size": 10 * GIB, "used_size": GIB, "allocated_size": GIB}
    usual = dict(
        machine=None, reason=None, error_code=None, findings=None, before=before, after=before, worthwhile=None
    )
    return {
        "path": path,
        "outcome": outcome,
        **usual,
        "merged": [],
        "snapshots": [],
        "reclaimed": 0,
        "written": 0,
        **others,
    }


def result(*disks: Dict[str, Any], missing: Any = (), unfinished: Any = ()) -> Dict[str, Any]:
    return {"disks": list(disks), "missing": list(missing), "unfinished": list(unfinished)}


SMALLER = disk(
    "/a.hdd", "changed", after={"layers": 2, "file_size": 7 * GIB}, merged=["{a}", "{b}"], reclaimed=GIB, written=7
)
HELD = disk("/b.hdd", "skipped", reason="Held.", error_code="in_use", before=None, after=None)
MACHINE = {"name": "b", "uuid": "{1}", "path": "/b.pvm"}
WAITING = disk("/b.pvm/b.hdd", "skipped", reason="Held.", error_code="in_use", worthwhile=True, machine=MACHINE)


def reported(*results: Dict[str, Any]) -> Dict[str, Any]:
    return host_report(results)


def test_the_report_adds_up() -> None:
    report = reported(
        result(SMALLER, HELD, disk("/c.hdd"), missing=[{"path": "/none", "msg": "There is nothing (/none)."}])
    )
    assert {key: report[key] for key in ("changed", "unchanged", "skipped", "failed")} == {
        "changed": 1,
        "unchanged": 1,
        "skipped": 1,
        "failed": 0,
    }
    assert (report["size_before"], report["size_after"], report["bytes_written"]) == (20 * GIB, 17 * GIB, 7)
    assert report["absent"] == ["/none"]
    assert report["summary"] == [
        "3 disks: 1 changed, 1 unchanged, 1 skipped, 0 failed; 20 GiB -> 17 GiB, 7 B written",
        "changed   /a.hdd; 10 GiB -> 7 GiB; 4 -> 2 layers; 1 GiB compacted",
        "skipped   /b.hdd; Held.",
        "unchanged /c.hdd",
        "absent    /none; There is nothing (/none).",
    ]


def test_findings_are_told_by_their_codes_once() -> None:
    findings: List[Dict[str, Any]] = [
        {"code": code, "severity": severity, "repaired": False}
        for code, severity in (("b", "warning"), ("a", "error"), ("b", "warning"), ("c", "info"))
    ]
    assert reported(result(disk("/a.hdd", findings=findings)))["disks"][0]["findings"] == ["b", "a"]


def test_a_prediction_is_told_as_one() -> None:
    report = reported({**result(SMALLER), "predicted": True})
    assert report["predicted"]
    assert report["summary"][0].startswith("1 disk: 1 would change,") and report["summary"][0].endswith("7 B to write")


def test_what_a_later_run_says_counts() -> None:
    done = {**SMALLER, "path": WAITING["path"]}
    report = reported(result(WAITING, disk("/z.hdd"), unfinished=["/z.hdd", WAITING["path"]]), result(done))
    assert [(one["path"], one["status"]) for one in report["disks"]] == [
        (WAITING["path"], "changed"),
        ("/z.hdd", "unchanged"),
    ]
    assert report["unfinished"] == ["/z.hdd"]


def test_a_run_that_was_cut_off_is_told_first() -> None:
    earlier = {"began": "2026-01-31T04:00:00Z", "cut_at": "/c.hdd", "disks": [SMALLER, disk("/b.hdd")]}
    report = reported({**result(disk("/c.hdd")), "earlier": earlier}, {**result(), "earlier": None})
    assert [(one["began"], one["cut_at"], len(one["disks"])) for one in report["earlier"]] == [
        ("2026-01-31T04:00:00Z", "/c.hdd", 2)
    ]
    assert report["summary"] == [
        "A run that began 2026-01-31T04:00:00Z was cut off at /c.hdd. It was done with 2 disks.",
        "earlier: changed   /a.hdd; 10 GiB -> 7 GiB; 4 -> 2 layers; 1 GiB compacted",
        "1 disk: 0 changed, 1 unchanged, 0 skipped, 0 failed; 10 GiB -> 10 GiB, 0 B written",
        "unchanged /c.hdd",
    ]
    between = reported({**result(), "earlier": {**earlier, "cut_at": None, "disks": [SMALLER]}})
    assert "was cut off. It was done with 1 disk." in between["summary"][0]


def test_a_machine_that_does_not_stop_is_a_failure_of_its_disks() -> None:
    first = result(WAITING)
    assert "There is something to do." in reported(first)["disks"][0]["reason"]
    (machine,) = machines_of(first)
    report = reported(first, {"stopped": machine, "msg": "Stop it: no"})
    assert [(one["status"], one["reason"]) for one in report["disks"]] == [("failed", "Stop it: no")]


def test_machines_are_those_that_wait_each_with_all_its_disks() -> None:
    second = {**WAITING, "path": "/b.pvm/c.hdd"}
    alone = disk("/alone.hdd", "skipped", worthwhile=True)
    idle = disk("/idle.hdd", "skipped", worthwhile=False)
    assert machines_of(result(WAITING, alone, HELD, second, idle)) == [
        {**MACHINE, "disks": [WAITING["path"], second["path"]]},
        {"name": None, "uuid": None, "path": "/alone.hdd", "disks": ["/alone.hdd"]},
    ]
    assert machines_of({"msg": "failed"}) == []


def named(name: Any, *, merged: bool, guid: str = "{1}") -> Dict[str, Any]:
    return {"guid": guid, "name": name, "description": None, "merged": merged}


def test_names_of_snapshots_are_told() -> None:
    snapshots = [named("clean", merged=True), named("before <b>", merged=False), named(None, merged=False, guid="{2}")]
    one = disk("/a.hdd", "changed", merged=["{1}", "{9}"], snapshots=snapshots, after={"layers": 3, "file_size": GIB})
    report = reported(result(one))
    (entry,) = report["disks"]
    assert (entry["snapshots_merged"], entry["snapshots_kept"]) == (["clean"], ["before <b>", "{2}"])
    assert "4 -> 3 layers; merged clean; kept before <b>, {2}" in report["summary"][1]
    many = [named(str(number), merged=False) for number in range(9)]
    assert "kept 0, 1, 2, 3, 4, 4 more" in reported(result(disk("/a.hdd", snapshots=many)))["summary"][1]

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a fleet, put together."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest

from ansible_collections.vdisk.parallels.tests.support.reports import (
    GIB,
    checked,
    disk,
    finding,
    fleet_report,
    forecast,
    foretold,
    info,
    merged,
    snapshot,
    told,
)


def test_totals_are_sums_over_the_hosts() -> None:
    report = fleet_report(
        ["a", "b"], [info(disk("/1.hdd"), disk("/2.hdd")), info(disk("/1.hdd", file_size=GIB, allocated_size=None))]
    )
    totals = report["totals"]
    assert (totals["hosts"], totals["disks"], totals["hosts_without_answer"]) == (2, 3, 0)
    assert (totals["file_size"], totals["allocated_size"], totals["used_size"], totals["virtual_size"]) == (
        21 * GIB,
        18 * GIB,
        24 * GIB,
        192 * GIB,
    )
    assert totals["reclaimable"] == {"leaked": 3 * GIB, "zero": None, "free_in_filesystem": None, "merge": None}
    assert totals["gain"] == 3 * GIB


def test_reasons_that_were_looked_at_on_one_disk_are_known() -> None:
    one = disk("/1.hdd", reclaimable={"leaked": 1, "zero": 2, "another": 4})
    report = fleet_report(["a"], [info(one, disk("/2.hdd"))])
    assert report["totals"]["reclaimable"] == {
        "leaked": GIB + 1,
        "zero": 2,
        "another": 4,
        "free_in_filesystem": None,
        "merge": None,
    }


def test_disks_are_sorted_by_what_they_give_back() -> None:
    shots = [snapshot("{a}")]
    small = disk("/a.hdd", reclaimable={"leaked": 1}, snapshots=shots)
    large = disk("/b.hdd", reclaimable={"leaked": 2}, snapshots=shots)
    report = fleet_report(["a"], [info(small, large)], forecasts=[forecast(merged("/a.hdd", 5), merged("/b.hdd", -7))])
    assert [(one["path"], one["gain"]) for one in report["hosts"][0]["disks"]] == [
        ("/a.hdd", {"compact": 1, "merge": 5, "total": 6}),
        ("/b.hdd", {"compact": 2, "merge": 0, "total": 2}),
    ]
    assert report["totals"]["reclaimable"]["merge"] == 5


@pytest.mark.parametrize(
    "answer, status, message",
    [
        ({}, "unreachable", "no answer"),
        ({"unreachable": True, "msg": "refused"}, "unreachable", "refused"),
        ({"failed": False, "msg": "no lxml", "error_code": "missing_library"}, "failed", "no lxml"),
        ({"failed": False, "msg": "", "module_stderr": "Traceback"}, "failed", "Traceback"),
        (info(), "ok", None),
    ],
)
def test_a_host_without_facts_is_told(answer: Dict[str, Any], status: str, message: Any) -> None:
    report = fleet_report(["good", "bad"], [info(disk("/1.hdd")), answer])
    host = report["hosts"][1]
    assert (host["status"], report["totals"]["hosts_without_answer"], report["totals"]["disks"]) == (
        status,
        int(status != "ok"),
        1,
    )
    assert host["message"] is None if message is None else message in host["message"]


def test_bad_and_absent_disks_are_told_with_what_a_check_found() -> None:
    bad = {"path": "/bad.hdd", "error_code": "damaged", "msg": "broken", "error_context": {}}
    answer = info({"path": "/none", "exists": False}, failed=[bad])
    report = fleet_report(
        ["a"], [answer], forecasts=[forecast(checked("/bad.hdd", finding("descriptor_unreadable", "error")))]
    )
    assert report["hosts"][0]["absent"] == ["/none"]
    assert [one["code"] for one in report["hosts"][0]["failed_disks"][0]["findings"]] == ["descriptor_unreadable"]
    assert (report["totals"]["disks"], report["totals"]["failed_disks"]) == (0, 1)
    assert report["totals"]["findings"] == {"error": 1, "warning": 0, "info": 0}


def test_findings_are_counted() -> None:
    foreseen = forecast(
        checked("/1.hdd", finding("a", "error"), finding("b", "warning"), finding("b", "warning")),
        foretold("/2.hdd", outcome="failed", reason="gone", error_code="io_error", before=None, after=None),
    )
    report = fleet_report(["a"], [info(disk("/1.hdd"), disk("/2.hdd"), disk("/3.hdd"))], forecasts=[foreseen])
    by_path = {one["path"]: one["check"] for one in report["hosts"][0]["disks"]}
    assert report["totals"]["findings"] == {"error": 1, "warning": 2, "info": 0}
    assert report["totals"]["unhealthy_disks"] == 2
    assert (by_path["/2.hdd"]["healthy"], by_path["/2.hdd"]["error_code"], by_path["/3.hdd"]) == (
        None,
        "io_error",
        None,
    )


def test_orphans_are_counted_only_where_somebody_can_tell() -> None:
    shots: List[Dict[str, Any]] = [snapshot("{a}"), snapshot("{b}", vm_snapshot=True)]
    vm = {"name": "vm"}
    refused = {"error_code": "has_snapshots", "reason": "nobody can tell"}
    disks = [
        disk("/alone.hdd", snapshots=shots),
        disk("/vm.hdd", snapshots=shots, vm=vm),
        disk("/doubt.hdd", snapshots=shots[:1], vm=vm),
    ]
    report = fleet_report(
        ["a"], [info(*disks)], forecasts=[forecast(foretold("/doubt.hdd", **refused), foretold("/vm.hdd", **refused))]
    )
    assert {one["path"]: one["orphan_layers"] for one in report["hosts"][0]["disks"]} == {
        "/alone.hdd": 1,
        "/vm.hdd": 1,
        "/doubt.hdd": None,
    }
    assert report["totals"]["orphan_layers"] == 2
    assert report["totals"]["disks_with_unknown_orphans"] == 1


def test_a_forecast_that_was_not_asked_for_says_nothing() -> None:
    shots = [snapshot("{a}")]
    report = fleet_report(["a"], [info(disk("/1.hdd", snapshots=shots))], forecasts=[{"skipped": True}])
    assert (report["hosts"][0]["disks"][0]["check"], report["hosts"][0]["disks"][0]["merge"]) == (None, None)
    report = fleet_report(["a"], [info(disk("/1.hdd"))], forecasts=[forecast(foretold("/1.hdd"))])
    assert (report["hosts"][0]["disks"][0]["check"], report["hosts"][0]["disks"][0]["merge"]) == (None, None)


def test_an_answer_with_facts_is_its_own_forecast() -> None:
    shots = [snapshot("{a}")]
    bad = {"path": "/bad.hdd", "error_code": "damaged", "msg": "broken", "error_context": {}}
    nothing = [
        {"path": "/none", "error_code": "not_found", "msg": "There is nothing", "error_context": {}},
        {"path": "/empty", "error_code": "not_a_bundle", "msg": "There is no disk", "error_context": {}},
        {"path": "/closed", "error_code": "permission", "msg": "Not for you", "error_context": {}},
    ]
    answer = told(
        (disk("/1.hdd", snapshots=shots), merged("/1.hdd", 5)),
        (disk("/2.hdd"), checked("/2.hdd/DiskDescriptor.xml", finding("b", "warning"))),
        (None, checked("/bad.hdd", finding("descriptor_unreadable", "error"))),
        undescribed=[bad],
        missing=nothing,
    )
    report = fleet_report(["a", "b"], [answer, {}])
    host = report["hosts"][0]
    assert (host["status"], report["hosts"][1]["status"]) == ("ok", "unreachable")
    assert [one["path"] for one in host["disks"]] == ["/1.hdd", "/2.hdd"]
    assert host["disks"][0]["merge"]["freed"] == 5 and host["disks"][1]["check"]["counts"]["warning"] == 1
    assert host["absent"] == ["/none", "/empty"]
    assert host["absent_messages"] == {"/none": "There is nothing", "/empty": "There is no disk"}
    assert [one["path"] for one in host["failed_disks"]] == ["/bad.hdd", "/closed"]
    assert [one["code"] for one in host["failed_disks"][0]["findings"]] == ["descriptor_unreadable"]
    assert (report["totals"]["failed_disks"], report["totals"]["findings"]["error"]) == (2, 1)


def test_a_check_that_nobody_asked_for_is_not_told() -> None:
    refused = foretold("/1.hdd", outcome="failed", error_code="not_a_whole_disk", before=None, after=None)
    for check in (True, False):
        (host,) = fleet_report(["a"], [told((disk("/1.hdd"), refused))], check=check)["hosts"]
        assert (host["disks"][0]["check"] is not None) is check


def test_a_merge_that_nobody_asked_for_is_not_foretold() -> None:
    answer = told((disk("/1.hdd", snapshots=[snapshot("{a}")]), checked("/1.hdd")))
    (host,) = fleet_report(["a"], [answer], merge=False)["hosts"]
    assert (host["disks"][0]["merge"], host["disks"][0]["check"]["healthy"]) == (None, True)
    assert fleet_report(["a"], [answer])["hosts"][0]["disks"][0]["merge"]["freed"] == 0

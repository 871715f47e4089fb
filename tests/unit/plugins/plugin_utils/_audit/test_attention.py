# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.attention import Trouble, attention, troubles_of
from ansible_collections.vdisk.parallels.tests.support.reports import (
    checked,
    disk,
    finding,
    fleet_report,
    forecast,
    foretold,
    info,
)


def seen(report: Dict[str, Any]) -> List[Tuple[str, Any]]:
    """The disks of a report with their hosts."""
    return [(host["name"], one) for host in report["hosts"] for one in host["disks"]]


def troubles(report: Dict[str, Any]) -> Dict[str, Trouble]:
    return {one.label: one for one in troubles_of(report, seen(report))}


def amount(trouble: Trouble) -> str:
    return trouble.amount.replace("\N{NO-BREAK SPACE}", " ")


def test_a_finding_is_told_once_with_all_its_disks() -> None:
    found = finding("leak_tail", "warning")
    disks = [disk(f"/{number}.hdd") for number in range(7)]
    told = [checked(one["path"], found, found) for one in disks[:6]]
    told.append(checked("/6.hdd", finding("entry_cut", "error"), {**found, "repaired": True}, finding("x", "info")))
    known = troubles(fleet_report(["a"], [info(*disks)], forecasts=[forecast(*told)]))
    assert list(known) == ["entry_cut", "leak_tail"]
    assert known["entry_cut"].meaning == "the file ends within a cluster" and amount(known["entry_cut"]) == "on 1 disk"
    assert amount(known["leak_tail"]) == "on 6 disks, 12 findings" and len(known["leak_tail"].places) == 6
    assert 'href="#disk-7"' in known["entry_cut"].places[0]


def test_hosts_and_disks_of_which_nothing_is_known_are_told_by_their_kind() -> None:
    bad = [{"path": f"/{code}.hdd", "error_code": code, "msg": f"is {code}"} for code in ("damaged", "io_error")]
    answers = [info({"path": "/none", "exists": False}, failed=[*bad, {**bad[0], "path": "/other.hdd"}]), {}]
    found = finding("descriptor_unreadable", "error")
    report = fleet_report(["a", "b"], answers, forecasts=[forecast(checked("/damaged.hdd", found)), {}])
    known = troubles(report)
    assert list(known) == ["no answer", "damaged", "io_error", "absent"]
    assert amount(known["damaged"]) == "on 2 disks" and amount(known["no answer"]) == "from 1 host"
    assert "is damaged A check found: descriptor_unreadable." in known["damaged"].places[0]
    assert known["absent"].severity == "warning" and "/none" in known["absent"].places[0]


def test_a_disk_that_could_not_be_checked_is_told_with_the_reason() -> None:
    told = foretold("/1.hdd", outcome="failed", reason="it is gone", error_code="io_error", before=None, after=None)
    known = troubles(fleet_report(["a"], [info(disk("/1.hdd"))], forecasts=[forecast(told)]))
    assert "it is gone" in known["io_error"].places[0] and known["io_error"].meaning == "it could not be checked"


def test_few_places_are_open_and_many_are_folded() -> None:
    def told(number: int) -> str:
        disks = [disk(f"/{one}.hdd") for one in range(number)]
        forecasts = forecast(*(checked(one["path"], finding("leak_tail", "warning")) for one in disks))
        report = fleet_report(["a"], [info(*disks)], forecasts=[forecasts])
        return attention(report, seen(report))

    assert "<details open>" in told(8) and "<details open>" not in told(9)
    assert told(9).count("<a href") == 9


def test_a_fleet_that_is_well_says_so() -> None:
    report = fleet_report(["a"], [info(disk("/1.hdd"))])
    assert "all well" in attention(report, seen(report))

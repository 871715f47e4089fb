# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.disk import chips, disk_article, finding_rows
from ansible_collections.vdisk.parallels.tests.support.reports import (
    checked,
    disk,
    finding,
    fleet_report,
    forecast,
    info,
    snapshot,
)


def reported(facts: Dict[str, Any], *findings: Dict[str, Any]) -> Dict[str, Any]:
    """One disk of a report, with the findings of a check."""
    report = fleet_report(["a"], [info(facts)], forecasts=[forecast(checked(facts["path"], *findings))])
    found: Dict[str, Any] = report["hosts"][0]["disks"][0]
    return found


def test_the_worst_findings_come_first_and_not_all_of_many_are_shown() -> None:
    rows = finding_rows([finding("a", "info"), finding("b", "strange"), finding("c", "error"), finding("d", "warning")])
    places = [rows.index(f"<code>{code}</code>") for code in "cdab"]
    assert places == sorted(places)
    many = finding_rows([finding(f"code{number}", "error") for number in range(45)])
    assert many.count("<code>") == 40 and "And 5 more" in many


def test_chips_say_what_was_found() -> None:
    told = chips(reported(disk("/1.hdd"), finding("a", "error"), finding("b", "warning"), finding("b", "warning")))
    assert "1\N{NO-BREAK SPACE}error" in told and "2\N{NO-BREAK SPACE}warnings" in told
    assert "warning" not in chips(reported(disk("/1.hdd")))


def test_a_disk_that_gives_nothing_back_says_so() -> None:
    nothing = reported(disk("/1.hdd", reclaimable={"leaked": 0}))
    article = disk_article("disk-1", "host", nothing, parts=[], most=0)
    assert "nothing to give back" in article and "id='disk-1'" in article.replace('"', "'")


def test_names_of_hosts_and_snapshots_are_text() -> None:
    facts = disk("/<b>.hdd", snapshots=[snapshot("{top}", name="<i>&")], warnings=["<script>"])
    article = disk_article("disk-1", "<u>", reported(facts), parts=[("leaked", 1)], most=1)
    for wrong in ("<u>", "<i>", "<script>", "/<b>"):
        assert wrong not in article
    assert "&lt;u&gt;" in article and "&lt;script&gt;" in article

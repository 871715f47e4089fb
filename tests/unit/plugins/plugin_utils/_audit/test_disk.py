# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.disk import (
    by_code,
    chips,
    disk_card,
    finding_rows,
)
from ansible_collections.vdisk.parallels.tests.support.reports import (
    checked,
    disk,
    finding,
    fleet_report,
    forecast,
    info,
    merged,
    snapshot,
)


def reported(facts: Dict[str, Any], *findings: Dict[str, Any]) -> Dict[str, Any]:
    """One disk of a report, with the findings of a check."""
    report = fleet_report(["a"], [info(facts)], forecasts=[forecast(checked(facts["path"], *findings))])
    found: Dict[str, Any] = report["hosts"][0]["disks"][0]
    return found


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_worst_findings_come_first_and_each_kind_once() -> None:
    found = [finding("a", "info"), finding("b", "strange"), finding("c", "error"), finding("d", "warning")]
    assert [code for _severity, code, _found in by_code([*found, finding("c", "error")])] == ["c", "d", "a", "b"]
    rows = finding_rows([*found, finding("c", "error", "again")])
    places = [rows.index(f"<code>{code}</code>") for code in "cdab"]
    assert places == sorted(places)
    assert "<code>c</code> 2\N{MULTIPLICATION SIGN}" in rows and "again" in rows


def test_not_all_of_many_findings_are_shown() -> None:
    rows = finding_rows([finding("one", "error", f"place {number}") for number in range(45)])
    assert rows.count("place ") == 5 and "And 40 more" in rows


def test_places_in_the_disk_are_told_without_it() -> None:
    rows = finding_rows([finding("a", "error", where="/vms/x.hdd/part"), finding("b", "error")], folder="/vms/x.hdd")
    assert "<bdi>part</bdi>" in rows and "<bdi>/x</bdi>" in rows


def test_chips_say_what_was_found() -> None:
    told = plain(
        chips(reported(disk("/1.hdd"), finding("a", "error"), finding("b", "warning"), finding("b", "warning")))
    )
    assert "1 error" in told and "2 warnings" in told
    assert "warning" not in chips(reported(disk("/1.hdd")))


def test_chips_and_tiles_count_the_same_orphans() -> None:
    shots = [snapshot("{a}"), snapshot("{b}", parent="{a}", name="kept")]
    disks = [disk("/alone.hdd", snapshots=shots), disk("/vm.hdd", snapshots=shots, vm={"name": "vm"})]
    report = fleet_report(["a"], [info(*disks)], forecasts=[forecast(merged("/alone.hdd", 5), merged("/vm.hdd", 5))])
    told = [plain(chips(one, short=True)) for one in report["hosts"][0]["disks"]]
    assert all("1 orphan layer<" in one for one in told) and report["totals"]["orphan_layers"] == 2


def test_a_disk_that_gives_nothing_back_says_so() -> None:
    nothing = reported(disk("/1.hdd", reclaimable={"leaked": 0}))
    card = disk_card("disk-1", "host", nothing, columns=12)
    assert "nothing to give back" in card and 'id="disk-1"' in card


def test_what_is_given_back_is_told_by_reason_and_file_systems_are_named() -> None:
    system = {"type": "ext4", "label": "ro<o>t", "size": 8 << 30, "free": 4 << 30, "droppable": 3 << 30, "reason": None}
    facts = disk("/1.hdd", reclaimable={"leaked": 1 << 20, "free_in_filesystem": 3 << 30}, filesystems=[system])
    card = plain(disk_card("disk-1", "host", reported(facts), columns=12))
    assert "<dt>Gives back: what the guest has deleted</dt><dd>3 GiB</dd>" in card
    assert "ext4 <bdi>ro&lt;o&gt;t</bdi>: 8 GiB, 4 GiB free, 3 GiB droppable" in card


def test_names_of_hosts_and_snapshots_are_text() -> None:
    facts = disk("/<b>.hdd", snapshots=[snapshot("{top}", name="<i>&")], warnings=["<script>"])
    card = disk_card("disk-1", "<u>", reported(facts), columns=12)
    for wrong in ("<u>", "<i>", "<script>", "/<b>"):
        assert wrong not in card
    assert "&lt;u&gt;" in card and "&lt;script&gt;" in card


def test_cards_are_folded_when_they_are_told_to() -> None:
    one = reported(disk("/1.hdd"))
    assert " open>" in disk_card("d", "h", one, columns=12).split("<summary>")[0]
    assert " open>" not in disk_card("d", "h", one, columns=12, is_open=False).split("<summary>")[0]

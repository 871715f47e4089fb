# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.page import render
from ansible_collections.vdisk.parallels.tests.support.reports import (
    disk,
    fleet_report,
    forecast,
    foretold,
    info,
    large_fleet,
    snapshot,
)


def test_the_page_names_every_host_and_disk() -> None:
    page = render(fleet_report(["one", "two"], [info(disk("/1.hdd"), disk("/2.hdd")), {}]))
    assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n")
    assert page.count('<details class="disk card"') == 2
    for name in ("one", "two", "/1.hdd", "/2.hdd", "no answer"):
        assert name in page


def test_the_cards_of_a_large_fleet_are_folded() -> None:
    few = render(fleet_report(["a"], [info(*(disk(f"/{number}.hdd") for number in range(5)))]))
    many = render(fleet_report(["a"], [info(*(disk(f"/{number}.hdd") for number in range(6)))]))
    assert few.count('<details class="disk card"') == few.count(" open><summary><h3>") == 5
    assert many.count('<details class="disk card"') == 6 and " open><summary><h3>" not in many


def test_what_was_not_looked_for_is_said_and_what_the_guest_deleted_is_told() -> None:
    page = render(fleet_report(["a"], [info(disk("/1.hdd"))]))
    assert "Not looked for: by merging layers, clusters that hold zeros" in page
    assert "what the guest has deleted." in page
    looked = disk("/1.hdd", reclaimable={"leaked": 0, "zero": 0, "equal": 0, "free_in_filesystem": 3 << 30})
    told = render(fleet_report(["a"], [info(looked)]))
    assert "what the guest has deleted <b>3\N{NO-BREAK SPACE}GiB</b>" in told


def test_disks_of_which_nobody_can_tell_the_orphans_are_told_in_the_tile() -> None:
    doubt = disk("/doubt.hdd", snapshots=[snapshot("{a}")], vm={"name": "vm"})
    refused = foretold("/doubt.hdd", error_code="has_snapshots", reason="nobody can tell")
    page = render(fleet_report(["a"], [info(doubt)], forecasts=[forecast(refused)]))
    assert "of 1 snapshot; not known of 1 disk" in page.replace("\N{NO-BREAK SPACE}", " ")


def test_a_page_of_200_disks_with_20_layers_each_stays_below_its_limit() -> None:
    page = render(large_fleet(200, 20))
    assert page.count("<li><p>") == 200 * 20
    assert len(page.encode()) < 1_500_000

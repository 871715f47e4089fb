# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.page import parts_of, render
from ansible_collections.vdisk.parallels.tests.support.reports import (
    checked,
    disk,
    finding,
    fleet_report,
    forecast,
    info,
)


def test_a_bar_never_shows_more_than_there_is() -> None:
    assert parts_of({"merge": 70, "zero": 50, "leaked": None, "strange": 9}, 100)[0] == ("used", 0)
    assert sum(part for _name, part in parts_of({"merge": 70, "zero": 50, "strange": 9}, 100)) == 100
    assert dict(parts_of({"leaked": 30}, 100))["used"] == 70


def test_the_page_names_every_host_and_disk() -> None:
    page = render(fleet_report(["one", "two"], [info(disk("/1.hdd"), disk("/2.hdd")), {}]))
    assert page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n")
    assert page.count("<article") == 2
    for name in ("one", "two", "/1.hdd", "/2.hdd", "no answer"):
        assert name in page


def test_a_finding_is_told_once_with_all_its_disks_and_a_long_list_is_folded() -> None:
    found = finding("leak_tail", "warning")
    disks = [disk(f"/{number}.hdd") for number in range(7)]
    told = [checked(one["path"], found, found) for one in disks[:6]]
    told.append(checked("/6.hdd", finding("entry_cut", "error"), {**found, "repaired": True}, finding("x", "info")))
    page = render(fleet_report(["a"], [info(*disks)], forecasts=[forecast(*told)]))
    attention = page[page.index("id='attention'") : page.index("id='disks'")].replace("\N{NO-BREAK SPACE}", " ")
    assert attention.index("entry_cut") < attention.index("leak_tail")
    assert "<details open><summary><code>entry_cut</code> on 1 disk: the file ends within a cluster" in attention
    assert "<details><summary><code>leak_tail</code> on 6 disks" in attention
    assert attention.count("href='#disk-") == 7


def test_the_cards_of_a_large_fleet_are_folded() -> None:
    few = render(fleet_report(["a"], [info(*(disk(f"/{number}.hdd") for number in range(5)))]))
    many = render(fleet_report(["a"], [info(*(disk(f"/{number}.hdd") for number in range(6)))]))
    assert (few.count("<details open>"), many.count("<details open>"), many.count("<details>")) == (5, 0, 6)

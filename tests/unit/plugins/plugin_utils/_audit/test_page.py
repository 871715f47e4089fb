# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.page import parts_of, render
from ansible_collections.vdisk.parallels.tests.support.reports import disk, fleet_report, info


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

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.tables import disk_table, host_table, parts_of
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


def test_a_reason_that_nobody_knows_has_a_colour_and_no_class_of_its_own() -> None:
    assert ("other", 9) in parts_of({"x' y": 9}, 100)


def test_figures_are_there_as_numbers_and_the_first_order_is_told() -> None:
    disks = [disk("/a.hdd", file_size=1 << 40, reclaimable={"leaked": 5 << 30}), disk("/b.hdd", file_size=None)]
    report = fleet_report(["h"], [info(*disks)], forecasts=[forecast(checked("/b.hdd", finding("a", "error")))])
    table = disk_table([("h", one) for one in report["hosts"][0]["disks"]]).replace("\N{NO-BREAK SPACE}", " ")
    rows = re.findall(r"<tr data-disk=.*?</tr>", table)
    assert 'data-v="1099511627776">1 TiB<' in rows[0] and 'data-v="5368709120">5 GiB<' in rows[0]
    assert 'data-v="-1">\N{EN DASH}<' in rows[1] and 'data-v="1000"' in rows[1]
    assert table.count("aria-sort") == 1 and '<th scope="col" aria-sort="descending">Gives back</th>' in table
    assert "<title>Gives back: 5 GiB clusters that no table names</title>" in rows[0]


def test_hosts_are_told_with_their_sums_and_what_is_wrong_with_them() -> None:
    bad = {"path": "/x", "error_code": "damaged", "msg": "m"}
    report = fleet_report(["a", "b"], [info(disk("/1.hdd"), failed=[bad]), {}])
    table = host_table(report).replace("\N{NO-BREAK SPACE}", " ")
    assert "1 not understood" in table and "no answer" in table
    assert 'data-v="10737418240">10 GiB<' in table


def test_without_disks_there_is_no_table_and_no_box() -> None:
    assert "No disk was found" in disk_table([]) and "<table" not in disk_table([])

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import NO, SAFE
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat import TableBuilder
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import HdsHeader
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.examination import Expected
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.header import understand, with_data_off

GOOD = HdsHeader(1, 16, 1, 64, 8, 512, 0, 64, 0, 0)
EXPECTED = Expected(512, 64)
FILE = 9 * 32768


def judged(header, expected=EXPECTED, *, disk_type=2, file_size=FILE):
    understood = understand(disk_type, header, expected, path="/a", file_size=file_size)
    return understood.header, [(one.code, one.repairable) for one in understood.findings]


@pytest.mark.parametrize("expected", [EXPECTED, Expected()])
def test_a_sound_header_is_taken_as_it_is(expected):
    assert judged(GOOD, expected) == (GOOD, [])


@pytest.mark.parametrize(
    ("field", "values", "code"),
    [
        ("cluster_sectors", (0, 1, 63, 1 << 31), "header_cluster_size"),
        ("bat_entries", (0, 1, 7, (1 << 32) - 1), "header_table_length"),
        ("size_sectors", (0, 1, 1 << 30, (1 << 64) - 1), "header_size"),
    ],
)
def test_one_wrong_field_is_known_from_the_others(field, values, code):
    for value in values:
        assert judged(replace(GOOD, **{field: value})) == (GOOD, [(code, SAFE)])


@pytest.mark.parametrize("field", ["cluster_sectors", "size_sectors"])
def test_without_a_descriptor_nothing_tells_which_field_is_wrong(field):
    header, findings = judged(replace(GOOD, **{field: 0}), Expected())
    assert header is None and findings[0][1] == NO


def test_two_wrong_fields_are_not_guessed():
    assert judged(replace(GOOD, cluster_sectors=0, bat_entries=3))[0] is None
    assert judged(replace(GOOD, size_sectors=0, bat_entries=3))[0] is None


def test_the_kind_of_disk_is_repaired_only_where_all_fields_are_sound():
    assert judged(GOOD, disk_type=9) == (GOOD, [("header_type", SAFE)])
    assert judged(replace(GOOD, bat_entries=20), disk_type=9)[1] == [("header_type", NO)]


def test_a_longer_table_is_harmless_while_it_fits():
    longer = replace(GOOD, bat_entries=1000)
    assert judged(longer) == (longer, [])


def test_a_layer_that_is_smaller_than_the_disk_is_sound():
    smaller = replace(GOOD, size_sectors=100, bat_entries=2)
    assert judged(smaller) == (smaller, [])


def table(*entries, header=GOOD):
    builder = TableBuilder(header)
    for number, entry in enumerate(entries):
        builder.add(number * 2, 1, entry)
    return builder.build()


def data_off(header, *entries, file_size=FILE):
    sound, findings = with_data_off(header, table(*entries, header=header), path="/a", file_size=file_size)
    return sound.data_off, [one.repairable for one in findings]


def test_a_start_that_suits_the_table_stays():
    assert data_off(GOOD, 64, 128) == (64, [])
    assert data_off(replace(GOOD, data_off=0), 1, 65) == (0, [])
    assert data_off(replace(GOOD, data_off=128), 128, 192) == (128, [])


@pytest.mark.parametrize("wrong", [128, 70, 1 << 30, 63])
def test_a_start_that_does_not_is_found_from_the_table(wrong):
    assert data_off(replace(GOOD, data_off=wrong), 64, 128) == (64, [SAFE])


def test_a_start_that_no_entry_contradicts_may_be_anything_in_the_file():
    assert data_off(replace(GOOD, data_off=70)) == (70, [])
    assert data_off(replace(GOOD, data_off=1 << 30)) == (64, [SAFE])


def test_the_grid_of_old_writers_is_found_too():
    assert data_off(replace(GOOD, data_off=500), 1, 65) == (1, [SAFE])


@pytest.mark.parametrize("wrong", [0, 63, 65])
def test_version_2_starts_at_a_cluster(wrong):
    assert data_off(replace(GOOD, version=2, data_off=wrong), 1, 2) == (64, [SAFE])


def test_when_nothing_suits_all_entries_a_possible_start_stays():
    assert data_off(GOOD, 64, 130, 197) == (64, [])

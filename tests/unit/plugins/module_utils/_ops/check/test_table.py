# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.bat import Run, TableBuilder
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import HdsHeader
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.table import find_faults, meets

CLUSTER = 32768
START = 64
FILE = (1 + 8) * CLUSTER


def header(version=1):
    return HdsHeader(version, 16, 1, 64, 8, 512, 0, START, 0, 0)


def faults_of(*runs, version=1, file_size=FILE):
    """Runs as (cluster, count, entry)."""
    builder = TableBuilder(header(version))
    for run in runs:
        builder.add(*run)
    return find_faults(builder.build(), header(version), file_size=file_size)


def test_a_sound_table_has_no_faults():
    assert faults_of() is None
    assert faults_of((0, 3, START), (5, 1, START * 5)) is None


def test_the_last_cluster_may_be_cut_where_the_guest_does_not_see():
    short = HdsHeader(1, 16, 1, 64, 8, 500, 0, START, 0, 0)
    builder = TableBuilder(short)
    builder.add(7, 1, START)
    assert find_faults(builder.build(), short, file_size=2 * CLUSTER - 12 * 512) is None
    assert find_faults(builder.build(), short, file_size=2 * CLUSTER - 13 * 512).affected["entry_cut"].clusters == (7,)


def test_each_of_twins_but_one_gets_a_place():
    faults = faults_of((0, 3, START), (4, 2, START * 2))
    assert tuple(faults.copied()) == (Run(4, 2, 2 * CLUSTER),) and not faults.drops and not faults.loses
    assert (faults.kept, faults.used_end, faults.affected["entry_duplicate"].number) == (3, 4 * CLUSTER, 2)


def test_many_that_share_one_place_are_all_parted():
    faults = faults_of(*((index, 1, START) for index in range(0, 8, 2)))
    assert [run.cluster for run in faults.copied()] == [2, 4, 6] and faults.kept == 1
    assert str(faults.affected["entry_duplicate"]) == "3 guest clusters: 2, 4, 6"


def test_what_leads_behind_the_file_is_forgotten_and_the_rest_of_the_run_kept():
    faults = faults_of((0, 8, START * 5))
    assert tuple(faults.dropped()) == (Run(4, 4, FILE),) and faults.kept == 4 and faults.loses


def test_a_cluster_that_the_file_cuts_is_kept():
    faults = faults_of((0, 1, START * 8), file_size=FILE - 100)
    assert (faults.stretched, faults.kept, tuple(faults.dropped())) == (FILE, 1, ())
    assert faults.loses


def test_off_the_grid_and_low_are_copied_from_where_they_are():
    faults = faults_of((0, 1, START + 3), (2, 1, START))
    assert tuple(faults.copied()) == (Run(0, 1, CLUSTER + 3 * 512),) and set(faults.affected) == {"entry_off_grid"}
    faults = faults_of((0, 1, 1))
    assert tuple(faults.copied()) == (Run(0, 1, 512),) and set(faults.affected) == {"entry_low"}


def test_an_entry_into_the_table_is_forgotten():
    large = HdsHeader(1, 16, 1, 64, 8192, 8192 * 64, 0, 128, 0, 0)
    builder = TableBuilder(large)
    builder.add(3, 1, 1)
    assert tuple(find_faults(builder.build(), large, file_size=1 << 30).dropped()) == (Run(3, 1, 512),)


@pytest.mark.parametrize(
    ("ranges", "expected"), [((), False), (((CLUSTER, CLUSTER + 1),), True), (((2 * CLUSTER, 3 * CLUSTER),), False)]
)
def test_clusters_meet_ranges_that_they_touch(ranges, expected):
    builder = TableBuilder(header())
    builder.add(0, 1, START)
    assert meets(builder.build(), ranges) is expected

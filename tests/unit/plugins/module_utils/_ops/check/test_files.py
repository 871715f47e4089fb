# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.check.files import examine_files


def test_files_are_judged_by_what_they_are_for():
    names = [
        "a.hds",
        "a.hdd",
        ".a.vdisk-1.tmp",
        ".vdisk-journal",
        "DiskDescriptor.xml.tmp",
        "DiskDescriptor.xml.lck",
        "a.hdd.drh",
        "notes.txt",
    ]
    found = examine_files("/d", names, journal=".vdisk-journal", is_interrupted=False)
    assert [(one.code, one.where) for one in found] == [
        ("orphan_file", "/d/a.hds"),
        ("leftover_ours", "/d/.a.vdisk-1.tmp"),
        ("leftover_ploop", "/d/DiskDescriptor.xml.tmp"),
    ]


def test_files_of_a_change_that_was_cut_off_belong_to_its_end():
    assert not list(examine_files("/d", [".a.vdisk-1.tmp"], journal=".vdisk-journal", is_interrupted=True))

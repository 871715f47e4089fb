# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of maintenance tells."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible_collections.vdisk.parallels.plugins.filter.maintain_entry import maintain_entry
from ansible_collections.vdisk.parallels.plugins.filter.maintain_report import maintain_report
from ansible_collections.vdisk.parallels.plugins.plugin_utils._maintain.report import host_report
from ansible_collections.vdisk.parallels.tests.support.maintenance import BEFORE, HELD, SKIPPED, compacted, merged


def test_entries_failures_and_absent_disks_become_one_report() -> None:
    entries = [maintain_entry(BEFORE, merge=merged(), compact=compacted()), maintain_entry(HELD)]
    failed = [{"path": "/bad.hdd", "msg": "broken", "error_code": "damaged"}]
    report = maintain_report(entries, failed_disks=failed, absent=["/none"])
    assert report == host_report(entries, failed_disks=failed, absent=["/none"], is_predicted=False)
    assert report["summary"][0].startswith("3 disks: 1 changed, 0 unchanged, 1 skipped, 1 failed")


def test_what_is_left_out_counts_as_nothing() -> None:
    entries = [maintain_entry(BEFORE, merge=merged(), compact=SKIPPED, predicted=True)]
    report = maintain_report(entries, predicted=True)
    assert (report["absent"], report["failed"], report["predicted"]) == ([], 0, True)

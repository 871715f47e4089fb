# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a fleet, put together."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible.errors import AnsibleFilterError

from ansible_collections.vdisk.parallels.plugins.filter.audit_report import audit_report
from ansible_collections.vdisk.parallels.tests.support.reports import (
    disk,
    info,
)


def test_the_report_is_json() -> None:
    report = audit_report(["a"], [info(disk("/1.hdd"))], title="T", stamp="S", scan="zeros")
    assert json.loads(json.dumps(report)) == report
    assert (report["title"], report["stamp"], report["scan"], report["format"]) == ("T", "S", "zeros", 1)


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(AnsibleFilterError):
        audit_report(["a", "b"], [info()])

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of maintenance tells."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible_collections.vdisk.parallels.plugins.filter.maintain_report import FilterModule, maintain_report


def test_results_become_one_report() -> None:
    result = {"disks": [], "missing": [{"path": "/none", "msg": "Nothing."}], "unfinished": [], "predicted": True}
    report = maintain_report(iter([result]))
    assert report["absent"] == ["/none"] and report["predicted"] is True
    assert report["summary"][0].startswith("0 disks: 0 would change")
    assert FilterModule().filters() == {"maintain_report": maintain_report}

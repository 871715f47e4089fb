# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible_collections.vdisk.parallels.plugins.filter.maintain_entry import maintain_entry
from ansible_collections.vdisk.parallels.tests.support.maintenance import (
    BEFORE,
    GIB,
    HEALTHY,
    SKIPPED,
    compacted,
    merged,
)


def test_what_was_done_is_told() -> None:
    entry = maintain_entry(BEFORE, check=HEALTHY, merge=merged(), compact=compacted())
    assert entry == {
        "path": "/a.hdd",
        "name": "a",
        "status": "changed",
        "reason": None,
        "error_code": None,
        "findings": [],
        "layers_before": 4,
        "layers_after": 2,
        "size_before": 10 * GIB,
        "size_after": 7 * GIB,
        "merged": 2,
        "reclaimed": GIB,
        "bytes_written": 7,
    }


def test_a_limit_and_a_prediction_are_passed_on() -> None:
    assert maintain_entry(BEFORE, compact=SKIPPED, over=True)["status"] == "skipped"
    assert "known after the merge" in maintain_entry(BEFORE, merge=merged(), predicted=True)["reason"]
    assert maintain_entry(BEFORE)["reason"] is None

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._ops.maintain.budget import Budget


def test_without_limits_there_is_no_end() -> None:
    budget = Budget(None, None, clock=lambda: 1e12)
    budget.spend(1 << 60)
    assert budget.exhausted is None


def test_time_is_up_after_the_last_second() -> None:
    now = [100.0]
    budget = Budget(10, None, clock=lambda: now[0])
    now[0] = 109.9
    assert budget.exhausted is None and round(budget.elapsed, 1) == 9.9
    now[0] = 110.0
    assert "max_duration" in str(budget.exhausted)


def test_data_are_used_up_when_as_much_was_written() -> None:
    budget = Budget(None, 10)
    budget.spend(9)
    assert budget.exhausted is None
    budget.spend(1)
    assert "max_bytes" in str(budget.exhausted) and budget.written == 10

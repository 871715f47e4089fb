# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Count the crash states that all tests explore, in whatever processes they run, and tell it at the end."""

from __future__ import annotations

import os
from typing import Any, Callable

import pytest

from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer

EXPLORED = "crash states explored"
DIFFERENT = "of them different in content"


@pytest.fixture(name="count")
def count_fixture(request: pytest.FixtureRequest) -> Callable[[Explorer], None]:
    """Add what an explorer has seen to the total."""

    def count(explorer: Explorer) -> None:
        # The properties of a test travel with its report, also from other processes.
        request.node.user_properties.extend([(EXPLORED, explorer.explored), (DIFFERENT, explorer.different)])

    return count


@pytest.fixture(name="long", scope="session")
def long_fixture() -> bool:
    """Whether there are hours to spend."""
    return bool(os.environ.get("VDISK_LONG"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    totals = {EXPLORED: 0, DIFFERENT: 0}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, number in report.user_properties:
                    if name in totals:
                        totals[name] += number
    if totals[EXPLORED]:
        terminalreporter.write_line(f"{EXPLORED}: {totals[EXPLORED]} ({DIFFERENT}: {totals[DIFFERENT]})")

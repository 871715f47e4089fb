# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell at the end how many comparisons with other programs were made, under pytest-xdist too."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.tests.support import oracles

_KEY = "oracle_comparisons"
_FROM_WORKERS: Counter[str] = Counter()


def pytest_sessionfinish(session: pytest.Session) -> None:
    workeroutput = getattr(session.config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput[_KEY] = dict(oracles.COMPARISONS)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _FROM_WORKERS.update(getattr(node, "workeroutput", {}).get(_KEY, {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(oracles.summary(oracles.COMPARISONS + _FROM_WORKERS))

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A sync that fails, and a kernel that then forgets what it was asked to make durable, as Linux does: no run builds
on that.
"""

from __future__ import annotations

import os
from typing import Callable

import pytest

from ansible_collections.vdisk.parallels.tests.crash.explore import Explorer
from ansible_collections.vdisk.parallels.tests.crash.operations import OPERATIONS, Operation
from ansible_collections.vdisk.parallels.tests.crash.trial import Trial

LONG = bool(os.environ.get("VDISK_LONG"))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_nobody_goes_on_after_a_sync_that_failed(operation: Operation, count: Callable[[Explorer], None]) -> None:
    trial = Trial(operation)
    for seed, dropped in enumerate((1.0, 0.5, 0.2, 0.8) if LONG else (1.0,)):
        explorer = Explorer(trial, seed=seed, limit=None if LONG else 12)
        explorer.failed_syncs(dropped=dropped)
        count(explorer)

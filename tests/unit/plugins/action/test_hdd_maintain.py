# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys

import pytest

if sys.version_info < (3, 10):
    pytest.skip("controllers run on newer Pythons", allow_module_level=True)
pytest.importorskip("jinja2")

from ansible_collections.vdisk.parallels.plugins.action.hdd_maintain import ActionModule
from ansible_collections.vdisk.parallels.plugins.plugin_utils._progress.action import ProgressAction


def test_every_run_may_take_long() -> None:
    assert issubclass(ActionModule, ProgressAction)
    assert ActionModule.may_take_long(ActionModule.__new__(ActionModule), {}) is True

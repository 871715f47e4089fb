# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import sys

import pytest

if sys.version_info < (3, 10):
    pytest.skip("controllers run on newer Pythons", allow_module_level=True)
pytest.importorskip("jinja2")

from ansible_collections.vdisk.parallels.plugins.action.hdd import ActionModule
from ansible_collections.vdisk.parallels.plugins.plugin_utils._progress.action import ProgressAction


@pytest.mark.parametrize(
    "options, is_long",
    [
        ({"size": "64G"}, False),
        ({"type": "plain"}, True),
        ({"type": "plain", "state": "absent"}, False),
        ({"split_size": "2G"}, True),
        ({"size": "64G", "shrink": True}, True),
        ({"size": "64G", "shrink": "no"}, False),
        ({"size": "64G", "snapshots": "merge"}, True),
        ({"format_version": "2"}, True),
        ({"format_version": "auto"}, False),
    ],
)
def test_only_what_may_take_long_is_watched(options: dict, is_long: bool) -> None:
    assert issubclass(ActionModule, ProgressAction)
    assert ActionModule.may_take_long(ActionModule.__new__(ActionModule), options) is is_long

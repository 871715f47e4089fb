# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.foreign.allowed import NEARBY, Reach


def test_nothing_is_allowed_unless_it_is_said() -> None:
    assert Reach((), None, False) == NEARBY

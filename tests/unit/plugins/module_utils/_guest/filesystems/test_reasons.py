# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.reasons import REASONS


def test_reasons_are_short_codes_with_a_meaning() -> None:
    assert all(code == code.lower() and " " not in code and meaning for code, meaning in REASONS.items())

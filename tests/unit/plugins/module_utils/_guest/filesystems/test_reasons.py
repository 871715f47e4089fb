# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.reasons import REASONS


def test_every_reason_is_in_the_guide() -> None:
    guide = Path(__file__).resolve().parents[6] / "docs" / "docsite" / "rst" / "guide_free_space.rst"
    if not guide.is_file():
        pytest.skip("there are no guides here")
    text = guide.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^   \* - ``(\w+)``\n     - (.+)$", text, re.MULTILINE))
    assert {code: rows.get(code) for code in REASONS} == REASONS


def test_reasons_are_short_codes_with_a_meaning() -> None:
    assert all(code == code.lower() and " " not in code and meaning for code, meaning in REASONS.items())

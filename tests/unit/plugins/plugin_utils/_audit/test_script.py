# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit import look, script


def test_the_policy_lets_in_this_style_and_this_script_alone() -> None:
    rules = dict(rule.split(" ", 1) for rule in script.policy().split("; "))
    for name, text in (("style-src", look.STYLE), ("script-src", script.SCRIPT)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["base-uri"], rules["form-action"]) == ("'none'",) * 3


def test_nothing_in_the_script_ends_it_or_makes_markup() -> None:
    assert "</" not in script.SCRIPT
    for wrong in ("innerHTML", "insertAdjacentHTML", "document.write", "eval(", ".style"):
        assert wrong not in script.SCRIPT

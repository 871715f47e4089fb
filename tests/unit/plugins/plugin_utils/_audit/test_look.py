# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import hashlib
import re

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit import look


def test_the_policy_lets_in_this_style_and_this_script_alone() -> None:
    rules = dict(rule.split(" ", 1) for rule in look.policy().split("; "))
    for name, text in (("style-src", look.STYLE), ("script-src", look.SCRIPT)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["base-uri"], rules["form-action"]) == ("'none'",) * 3


def test_every_colour_that_is_used_is_defined_in_light_and_dark() -> None:
    light, dark = look.STYLE.split("@media (prefers-color-scheme:dark)", 1)
    used = set(re.findall(r"var\((--\w+)\)", look.STYLE))
    for part in (light, dark.split("}}", 1)[0]):
        assert used <= set(re.findall(r"(--\w+):", part))


def test_nothing_in_the_page_ends_its_style_or_its_script() -> None:
    assert "</" not in look.STYLE + look.SCRIPT
    assert "//" not in look.STYLE

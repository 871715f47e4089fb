# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""axe-core, the rules by which pages are judged for people who do not see them, or use no mouse.

It is not part of this collection: ``npm install --prefix .build/axe axe-core`` puts it where it is looked for.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import List, Optional

from ansible_collections.vdisk.parallels.tests.pages.browser import Browser

_PLACE = Path(__file__).resolve().parents[2] / ".build/axe/node_modules/axe-core/axe.min.js"


def find_axe() -> Optional[str]:
    """The script that VDISK_AXE names, or the one that npm has installed; None when there is none."""
    return next((path for path in (os.environ.get("VDISK_AXE"), str(_PLACE)) if path and os.path.exists(path)), None)


def violations(browser: Browser, program: str) -> List[str]:
    """What is wrong with the page that is open: the rule, how often, and the first place."""
    with open(program, encoding="utf-8") as stream:
        browser.evaluate(f"{stream.read()}\n;undefined")
    found = browser.evaluate(
        "axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify(r.violations.map(v => "
        "`${v.id}: ${v.help}; ${v.nodes.length} times, first ${v.nodes[0].html.slice(0, 200)}; "
        "${v.nodes[0].failureSummary}`)))",
        wait=True,
    )
    told: List[str] = json.loads(found)
    return told

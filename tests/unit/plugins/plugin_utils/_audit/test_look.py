# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re
from typing import Dict, List, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit import look

PAPER = "@media print"
DARK = "@media (prefers-color-scheme:dark)"
SURFACES = ("--page", "--card")
TEXTS: List[Tuple[str, Tuple[str, ...]]] = [
    ("--ink", (*SURFACES, "--chip")),
    ("--soft", SURFACES),
    ("--merge", ("--card",)),
    ("--bad", ("--badbg",)),
    ("--warn", ("--warnbg",)),
    ("--good", ("--goodbg",)),
]
PARTS = ("--used", "--merge", "--zero", "--leaked", "--equal", "--filesystem")


def colours(kind: str) -> Dict[str, str]:
    """The colours of the page: light, dark or paper."""
    start = {"light": 0, "dark": look.STYLE.index(DARK), "paper": look.STYLE.index(PAPER)}[kind]
    told = look.STYLE[look.STYLE.index(":root{", start) :].split("}", 1)[0]
    return dict(re.findall(r"(--\w+):(#\w+)", told))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_what_the_rules_say_it_is() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("kind", ["light", "dark", "paper"])
def test_text_stands_out_from_what_it_is_on(kind: str) -> None:
    known = colours(kind)
    low = {
        (ink, on): round(contrast(known[ink], known[on]), 2)
        for ink, surfaces in TEXTS
        for on in surfaces
        if contrast(known[ink], known[on]) < 4.5
    }
    assert not low


@pytest.mark.parametrize("kind", ["light", "dark", "paper"])
def test_parts_of_pictures_stand_out_from_their_background(kind: str) -> None:
    known = colours(kind)
    assert not {part: known[part] for part in PARTS if contrast(known[part], known["--card"]) < 3}
    assert contrast(known["--used"], known["--track"]) >= 3


def test_every_colour_that_is_used_is_defined_in_light_and_dark() -> None:
    used = set(re.findall(r"var\((--\w+)\)", look.STYLE))
    for kind in ("light", "dark"):
        assert used <= set(colours(kind))


def test_nothing_in_the_page_ends_its_style() -> None:
    assert "</" not in look.STYLE and "//" not in look.STYLE

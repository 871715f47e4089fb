# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.markup import count, element, escaped, size


def test_text_that_cannot_be_encoded_is_replaced() -> None:
    assert escaped("a\udcff<") == "a?&lt;"
    assert size(None) == "\N{EN DASH}" and size(1536) == "1.5\N{NO-BREAK SPACE}KiB"


def test_markup_of_attributes_is_text_as_well() -> None:
    assert element("a", "<b>", class_="x y", aria_label="'<\"") == (
        '<a class="x y" aria-label="&#x27;&lt;&quot;"><b></a>'
    )


def test_numbers_agree_with_their_nouns() -> None:
    told = [count(0, "disk"), count(1, "disk"), count(2, "stretch", "stretches")]
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for text in told] == ["0 disks", "1 disk", "2 stretches"]

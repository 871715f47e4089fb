# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Type

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.damage import DamagedImage, DamagedSource


@pytest.mark.parametrize("kind", [DamagedImage, DamagedSource])
def test_damage_of_an_image_has_the_code_of_all_damage_and_says_what_helps(kind: Type[Damaged]) -> None:
    error = kind("It ends early", "/disk", 512)
    assert (error.code, error.hint) == ("damaged", kind.usual_hint)
    assert str(error).startswith("It ends early (/disk, offset 512). Restore the image from a copy")
    assert kind("It ends early", hint="Look.").hint == "Look."

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image_ids import NO_IDS, ImageIds


def test_an_image_without_uuids_has_neither_itself_nor_a_parent() -> None:
    assert ImageIds(None, None, None, None) == NO_IDS
    assert ImageIds("a", "b", "c", "d").parent == "c"

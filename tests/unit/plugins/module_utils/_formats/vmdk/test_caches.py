# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.caches import Caches


def test_all_extents_share_the_room_for_directories() -> None:
    caches = Caches()
    caches.reserve(1 << 20, "/d")
    caches.reserve(4096, "/d")
    with pytest.raises(Unsupported):
        caches.reserve(1, "/d")

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.caches import Cache, Caches


def test_tables_are_read_once_by_small_reads_and_forgotten_by_many() -> None:
    cache: Cache[int] = Cache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_all_extents_share_the_room_for_directories() -> None:
    caches = Caches()
    caches.reserve(1 << 20, "/d")
    caches.reserve(4096, "/d")
    with pytest.raises(Unsupported):
        caches.reserve(1, "/d")

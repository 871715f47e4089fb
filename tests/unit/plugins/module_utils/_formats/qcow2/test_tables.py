# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from array import array

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2 import tables


@pytest.mark.parametrize("count", [0, 1, 1000, (1 << 19) + 5])
def test_sorting_in_parts_is_sorting(count: int) -> None:
    values = array("I", ((index * 7919) % 1000003 for index in range(count)))
    assert list(tables.sorted_entries(values)) == sorted(values)

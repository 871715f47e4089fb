# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How layers are cut into whole grains."""

from __future__ import annotations

from typing import List, Tuple

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._io.copy import SLICE
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.slices import layer_slices

RANGES = st.lists(st.tuples(st.integers(1, 700).map(lambda n: n * 512), st.sampled_from([DATA, ZERO, ABSENT])), min_size=1, max_size=12)


@given(RANGES, st.sampled_from([512, 4096, 65536, 1 << 20]))
def test_whole_grains_that_hold_anything_come_once_and_in_order(ranges: List[Tuple[int, str]], grain: int) -> None:
    extents, position = [], 0
    for length, kind in ranges:
        extents.append(Extent(position, length, kind))
        position += length
    size = position
    slices = list(layer_slices(extents, size, grain))
    assert all(0 < length <= max(SLICE, grain) for _offset, length in slices)
    assert all(offset % grain == 0 and (length % grain == 0 or offset + length == size) for offset, length in slices)
    assert all(one[0] + one[1] <= other[0] for one, other in zip(slices, slices[1:]))
    covered = {number for offset, length in slices for number in range(offset // grain, -(-(offset + length) // grain))}
    touched = {number for extent in extents if extent.kind != ABSENT for number in range(extent.start // grain, -(-extent.end // grain))}
    assert covered == touched

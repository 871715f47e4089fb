# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How layers are cut into whole grains."""

from __future__ import annotations

from typing import Iterator, List, Tuple

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.extents import ABSENT, DATA, ZERO, Extent
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.slices import layer_slices
from ansible_collections.vdisk.parallels.plugins.module_utils._io.copy import WINDOW

RANGES = st.lists(
    st.tuples(st.integers(1, 700).map(lambda n: n * 512), st.sampled_from([DATA, ZERO, ABSENT])),
    min_size=1,
    max_size=12,
)


class View:
    """A disk without anything below the layer: what is absent reads as zeros, too, but not because the layer says
    so.
    """

    def __init__(self, extents: List[Extent], size: int) -> None:
        self._extents = extents
        self.size = size

    def extents(self, start: int, length: int) -> Iterator[Extent]:
        for extent in self._extents:
            first, last = max(start, extent.start), min(start + length, extent.end)
            if first < last:
                yield Extent(first, last - first, ZERO if extent.kind == ZERO else DATA)

    def pread_into(self, offset: int, buffer: object) -> None:
        raise AssertionError("slices are cut by extents alone")

    def close(self) -> None:
        """Nothing is open."""


def joined(extents: List[Extent]) -> List[Extent]:
    found: List[Extent] = []
    for extent in extents:
        if found and found[-1].end == extent.start:
            found[-1] = Extent(found[-1].start, found[-1].length + extent.length, extent.kind)
        else:
            found.append(extent)
    return found


@given(RANGES, st.sampled_from([512, 4096, 65536, 1 << 20]))
def test_whole_grains_that_hold_anything_come_once_and_in_order(ranges: List[Tuple[int, str]], grain: int) -> None:
    extents, position = [], 0
    for length, kind in ranges:
        extents.append(Extent(position, length, kind))
        position += length
    size = position
    found = list(layer_slices(View(extents, size), extents, grain))
    assert all(kind == ZERO or 0 < length <= max(WINDOW, grain) for _offset, length, kind in found)
    zero = [extent for extent in extents if extent.kind == ZERO]
    assert all(
        any(one.start <= offset and offset + length <= one.end for one in joined(zero))
        for offset, length, kind in found
        if kind == ZERO
    )
    slices = [(offset, length) for offset, length, _kind in found]
    assert all(offset % grain == 0 and (length % grain == 0 or offset + length == size) for offset, length in slices)
    assert all(one[0] + one[1] <= other[0] for one, other in zip(slices, slices[1:]))
    covered = {number for offset, length in slices for number in range(offset // grain, -(-(offset + length) // grain))}
    touched = {
        number
        for extent in extents
        if extent.kind != ABSENT
        for number in range(extent.start // grain, -(-extent.end // grain))
    }
    assert covered == touched

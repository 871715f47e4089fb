# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.bits import zero_runs


@given(st.binary(max_size=40) | st.integers(0, 40).map(bytes), st.integers(0, 320), st.booleans())
def test_runs_are_the_bits_that_are_zero(bitmap: bytes, count: int, high_first: bool) -> None:
    count = min(count, 8 * len(bitmap))
    shifts = [7 - bit if high_first else bit for bit in range(8)]
    bits = [byte >> shift & 1 for byte in bitmap for shift in shifts][:count]
    runs = list(zero_runs(bitmap, count, high_first=high_first))
    assert [n for first, end in runs for n in range(first, end)] == [n for n, bit in enumerate(bits) if not bit]
    assert all(first[1] < second[0] for first, second in zip(runs, runs[1:]))


def test_a_bitmap_is_long_enough() -> None:
    with pytest.raises(ValueError, match="short"):
        list(zero_runs(b"\xff", 9))

# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.cursor import Cursor, split_range
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.descriptor import ExtentLine


def test_a_cursor_goes_ahead_and_not_back() -> None:
    cursor = Cursor(4096, "/d")
    cursor.advance(512, 1024)
    cursor.advance(1536, 512)
    cursor.advance(4096, 0)
    for offset, length in ((2047, 1), (0, 1), (4000, 97), (2048, -1), (4097, 0), (-1, 0)):
        with pytest.raises(BadRequest) as caught:
            cursor.advance(offset, length)
        assert caught.value.path == "/d"
    # An empty range may lie anywhere and leaves the cursor where it is.
    cursor.advance(0, 0)
    cursor.advance(2048, 2048)


@given(st.integers(1, 5), st.lists(st.integers(1, 5), max_size=1), st.integers(1, 4), st.data())
def test_a_range_is_cut_at_the_ends_of_the_pieces(size: int, last: List[int], count: int, data: st.DataObject) -> None:
    pieces = [ExtentLine(size, "FLAT", f"f{number}") for number in range(count)]
    pieces += [ExtentLine(min(size, sectors), "FLAT", "last") for sectors in last]
    whole = [(index, byte) for index, piece in enumerate(pieces) for byte in range(piece.sectors * 512)]
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    parts = list(split_range(pieces, start, end))
    assert [(index, inside + byte) for index, inside, length in parts for byte in range(length)] == whole[start:end]
    assert all(length for _index, _inside, length in parts)

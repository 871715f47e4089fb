# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.buffers import clear, is_equal, new_buffer


@pytest.mark.parametrize("length", [0, 1, 4096, 256 << 10])
def test_a_new_buffer_is_zero_and_can_be_filled(length):
    buffer = new_buffer(length)
    assert bytes(buffer) == bytes(length) and len(buffer) == length
    buffer[:] = b"x" * length
    assert bytes(buffer) == b"x" * length


def test_buffers_are_compared_as_far_as_the_other_goes():
    one, other = new_buffer(10), new_buffer(10)
    one[:], other[:] = b"0123456789", b"0123456780"
    assert is_equal(one, other[:9]) and is_equal(one, b"0123456789") and is_equal(one, other[:0])
    assert not is_equal(one, other) and not is_equal(one, other[1:3])


def test_a_part_of_a_buffer_is_no_buffer():
    with pytest.raises(ValueError):
        is_equal(new_buffer(10)[2:], b"")


@pytest.mark.parametrize("length", [0, 1, 7, 4096, (1 << 20) + 3])
def test_exactly_the_buffer_is_cleared(length):
    around = bytearray(b"x" * (length + 20))
    clear(memoryview(around)[10 : 10 + length])
    assert around == b"x" * 10 + bytes(length) + b"x" * 10
    clear(around)
    assert around == bytes(length + 20)

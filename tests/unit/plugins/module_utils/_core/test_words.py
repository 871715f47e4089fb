# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct
from array import array
from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core import words
from ansible_collections.vdisk.parallels.plugins.module_utils._core.words import BIG, LITTLE, pack_words, unpack_words


@pytest.mark.parametrize("order, sign", [(LITTLE, "<"), (BIG, ">")])
@pytest.mark.parametrize("typecode, bits", [("H", 16), ("I", 32), ("Q", 64)])
@given(st.data())
def test_words_are_what_struct_makes_of_them(
    typecode: str, bits: int, order: str, sign: str, data: st.DataObject
) -> None:
    numbers: List[int] = data.draw(st.lists(st.integers(0, (1 << bits) - 1)))
    raw = struct.pack(f"{sign}{len(numbers)}{typecode}", *numbers)
    table = array(typecode, numbers)
    assert pack_words(table, order) == raw
    assert table == array(typecode, numbers), "the words stay as they are"
    assert unpack_words(raw, typecode, order) == table
    assert unpack_words(bytearray(raw), typecode, order) == table


def test_words_are_little_endian_and_of_32_bits_unless_said_otherwise() -> None:
    assert unpack_words(b"\1\0\0\0\2\0\0\0") == array("I", [1, 2])
    assert pack_words(array("I", [1, 2])) == b"\1\0\0\0\2\0\0\0"


def test_a_machine_of_the_other_byte_order_swaps(monkeypatch: pytest.MonkeyPatch) -> None:
    other = BIG if words.sys.byteorder == LITTLE else LITTLE
    raw = bytes(range(8))
    own = unpack_words(raw, order=words.sys.byteorder), unpack_words(raw, order=other)
    monkeypatch.setattr(words.sys, "byteorder", other)
    assert (unpack_words(raw, order=other), unpack_words(raw, order=LITTLE if other == BIG else BIG)) == own

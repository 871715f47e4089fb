# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.containers.lvm_text import (
    checksum,
    find_label,
    parse_label,
    parse_text,
    read_group,
    sections,
)
from ansible_collections.vdisk.parallels.tests.support.filesystems import Bytes, whole
from ansible_collections.vdisk.parallels.tests.support.lvm import AREA, UUID, physical, text


def test_text_is_read_as_values() -> None:
    assert parse_text('a { # note\n b = 5 c = ["x", 1, -2] d { e = "a{\\"b" } }\nf = []') == {
        "a": {"b": 5, "c": ["x", 1, -2], "d": {"e": 'a{\\"b'}},
        "f": [],
    }


@pytest.mark.parametrize("bad", ["a {", "a = ", "a = [ 1", "}", "a b", "a { } }", "a = 1 a = 2", "a {" * 50 + "}" * 50])
def test_text_without_sense_is_refused(bad: str) -> None:
    with pytest.raises(Uncertain):
        parse_text(bad)


@given(st.text(alphabet='ab {}[]=",#\\\n1', max_size=80))
def test_any_text_ends_in_values_or_a_refusal(content: str) -> None:
    try:
        assert isinstance(parse_text(content), dict)
    except Uncertain as uncertain:
        assert uncertain.code == "damaged"


def test_label_and_group_are_found() -> None:
    volume = whole(Bytes(physical()))
    raw = find_label(volume)
    assert raw is not None
    label = parse_label(raw)
    assert label.id.replace("-", "") == UUID and label.metadata == (AREA,)
    name, group = read_group(volume, label)
    assert name == "vg0" and group["seqno"] == 3 and list(sections(group, "physical_volumes")) == ["pv0"]


def test_the_ring_goes_on_after_its_header() -> None:
    volume = whole(Bytes(physical(offset=AREA[1] - 100)))
    raw = find_label(volume)
    assert raw is not None and read_group(volume, parse_label(raw))[0] == "vg0"


@pytest.mark.parametrize("place", [512 + 22, AREA[0] + 45, AREA[0] + 512 + 30], ids=["label", "area", "text"])
def test_a_wrong_checksum_is_damage(place: int) -> None:
    content = bytearray(physical())
    content[place] ^= 1
    volume = whole(Bytes(bytes(content)))
    with pytest.raises(Uncertain) as error:
        read_group(volume, parse_label(find_label(volume) or b""))
    assert error.value.code == "damaged"


def test_an_area_that_is_not_in_use_says_nothing() -> None:
    volume = whole(Bytes(physical(flags=1)))
    with pytest.raises(Uncertain) as error:
        read_group(volume, parse_label(find_label(volume) or b""))
    assert error.value.code == "raid"


def test_the_checksum_is_that_of_lvm() -> None:
    # The label that pvcreate 2.03 wrote; see also the oracle test.
    assert checksum(b"") == 0xF597A6CF
    assert struct.unpack_from("<I", physical(), 512 + 16)[0] == checksum(physical()[512 + 20 : 1024])
    assert "vg0" in text()

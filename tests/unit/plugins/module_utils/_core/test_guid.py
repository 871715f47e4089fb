# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GUIDs in their one written form."""

from __future__ import annotations

import uuid
from typing import List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core import guid as guids
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged

BARE = "0f6c1a52-7a1e-4c6b-9a53-3f3c3d6a1b01"


@given(st.uuids())
def test_every_spelling_comes_to_one_form(value: uuid.UUID) -> None:
    expected = "{" + str(value) + "}"
    for text in (str(value), expected, expected.upper(), f"  {expected}\n", str(value).upper()):
        assert guids.is_guid(text)
        assert guids.normalise(text) == expected
    assert guids.normalise(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        BARE[:-1],
        BARE + "0",
        BARE.replace("-", ""),
        BARE.replace("0", "g"),
        f"({BARE})",
        f"{BARE} {BARE}",
        f"x{BARE}",
        "٠" + BARE[1:],
    ],
)
def test_what_is_no_guid_is_refused(text: str) -> None:
    assert not guids.is_guid(text)
    with pytest.raises(Damaged) as caught:
        guids.normalise(text, path="/a.hdd", what="ParentGUID")
    assert caught.value.path == "/a.hdd"
    assert caught.value.found == text[:60]
    assert "ParentGUID" in str(caught.value)


def test_a_huge_text_is_cut_in_the_message() -> None:
    with pytest.raises(Damaged) as caught:
        guids.normalise("x" * 1_000_000)
    assert len(str(caught.value)) < 200
    assert caught.value.found == "x" * 60


def test_derived_guids_depend_on_every_part_and_on_where_one_ends() -> None:
    assert guids.derive("a", "b") == guids.derive("a", "b")
    different = {
        guids.derive(*parts) for parts in (("a", "b"), ("b", "a"), ("ab",), ("ab", ""), ("", "ab"), ("a", "b", ""))
    }
    assert len(different) == 6
    assert all(guids.normalise(guid) == guid for guid in different)


def test_a_derived_guid_is_the_same_on_every_machine() -> None:
    assert guids.derive("snapshot", guids.NONE, "before upgrade") == "{3c2784ff-3f46-5751-82b6-357dff266190}"


def test_drawn_guids_differ_and_are_written_as_guids() -> None:
    drawn = {guids.draw() for _number in range(100)}
    assert len(drawn) == 100
    assert all(guids.normalise(guid) == guid and uuid.UUID(guid).version == 4 for guid in drawn)


def test_the_well_known_ones_are_in_the_written_form() -> None:
    assert {guids.TOP, guids.NONE, guids.BACKUP} == guids.WELL_KNOWN
    assert all(guids.normalise(guid) == guid for guid in guids.WELL_KNOWN)


@given(st.binary(min_size=16, max_size=16))
def test_bytes_and_guids_are_each_other_as_uuid_has_them(raw: bytes) -> None:
    text = guids.of_bytes(raw)
    assert text == "{" + str(uuid.UUID(bytes=raw)) + "}" and guids.is_guid(text)
    assert guids.to_bytes(text) == raw == guids.swapped(guids.swapped(raw))
    assert guids.swapped(raw) == uuid.UUID(text).bytes_le


@given(st.lists(st.text()))
def test_a_derived_guid_is_a_uuid_of_version_5(parts: List[str]) -> None:
    name = "\0".join(parts).encode("utf-8", "backslashreplace").decode()
    space = uuid.UUID("7c0f4a2e-3d0b-5c5e-9d5e-0c1f6f5f8a11")
    assert guids.derive(*parts) == "{" + str(uuid.uuid5(space, name)) + "}"

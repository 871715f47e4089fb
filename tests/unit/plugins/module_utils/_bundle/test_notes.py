# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.notes import (
    Note,
    bounded,
    pack_notes,
    parse_notes,
    read_notes,
)
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/a.hdd/vdisk-snapshots.json"
TEXT = st.none() | st.text(max_size=50)


@given(st.dictionaries(st.integers(1, 50).map(guid_of), st.builds(Note, TEXT, TEXT, TEXT).map(bounded), max_size=5))
def test_what_is_written_is_read_again(notes: dict) -> None:
    assert parse_notes(pack_notes(notes)) == notes


def test_texts_are_bounded() -> None:
    long = bounded(Note("n" * 5000, "t" * 5000, "d" * 50000))
    assert [len(text or "") for text in long] == [1000, 40, 10000]
    assert bounded(Note("\ud800")).name == "?"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"version": 2, "snapshots": {}}',
        b'{"version": 1}',
        b'{"version": 1, "snapshots": []}',
        b'{"version": 1, "snapshots": {"GUID": []}}',
        b'{"version": 1, "snapshots": {"GUID": {"name": 1}}}',
        b"[" * 100000,
        b" " * (1 << 21),
    ],
)
def test_a_file_that_is_none_is_told_and_does_no_harm(content: bytes) -> None:
    port = MemoryPort()
    port.plant_directory("/vm/a.hdd")
    port.plant_file(PATH, content.replace(b"GUID", guid_of(1).encode()))
    notes, warning = read_notes(port, PATH)
    assert notes == {} and warning is not None and warning.startswith(PATH) and len(warning) < 400


def test_a_directory_in_its_place_and_no_file_at_all() -> None:
    port = MemoryPort()
    port.plant_directory("/vm/a.hdd")
    assert read_notes(port, PATH) == ({}, None)
    port.plant_directory(PATH)
    assert read_notes(port, PATH)[1] is not None


def test_what_is_no_guid_is_left_out() -> None:
    record = {"version": 1, "snapshots": {"odd": {"name": "x"}, guid_of(1).upper(): {"name": "y", "more": 1}}}
    assert parse_notes(json.dumps(record).encode()) == {guid_of(1): Note("y")}

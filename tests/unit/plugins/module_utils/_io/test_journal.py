# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged
from ansible_collections.vdisk.parallels.plugins.module_utils._io.journal import (
    APPLY,
    PREPARE,
    ImageBefore,
    Journal,
    pack_journal,
    read_journal,
)
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PATH = "/vm/.vdisk-journal"
FULL = Journal(
    "merge", APPLY, ("new.hds",), ("old.hds", "a b.hds"), (ImageBefore("top.hds", 1 << 40, 7),), {"removals": ["{1}"]}
)


@pytest.mark.parametrize("journal", [FULL, Journal("compact", PREPARE, request={})], ids=["full", "empty"])
def test_a_journal_is_read_as_it_was_written(port: MemoryPort, journal: Journal) -> None:
    port.plant_file(PATH, pack_journal(journal))
    assert read_journal(port, PATH) == journal


def test_a_person_can_read_what_it_is() -> None:
    text = pack_journal(FULL).decode()
    assert "vdisk.parallels" in json.loads(text)["what"] and text.endswith("}\n") and text.count("\n") > 10


def test_no_journal_is_none(port: MemoryPort) -> None:
    assert read_journal(port, PATH) is None


@pytest.mark.parametrize(
    "field, value",
    [
        ("version", 2),
        ("phase", "commit"),
        ("request", []),
        ("created", ["a/b"]),
        ("created", [".."]),
        ("created", [""]),
        ("discarded", ["a\0b"]),
        ("discarded", [7]),
        ("discarded", 7),
        ("images", [{"name": "a", "size": -1, "in_use": 0}]),
        ("images", [{"name": "a", "size": 1 << 63, "in_use": 0}]),
        ("images", [{"name": "a", "size": True, "in_use": 0}]),
        ("images", [{"name": "a", "size": 1.5, "in_use": 0}]),
        ("images", [{"size": 1, "in_use": 0}]),
        ("images", None),
    ],
)
def test_only_names_and_numbers_are_believed(port: MemoryPort, field: str, value: Any) -> None:
    port.plant_file(PATH, json.dumps({**json.loads(pack_journal(FULL)), field: value}).encode())
    with pytest.raises(Damaged) as caught:
        read_journal(port, PATH)
    assert caught.value.path == PATH


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"7", b"null", b"[" * 5000, b'{"version": 1}'])
def test_anything_else_is_damaged(port: MemoryPort, content: bytes) -> None:
    port.plant_file(PATH, content)
    with pytest.raises(Damaged):
        read_journal(port, PATH)

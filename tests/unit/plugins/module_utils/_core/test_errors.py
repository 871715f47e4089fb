# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an error tells: a code for programs, a sentence and a context for people."""

from __future__ import annotations

import re
from typing import List, Type

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core import errors
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, DiskError

KINDS: List[Type[DiskError]] = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DiskError)
]


def test_every_kind_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes) > 15
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_the_codes_that_playbooks_rely_on_exist() -> None:
    promised = (
        "in_use dirty not_a_bundle damaged unsupported encrypted has_snapshots no_space escape missing_image "
        "stale_plan io_error"
    ).split()
    assert set(promised) <= {kind.code for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_a_disk_error_and_says_when_it_is_raised(kind: Type[DiskError]) -> None:
    assert issubclass(kind, DiskError)
    assert kind.__doc__
    assert kind("It went wrong").context == {}


def test_the_context_has_what_is_known_and_nothing_else() -> None:
    error = Damaged("Bad entry", path="/a.hds", offset=0, expected=0, found=False, hint="Look.")
    assert error.context == {"path": "/a.hds", "offset": 0, "expected": 0, "found": False}
    assert Damaged("Bad entry", path="/a.hds").context == {"path": "/a.hds"}


@pytest.mark.parametrize(
    "fields, text",
    [
        ({}, "Bad entry."),
        ({"hint": "Look."}, "Bad entry. Look."),
        ({"path": "/a.hds"}, "Bad entry (/a.hds)."),
        ({"path": "/a.hds", "offset": 0}, "Bad entry (/a.hds, offset 0)."),
        ({"offset": 64}, "Bad entry (offset 64)."),
        ({"path": "/a.hds", "offset": 64, "hint": "Look."}, "Bad entry (/a.hds, offset 64). Look."),
    ],
)
def test_the_text_says_what_where_and_what_to_do(fields: dict, text: str) -> None:
    assert str(Damaged("Bad entry", **fields)) == text


def test_a_path_that_the_message_names_is_not_repeated_but_the_offset_is_told() -> None:
    assert str(Damaged("/a.hds is bad", path="/a.hds")) == "/a.hds is bad."
    assert str(Damaged("/a.hds is bad", path="/a.hds", offset=64)) == "/a.hds is bad (offset 64)."


def test_an_error_may_be_raised_and_keeps_its_cause() -> None:
    with pytest.raises(DiskError) as caught:
        try:
            raise ValueError("inner")
        except ValueError as error:
            raise Damaged("Bad entry") from error
    assert isinstance(caught.value.__cause__, ValueError)
